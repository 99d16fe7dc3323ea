"""The plan, carried out, always ends at the wish, never holds a conflicting pair, and leaves alone
what need not change.
"""

from hypothesis import given
from hypothesis import strategies as st

from swallowtail.calls.config import Configuration
from swallowtail.calls.dicom_listener import DicomListener
from swallowtail.link.endpoint_plan import (
    ClosePort,
    EndpointPlan,
    KeepPort,
    OpenPort,
    RefusedPlan,
    UpdatePort,
    plan,
    socket_of,
)

listeners = st.builds(
    DicomListener,
    name=st.sampled_from("abcd"),
    ae_title=st.sampled_from(["ONE", "TWO"]),
    port=st.integers(104, 106),
    address=st.sampled_from(["0.0.0.0", "10.0.0.1", "10.0.0.2", "::", "fd00::1"]),
)
sets = st.lists(listeners, max_size=4, unique_by=(lambda one: one.name, socket_of)).map(tuple)


def overlap(sockets) -> bool:
    return any(
        a[1] == b[1] and (":" in a[0]) == (":" in b[0]) and {a[0], b[0]} & {"0.0.0.0", "::"}
        for a in sockets
        for b in sockets
        if a != b
    )


@given(sets, sets)
def test_the_plan_leads_to_the_desired_configuration(before, after):
    start = plan({}, Configuration(listeners=before), lambda *_: None, {"dicom"})
    if isinstance(start, RefusedPlan):
        assert overlap([socket_of(one) for one in before])
        return
    running = {
        action.listener: action.listener for action in start.actions if isinstance(action, OpenPort)
    }
    running = {socket_of(one): one for one in running}
    found = plan(running, Configuration(listeners=after), lambda *_: None, {"dicom"})
    if isinstance(found, RefusedPlan):
        assert overlap([socket_of(one) for one in after])
        return
    assert isinstance(found, EndpointPlan)
    for action in found.actions:
        match action:
            case OpenPort(listener):
                assert socket_of(listener) not in running
                running[socket_of(listener)] = listener
                assert not overlap(running), "opened into a place that was still taken"
            case UpdatePort(listener):
                assert running[socket_of(listener)] != listener
                running[socket_of(listener)] = listener
            case KeepPort(socket):
                assert running[socket] in after
            case ClosePort(socket):
                del running[socket]
    assert running == {socket_of(one): one for one in after}
