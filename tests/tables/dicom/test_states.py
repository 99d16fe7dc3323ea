"""PS3.8 Table 9-10, read a second time, as the standard prints it.

A row for each event, a column for each state.

Three transcriptions check each other over all 13 x 19 cells: this grid, `swallowtail.dicom.states`,
and pynetdicom's. Then a real association is put into every state and meets every event.
"""

import pytest
from pynetdicom.fsm import ACTIONS, TRANSITION_TABLE

from swallowtail.dicom.association import Association
from swallowtail.dicom.buffers import BufferPool
from swallowtail.dicom.pace import Limits
from swallowtail.dicom.pdu import (
    Abort,
    AnsweredContext,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    Pdu,
    ProposedContext,
    ReleaseRP,
    ReleaseRQ,
)
from swallowtail.dicom.pdu_codec import encode_pdu
from swallowtail.dicom.states import Event, State, transition
from swallowtail.dicom.violations import ViolationError
from swallowtail.sansio.errors import LocalProtocolError
from swallowtail.sansio.machine import Signal
from tools.generate_states import PAGE, render

GRID = """
      Sta1 Sta2 Sta3 Sta4 Sta5 Sta6 Sta7 Sta8 Sta9 Sta10 Sta11 Sta12 Sta13
Evt1  AE-1 .    .    .    .    .    .    .    .    .     .     .     .
Evt2  .    .    .    AE-2 .    .    .    .    .    .     .     .     .
Evt3  .    AA-1 AA-8 .    AE-3 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8  AA-8  AA-6
Evt4  .    AA-1 AA-8 .    AE-4 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8  AA-8  AA-6
Evt5  AE-5 .    .    .    .    .    .    .    .    .     .     .     .
Evt6  .    AE-6 AA-8 .    AA-8 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8  AA-8  AA-7
Evt7  .    .    AE-7 .    .    .    .    .    .    .     .     .     .
Evt8  .    .    AE-8 .    .    .    .    .    .    .     .     .     .
Evt9  .    .    .    .    .    DT-1 .    AR-7 .    .     .     .     .
Evt10 .    AA-1 AA-8 .    AA-8 DT-2 AR-6 AA-8 AA-8 AA-8  AA-8  AA-8  AA-6
Evt11 .    .    .    .    .    AR-1 .    .    .    .     .     .     .
Evt12 .    AA-1 AA-8 .    AA-8 AR-2 AR-8 AA-8 AA-8 AA-8  AA-8  AA-8  AA-6
Evt13 .    AA-1 AA-8 .    AA-8 AA-8 AR-3 AA-8 AA-8 AR-10 AR-3  AA-8  AA-6
Evt14 .    .    .    .    .    .    .    AR-4 AR-9 .     .     AR-4  .
Evt15 .    .    AA-1 AA-2 AA-1 AA-1 AA-1 AA-1 AA-1 AA-1  AA-1  AA-1  .
Evt16 .    AA-2 AA-3 .    AA-3 AA-3 AA-3 AA-3 AA-3 AA-3  AA-3  AA-3  AA-2
Evt17 .    AA-5 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4  AA-4  AA-4  AR-5
Evt18 .    AA-2 .    .    .    .    .    .    .    .     .     .     AA-2
Evt19 .    AA-1 AA-8 .    AA-8 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8  AA-8  AA-7
"""

# Tables 9-6 to 9-9, the state that each action leads to; AE-6 and AR-8 name the first of two.
AFTER = dict(
    row.split()
    for row in """
AE-1 Sta4|AE-2 Sta5|AE-3 Sta6|AE-4 Sta1|AE-5 Sta2|AE-6 Sta3|AE-7 Sta6|AE-8 Sta13
DT-1 Sta6|DT-2 Sta6|AR-1 Sta7|AR-2 Sta8|AR-3 Sta1
AR-4 Sta13|AR-5 Sta1|AR-6 Sta7|AR-7 Sta8|AR-8 Sta9|AR-9 Sta11|AR-10 Sta12
AA-1 Sta13|AA-2 Sta1|AA-3 Sta1|AA-4 Sta1|AA-5 Sta1
AA-6 Sta13|AA-7 Sta13|AA-8 Sta13""".replace("\n", "|")
    .strip("|")
    .split("|")
)


def _cells() -> list[tuple[str, str, str]]:
    head, *rows = (line.split() for line in GRID.strip().splitlines())
    return [
        (event, state, action)
        for event, *actions in rows
        for state, action in zip(head, actions, strict=True)
    ]


CELLS = _cells()


def test_the_grid_is_whole() -> None:
    assert len(CELLS) == 13 * 19
    assert {event for event, _, _ in CELLS} == {event.value for event in Event}
    assert {state for _, state, _ in CELLS} == {state.value for state in State}
    assert {action for _, _, action in CELLS} - {"."} == set(AFTER)


def test_pynetdicom_reads_the_standard_alike() -> None:
    assert {
        (event, state): action for event, state, action in CELLS if action != "."
    } == TRANSITION_TABLE
    first = {
        name: after if isinstance(after, str) else after[0]
        for name, (_, _, after) in ACTIONS.items()
    }
    assert first == AFTER


@pytest.mark.parametrize(("event", "state", "action"), CELLS)
def test_cell(event: str, state: str, action: str) -> None:
    if action == ".":
        with pytest.raises(LocalProtocolError):
            transition(State(state), Event(event))
    else:
        found, after = transition(State(state), Event(event))
        assert (found.value, after.value) == (action, AFTER[action])


REQUEST = AssociateRQ(
    "SWALLOWTAIL", "HERON", (ProposedContext(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),)
)
ANSWER = AssociateAC("SWALLOWTAIL", "HERON", (AnsweredContext(1, 0, "1.2.840.10008.1.2"),))
PDUS: dict[Event, Pdu] = {
    Event.ASSOCIATE_AC_PDU: ANSWER,
    Event.ASSOCIATE_RJ_PDU: AssociateRJ(1, 1, 1),
    Event.ASSOCIATE_RQ_PDU: REQUEST,
    Event.RELEASE_RQ_PDU: ReleaseRQ(),
    Event.RELEASE_RP_PDU: ReleaseRP(),
    Event.ABORT_PDU: Abort(),
}
RAW = {
    Event.DATA_PDU: bytes.fromhex("04000000000a 00000006 01 03 00000000"),
    Event.INVALID_PDU: bytes.fromhex("7f0000000000"),
}


def _cause(machine: Association, event: Event) -> None:
    match event:
        case Event.ASK_ASSOCIATE:
            machine.associate(REQUEST, 0.0)
        case Event.TRANSPORT_CONNECTED:
            machine.connected(0.0)
        case Event.TRANSPORT_ACCEPTED:
            machine.accepted_transport(0.0)
        case Event.ANSWER_ACCEPT:
            machine.accept(ANSWER, 0.0)
        case Event.ANSWER_REJECT:
            machine.reject(1, 1, 1, 0.0)
        case Event.ASK_DATA:
            machine.send_fragment(1, command=True, last=True, data=b"ab", now=0.0)
        case Event.ASK_RELEASE | Event.ANSWER_RELEASE:
            machine._local(event, 0.0)
        case Event.ASK_ABORT:
            machine.abort(0.0)
        case Event.TRANSPORT_CLOSED:
            machine.receive_eof(0.0)
            machine.next_event()
        case Event.ARTIM_EXPIRED:
            machine._artim = 1.0
            machine.handle_timeout(1.0)
        case _:
            machine.receive_data(RAW[event] if event in RAW else encode_pdu(PDUS[event]), 0.0)
            machine.next_event()


def _machine_in(state: State, *, requestor: bool) -> Association:
    machine = Association(Limits(), BufferPool(), 0.0)
    machine.requestor = requestor
    machine._request = REQUEST
    machine.state = state
    return machine


# A collision's responses need no decision and follow at once.
FOLLOWS = {
    ("AR-8", True): "Sta11",
    ("AR-8", False): "Sta10",
    ("AR-10", False): "Sta13",
    ("AR-10", True): "Sta13",
}

FOLLOWS_SENT = {("AR-8", True): "06", ("AR-10", True): "06", ("AR-10", False): "06"}


@pytest.mark.parametrize("requestor", [True, False], ids=["requestor", "acceptor"])
@pytest.mark.parametrize(("event", "state", "action"), CELLS)
def test_a_machine_obeys_the_cell(event: str, state: str, action: str, requestor: bool) -> None:
    machine = _machine_in(State(state), requestor=requestor)
    if action == ".":
        with pytest.raises(LocalProtocolError):
            _cause(machine, Event(event))
        assert machine.data_to_send() == b""
        assert machine.state is State(state)
        return
    broken = action == "AA-8" or (action == "AA-1" and event != "Evt15")
    if broken:
        with pytest.raises(ViolationError):
            _cause(machine, Event(event))
    else:
        _cause(machine, Event(event))
    assert machine.state.value == FOLLOWS.get((action, requestor), AFTER[action])
    sent = machine.data_to_send()
    assert (sent[:1].hex() or "") == FOLLOWS_SENT.get((action, requestor), SENT.get(action, ""))
    if machine.state in {State.CLOSING, State.IDLE}:
        assert isinstance(_last_of(machine), Signal)
        assert machine.finished is (machine.state is State.IDLE)
    if action in {"AE-5", "AE-8", "AR-4", "AA-1", "AA-8"}:
        assert machine.next_timeout() is not None, "ARTIM runs"


SENT = {
    "AE-2": "01",
    "AE-7": "02",
    "AE-8": "03",
    "DT-1": "04",
    "AR-7": "04",
    "AR-1": "05",
    "AR-4": "06",
    "AR-9": "06",
    "AA-1": "07",
    "AA-7": "07",
    "AA-8": "07",
}


def _last_of(machine: Association) -> object:
    event = machine.next_event()
    while not isinstance(event, Signal):
        event = machine.next_event()
    return event


def test_the_diagram_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "run: python -m tools.generate_states"
