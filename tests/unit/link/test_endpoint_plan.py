"""From the wished configuration to actions."""

from functools import partial

import msgspec
import pytest

from swallowtail.calls.config import Configuration, Device
from swallowtail.calls.dicom_listener import DicomListener
from swallowtail.link.endpoint_plan import (
    ClosePort,
    EndpointPlan,
    KeepPort,
    OpenPort,
    RefusedPlan,
    UpdatePort,
    plan,
    retry_delay,
    socket_of,
)
from swallowtail.link.policy import judge_listener, parse


def anywhere(*_):
    return None


SERVED = frozenset({"dicom"})
ECHO_ROOM = DicomListener(name="echo-room", ae_title="SWALLOW", port=11112)
OR = DicomListener(name="or", ae_title="SWALLOW2", port=11113, address="10.0.0.5")


def running(*listeners: DicomListener) -> dict:
    return {socket_of(listener): listener for listener in listeners}


def desired(*listeners: DicomListener) -> Configuration:
    return Configuration(listeners=listeners)


def test_the_first_configuration_opens_everything():
    assert plan({}, desired(ECHO_ROOM, OR), anywhere, SERVED) == EndpointPlan(
        (OpenPort(ECHO_ROOM), OpenPort(OR))
    )


def test_the_same_configuration_does_nothing():
    assert plan(running(ECHO_ROOM), desired(ECHO_ROOM), anywhere, SERVED) == EndpointPlan(
        (KeepPort(("0.0.0.0", 11112)),)
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"ae_title": "OTHER"},
        {"name": "renamed"},
        {"max_associations": 3},
        {"services": ("verification",)},
        {"max_pdu": 16_384},
    ],
)
def test_settings_change_without_closing_the_port(changed):
    after = msgspec.structs.replace(ECHO_ROOM, **changed)
    assert plan(running(ECHO_ROOM), desired(after), anywhere, SERVED) == EndpointPlan(
        (UpdatePort(after),)
    )


def test_devices_alone_touch_no_listener():
    device = Device(name="us1", ae_title="US1", addresses=("10.0.0.9",))
    found = plan(
        running(ECHO_ROOM),
        Configuration(listeners=(ECHO_ROOM,), devices=(device,)),
        anywhere,
        SERVED,
    )
    assert found == EndpointPlan((KeepPort(("0.0.0.0", 11112)),))


def test_a_new_port_opens_before_the_old_one_closes():
    moved = msgspec.structs.replace(ECHO_ROOM, port=104)
    assert plan(running(ECHO_ROOM), desired(moved), anywhere, SERVED) == EndpointPlan(
        (OpenPort(moved), ClosePort(("0.0.0.0", 11112)))
    )


def test_an_old_port_in_the_way_closes_first():
    narrowed = msgspec.structs.replace(ECHO_ROOM, address="10.0.0.5")
    assert plan(running(ECHO_ROOM), desired(narrowed), anywhere, SERVED) == EndpointPlan(
        (ClosePort(("0.0.0.0", 11112)), OpenPort(narrowed))
    )


def test_two_listeners_may_swap_their_ports_without_closing_one():
    a, b = (
        msgspec.structs.replace(ECHO_ROOM, port=11113),
        msgspec.structs.replace(OR, port=11112, address="0.0.0.0"),
    )
    c = msgspec.structs.replace(OR, address="0.0.0.0")
    assert plan(running(ECHO_ROOM, c), desired(a, b), anywhere, SERVED) == EndpointPlan(
        (UpdatePort(a), UpdatePort(b))
    )


def test_the_policy_refuses_the_whole():
    policy = parse(b'[listen]\nallow=[{network="10.0.0.5"}]', "policy.toml")
    found = plan(running(OR), desired(OR, ECHO_ROOM), partial(judge_listener, policy), SERVED)
    assert isinstance(found, RefusedPlan)
    assert [problem.field for problem in found.problems] == ["$.listeners[1].address"]
    assert "policy.toml" in found.problems[0].message


def test_a_port_on_all_addresses_and_on_one_do_not_go_together():
    found = plan({}, desired(ECHO_ROOM, msgspec.structs.replace(OR, port=11112)), anywhere, SERVED)
    assert isinstance(found, RefusedPlan)
    assert found.problems[0].field == "$.listeners[1].port"


def test_retries_back_off_to_a_ceiling():
    assert [retry_delay(n) for n in (1, 2, 3, 5, 6, 99)] == [1.0, 2.0, 4.0, 16.0, 30.0, 30.0]
