"""Who may open an association."""

import msgspec
import pytest

from swallowtail.calls.answers import Situation
from swallowtail.calls.config import Device, DicomListener, EchoMeaning
from swallowtail.link.admission import Admitted, Directory, Load, Rejected, judge_association, may_connect

LISTENER = DicomListener(name="echo-room", ae_title="SWALLOW", port=11112, max_associations=8, max_associations_per_address=4)
DEVICES = Directory.of([
    Device(name="us1", ae_title="US1", addresses=("10.0.0.9",)),
    Device(name="us-anywhere", ae_title="US2", addresses=("10.1.0.0/16", "fd00::/64")),
    Device(name="us1-spare", ae_title="US1", addresses=("10.0.0.10",)),
    Device(name="or", ae_title="OR1", addresses=("10.0.0.9",), listeners=("or",)),
])  # fmt: skip


def judge(calling="US1", address="10.0.0.9", *, called="SWALLOW", listener=LISTENER, load=None, alive=True, directory=DEVICES):
    return judge_association(listener, directory, called, calling, address, load or Load(), cloud_alive=alive)


@pytest.mark.parametrize(
    ("calling", "address", "device"),
    [
        ("US1", "10.0.0.9", "us1"),
        ("US1", "10.0.0.10", "us1-spare"),
        (" US1 ", "::ffff:10.0.0.9", "us1"),
        ("US2", "10.1.77.3", "us-anywhere"),
        ("US2", "fd00::5", "us-anywhere"),
    ],
)
def test_a_known_device_is_admitted(calling, address, device):
    assert judge(calling, address) == Admitted(device)


@pytest.mark.parametrize(
    ("calling", "address", "reason"),
    [
        ("US3", "10.0.0.9", "calling-ae"),
        ("us1", "10.0.0.9", "calling-ae"),
        ("US1", "10.0.0.11", "address"),
        ("OR1", "10.0.0.9", "calling-ae"),
    ],
)
def test_an_unknown_device_is_rejected_with_what_did_not_match(calling, address, reason):
    assert judge(calling, address) == Rejected(Situation.UNKNOWN_CALLING_AE, reason)


def test_permanent_answers_come_before_transient_ones():
    assert judge(called="OTHER", alive=False) == Rejected(Situation.UNKNOWN_CALLED_AE, "called-ae")
    assert judge("US3", alive=False, load=Load(8, 4)).situation is Situation.UNKNOWN_CALLING_AE


def test_a_listener_may_accept_anybody():
    listener = msgspec.structs.replace(LISTENER, unknown_devices="accept")
    assert judge("ANY", "203.0.113.5", listener=listener) == Admitted("")
    assert judge(listener=listener) == Admitted("us1")


def test_the_cloud_away_is_told_before_the_association():
    assert judge(alive=False) == Rejected(Situation.CLOUD_AWAY)


def test_a_listener_whose_echo_means_link_stays_open_for_it():
    listener = msgspec.structs.replace(LISTENER, echo=EchoMeaning.LINK)
    assert judge(listener=listener, alive=False) == Admitted("us1")
    storage_only = msgspec.structs.replace(listener, services=("storage",))
    assert judge(listener=storage_only, alive=False) == Rejected(Situation.CLOUD_AWAY)


def test_slots_are_capped_in_all_and_per_address():
    assert judge(load=Load(7, 3)) == Admitted("us1")
    assert judge(load=Load(8, 0)) == Rejected(Situation.TOO_MANY_ASSOCIATIONS)
    assert judge(load=Load(4, 4)) == Rejected(Situation.TOO_MANY_ASSOCIATIONS)


def test_a_quarter_of_the_slots_waits_for_known_devices():
    listener = msgspec.structs.replace(LISTENER, unknown_devices="accept")
    assert judge("ANY", load=Load(5, 0), listener=listener) == Admitted("")
    assert judge("ANY", load=Load(6, 0), listener=listener) == Rejected(Situation.TOO_MANY_ASSOCIATIONS)
    assert judge(load=Load(6, 0), listener=listener) == Admitted("us1")
    assert judge("ANY", load=Load(7, 0), listener=listener, directory=Directory()) == Admitted(""), "none known, none reserved"


def test_connections_that_say_nothing_do_not_keep_known_devices_out():
    assert may_connect(LISTENER, Load(11, 0), known=False)
    assert not may_connect(LISTENER, Load(12, 0), known=False)
    assert may_connect(LISTENER, Load(15, 0), known=True)
    assert not may_connect(LISTENER, Load(16, 0), known=True)
    assert not may_connect(LISTENER, Load(8, 8), known=True)


def test_addresses_of_known_devices_are_known_to_their_listener_alone():
    assert DEVICES.knows_address("echo-room", "10.0.0.10")
    assert not DEVICES.knows_address("echo-room", "10.9.9.9")
    only_or = Directory.of([Device(name="or", ae_title="OR1", addresses=("10.0.0.9",), listeners=("or",))])
    assert only_or.knows_address("or", "10.0.0.9")
    assert not only_or.knows_address("echo-room", "10.0.0.9")
