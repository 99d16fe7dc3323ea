"""Sending to real receivers.

What one has not read counts as not taken, and nobody else gets a byte.
"""

import ipaddress
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization

from swallowtail.cloud.audit_export.egress import may_reach
from swallowtail.cloud.audit_export.transmission import SendError, TlsSender
from swallowtail.cloud.model.exporting import AuditReceiver
from tests.certificates import SEAL
from tests.syslog_receiver import Manner, SyslogReceiver, client_certificate

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
FRAMES = [b"%d %s" % (len(text), text) for text in (b"one", b"two" * 100, b"x" * 200_000)]
MESSAGES = [text.partition(b" ")[2] for text in FRAMES]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[SyslogReceiver]:
    with SyslogReceiver(tmp_path / "arr") as receiver:
        yield receiver


def to(receiver: SyslogReceiver, host: str = "127.0.0.1") -> AuditReceiver:
    return AuditReceiver(host=host, port=receiver.port, authorities=receiver.ca)


@pytest.mark.parametrize("manner", [Manner.GOOD, Manner.SILENT_END])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_receiver_that_reads_all_has_taken_all(
    receiver: SyslogReceiver, manner: Manner, host: str
) -> None:
    receiver.manner = manner
    TlsSender(LOOPBACK)(to(receiver, host), None, FRAMES)
    TlsSender(LOOPBACK)(to(receiver, host), None, FRAMES[:1])
    assert receiver.messages == [*MESSAGES, MESSAGES[0]]


@pytest.mark.parametrize("manner", [Manner.RESET, Manner.NEVER_ENDS, Manner.CHATTERS])
def test_a_receiver_that_does_not_end_as_it_should_has_taken_nothing(
    receiver: SyslogReceiver, manner: Manner
) -> None:
    receiver.manner = manner
    with pytest.raises(SendError, match="did not take the records"):
        TlsSender(LOOPBACK, idle=0.5)(to(receiver), None, FRAMES)


def test_nobody_listens(receiver: SyslogReceiver) -> None:
    receiver.__exit__()
    with pytest.raises(SendError, match=r"cannot connect to 127\.0\.0\.1"):
        TlsSender(LOOPBACK)(to(receiver), None, FRAMES)


@pytest.mark.parametrize("which", ["authority", "name"])
def test_a_receiver_that_is_another_gets_no_record(
    receiver: SyslogReceiver, tmp_path: Path, which: str
) -> None:
    with SyslogReceiver(tmp_path / "other") as other:
        wrong = msgspec.structs.replace(to(receiver), authorities=other.ca)
        if which == "name":
            wrong = to(receiver, "127.0.0.2")
        with pytest.raises(SendError, match=r"TLS with .* failed|cannot connect"):
            TlsSender(LOOPBACK)(wrong, None, FRAMES)
    assert receiver.messages == []


def test_a_client_certificate_is_shown_and_its_key_is_opened_from_memory(tmp_path: Path) -> None:
    certificate, key = client_certificate()
    sealed = SEAL.close_key(serialization.load_pem_private_key(key.encode(), None), "client")
    with SyslogReceiver(tmp_path / "arr", clients=certificate) as receiver:
        mine = msgspec.structs.replace(to(receiver), certificate=certificate, key=sealed)
        TlsSender(LOOPBACK)(mine, SEAL.passphrase(sealed, "client"), FRAMES)
        assert receiver.messages == MESSAGES
        assert "cloud" in receiver.subjects[0]
        with pytest.raises(SendError):
            TlsSender(LOOPBACK)(to(receiver), None, FRAMES)
        with pytest.raises(SendError, match=r"certificates for 127\.0\.0\.1 cannot be used"):
            TlsSender(LOOPBACK)(mine, b"wrong", FRAMES)


def test_a_receiver_on_the_clouds_own_machine_is_refused_unless_the_operator_allows_it(
    receiver: SyslogReceiver,
) -> None:
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(SendError, match="ask the operator"):
            TlsSender()(to(receiver, host), None, FRAMES)
    assert receiver.connections == 0


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "::1",
        "0.0.0.0",
        "::",
        "169.254.169.254",
        "fe80::1%eth0",
        "224.0.0.1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "::7f00:1",
        "0.1.2.3",
    ],
)
def test_addresses_of_the_machine_and_its_link_are_out_of_reach(address: str) -> None:
    assert not may_reach(address, ())
    assert not may_reach(
        address, [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8::/32")]
    )


@pytest.mark.parametrize(
    "address", ["10.0.0.9", "192.168.1.2", "203.0.113.9", "2001:4860::1", "fd00::9"]
)
def test_receivers_in_the_hospital_and_outside_are_in_reach(address: str) -> None:
    assert may_reach(address, ())
    assert not may_reach(address, [ipaddress.ip_network("10.99.0.0/16")])
    assert may_reach("10.99.0.1", [ipaddress.ip_network("10.99.0.0/16")])
