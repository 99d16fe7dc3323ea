"""The audit of a real Cloud at receivers of their own: one of the test's, and rsyslog."""

import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from swallowtail.sim.processes import Program, free_port
from tests.audit_messages import checked, detail, message_of
from tests.rest.served import Api, CloudProcess, hospital, within
from tests.syslog_receiver import Manner, SyslogReceiver, client_certificate

RSYSLOG = shutil.which("rsyslogd") or "/usr/sbin/rsyslogd"
ALLOW = ("--audit-network", "127.0.0.0/8")


def act(admin: Api, count: int) -> None:
    """Leave records in the audit."""
    link = admin("GET", "links")["items"][0]["id"]
    for number in range(count):
        admin("PATCH", f"links/{link}", {"name": f"link-{number}"})


def sequences(messages: list[ET.Element]) -> list[int]:
    return [int(detail(one, "Sequence")) for one in messages]


def newest(admin: Api) -> int:
    return int(admin("GET", "audit/head")["sequence"])


def all_taken(admin: Api) -> Any:
    """Return the export when nothing waits any more."""
    found = admin("GET", "audit/export")
    return found if not found["waiting"] else None


def test_records_arrive_in_order_through_outages_restarts_and_kills(tmp_path: Path) -> None:
    cloud = CloudProcess(tmp_path / "data", *ALLOW)
    admin, _ = hospital(cloud, "heronsgate")
    token = admin.token
    with SyslogReceiver(tmp_path / "arr") as receiver:
        port = receiver.port
        target = {"host": "localhost", "port": port, "authorities": receiver.ca, "whole": True}
        assert admin("PUT", "audit/export", target)["waiting"] > 0
        act(admin, 5)
        within(20, lambda: all_taken(admin))
        messages = [message_of(one) for one in receiver.messages]
    assert sequences(messages) == list(range(1, newest(admin) + 1))
    records = {one["sequence"]: one for one in admin("GET", "audit", limit=500)["items"]}
    assert all(
        detail(one, "Digest") == records[int(detail(one, "Sequence"))]["digest"] for one in messages
    )
    assert {
        one.find("AuditSourceIdentification").get("AuditEnterpriseSiteID") for one in messages
    } == {"heronsgate"}  # type: ignore[union-attr]

    act(admin, 3)  # nobody listens
    failing = within(20, lambda: admin("GET", "audit/export")["failing_since"])
    assert failing
    assert "cannot connect" in admin("GET", "audit/export")["detail"]
    cloud.stop(signal.SIGKILL)

    cloud = CloudProcess(tmp_path / "data", *ALLOW)
    admin = cloud.api(token)
    act(admin, 2)
    with SyslogReceiver(tmp_path / "arr", port=port) as receiver:
        receiver.manner = Manner.SILENT_END
        within(30, lambda: all_taken(admin))
        again = [message_of(one) for one in receiver.messages]
    assert sequences(messages + again) == list(range(1, newest(admin) + 1))
    assert cloud.stop() == 0
    assert "PRIVATE" not in cloud.log.read_text()


def test_a_receiver_on_the_clouds_own_machine_needs_the_operator(tmp_path: Path) -> None:
    cloud = CloudProcess(tmp_path / "data")
    admin, _ = hospital(cloud, "heronsgate")
    with SyslogReceiver(tmp_path / "arr") as receiver:
        admin(
            "PUT",
            "audit/export",
            {"host": "127.0.0.1", "port": receiver.port, "authorities": receiver.ca},
        )
        detail = within(20, lambda: admin("GET", "audit/export")["detail"])
        assert receiver.connections == 0
    assert "ask the operator" in detail
    assert cloud.stop() == 0


def test_a_client_certificate_survives_a_reseal(tmp_path: Path) -> None:
    certificate, key = client_certificate()
    cloud = CloudProcess(tmp_path / "data", *ALLOW)
    admin, _ = hospital(cloud, "heronsgate")
    token = admin.token
    with SyslogReceiver(tmp_path / "arr", clients=certificate) as receiver:
        target = {
            "host": "127.0.0.1",
            "port": receiver.port,
            "authorities": receiver.ca,
            "certificate": certificate,
            "key": key,
        }
        admin("PUT", "audit/export", target)
        within(20, lambda: all_taken(admin))
        assert cloud.stop() == 0
        kept = (tmp_path / "data" / "cloud.sqlite3").read_bytes() + b"".join(
            path.read_bytes() for path in (tmp_path / "data").glob("cloud.sqlite3-*")
        )
        assert "".join(key.splitlines()[1:3]).encode() not in kept.replace(b"\n", b"")
        reseal(tmp_path / "data")
        cloud = CloudProcess(tmp_path / "data", *ALLOW)
        admin = cloud.api(token)
        act(admin, 2)
        within(20, lambda: all_taken(admin))
        found = sequences([message_of(one) for one in receiver.messages])
        assert found == list(range(found[0], newest(admin) + 1))
    assert admin("GET", "audit/verify")["broken_at"] is None
    assert cloud.stop() == 0


def reseal(data: Path) -> None:
    from click.testing import CliRunner

    from swallowtail.cli.cloud import cloud

    result = CliRunner().invoke(cloud, ["reseal", "--data", str(data)])
    assert result.exit_code == 0, result.output


class Rsyslog:
    """rsyslogd as a receiver on loopback, which writes each message as a line of a file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        with SyslogReceiver(folder / "tls") as made:  # for its certificates
            self.ca = made.ca
        tls, self.port, self.file = folder / "tls", free_port(), folder / "audit.log"
        plain_key(tls / "server.key")
        (folder / "rsyslog.conf").write_text(f'''
global(
  workDirectory="{folder}" maxMessageSize="64k" defaultNetstreamDriver="gtls"
  defaultNetstreamDriverCAFile="{tls}/ca.pem" defaultNetstreamDriverCertFile="{tls}/server.pem"
  defaultNetstreamDriverKeyFile="{tls}/server.key"
)
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
template(name="whole" type="string" string="%rawmsg%\\n")
input(type="imtcp" port="{self.port}" address="127.0.0.1")
*.* action(type="omfile" file="{self.file}" template="whole")
''')
        argv = [
            RSYSLOG,
            "-n",
            "-f",
            str(folder / "rsyslog.conf"),
            "-i",
            str(folder / "rsyslog.pid"),
        ]
        self.program = Program("rsyslog", argv, folder=folder)
        self.program.wait_until(self.listens, seconds=20, what="listening")

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def lines(self) -> list[bytes]:
        return self.file.read_bytes().splitlines() if self.file.exists() else []


def plain_key(path: Path) -> None:
    """Make the key of the test's receiver one that another program can read."""
    from cryptography.hazmat.primitives import serialization

    from swallowtail.cloud.data_folder.certificates import PURPOSES
    from tests.certificates import SEAL

    key = SEAL.open_key(path.read_bytes(), PURPOSES["server.key"])
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )


@pytest.fixture
def rsyslog(tmp_path: Path) -> Iterator[Rsyslog]:
    if not Path(RSYSLOG).exists():
        pytest.skip("rsyslog is not installed: apt-get install rsyslog rsyslog-gnutls")
    receiver = Rsyslog(tmp_path / "rsyslog")
    yield receiver
    receiver.program.stop()


def test_rsyslog_takes_every_record_once(tmp_path: Path, rsyslog: Rsyslog) -> None:
    cloud = CloudProcess(tmp_path / "data", *ALLOW)
    admin, _ = hospital(cloud, "heronsgate")
    admin(
        "PUT",
        "audit/export",
        {"host": "127.0.0.1", "port": rsyslog.port, "authorities": rsyslog.ca, "whole": True},
    )
    act(admin, 30)
    within(30, lambda: all_taken(admin))
    head = newest(admin)
    lines = within(20, lambda: found if len(found := rsyslog.lines()) >= head else None)
    messages = [
        checked(line[line.index(b"<?xml") :]) for line in lines if b"<AuditMessage>" in line
    ]
    assert sequences(messages) == list(range(1, head + 1))
    assert all(b" swallowtail " in line and b"DICOM+RFC3881" in line for line in lines)
    assert cloud.stop() == 0
