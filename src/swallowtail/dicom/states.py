"""The state machine of the upper layer as data: PS3.8 9.2, Tables 9-6 to 9-10.

`TABLE` lists what is allowed. A PDU that is not listed is a violation (AA-1 before there is an
association, AA-8 in one), as the standard's grid states in 68 of its cells; a primitive of ours
that is not listed is our own mistake. `transition` is the only reader.
"""

import enum
from typing import Final

from swallowtail.sansio.errors import LocalProtocolError


class State(enum.Enum):
    """PS3.8 Tables 9-1 to 9-5."""

    IDLE = "Sta1"
    AWAITING_REQUEST = "Sta2"  # transport open, A-ASSOCIATE-RQ not yet here
    AWAITING_LOCAL_ANSWER = "Sta3"  # our user accepts or rejects
    AWAITING_TRANSPORT = "Sta4"
    AWAITING_ANSWER = "Sta5"  # A-ASSOCIATE-AC or -RJ
    ESTABLISHED = "Sta6"
    AWAITING_RELEASE_RP = "Sta7"
    AWAITING_LOCAL_RELEASE = "Sta8"
    COLLISION_REQUESTOR_LOCAL = "Sta9"  # release collision: our user's response is due
    COLLISION_ACCEPTOR_RP = "Sta10"  # release collision: the peer's A-RELEASE-RP is due
    COLLISION_REQUESTOR_RP = "Sta11"
    COLLISION_ACCEPTOR_LOCAL = "Sta12"
    CLOSING = "Sta13"  # waiting for the peer to close the transport


class Event(enum.Enum):
    """PS3.8 Table 9-10, rows.

    ASK… and ANSWER… are primitives of our user, …_PDU comes from the peer.
    """

    ASK_ASSOCIATE = "Evt1"
    TRANSPORT_CONNECTED = "Evt2"
    ASSOCIATE_AC_PDU = "Evt3"
    ASSOCIATE_RJ_PDU = "Evt4"
    TRANSPORT_ACCEPTED = "Evt5"
    ASSOCIATE_RQ_PDU = "Evt6"
    ANSWER_ACCEPT = "Evt7"
    ANSWER_REJECT = "Evt8"
    ASK_DATA = "Evt9"
    DATA_PDU = "Evt10"
    ASK_RELEASE = "Evt11"
    RELEASE_RQ_PDU = "Evt12"
    RELEASE_RP_PDU = "Evt13"
    ANSWER_RELEASE = "Evt14"
    ASK_ABORT = "Evt15"
    ABORT_PDU = "Evt16"
    TRANSPORT_CLOSED = "Evt17"
    ARTIM_EXPIRED = "Evt18"
    INVALID_PDU = "Evt19"


class Action(enum.Enum):
    """PS3.8 Tables 9-6 to 9-9."""

    CONNECT = "AE-1"
    SEND_ASSOCIATE_RQ = "AE-2"
    CONFIRM_ACCEPTED = "AE-3"
    CONFIRM_REJECTED = "AE-4"
    AWAIT_REQUEST = "AE-5"
    JUDGE_REQUEST = "AE-6"
    SEND_ASSOCIATE_AC = "AE-7"
    SEND_ASSOCIATE_RJ = "AE-8"
    SEND_DATA = "DT-1"
    INDICATE_DATA = "DT-2"
    SEND_RELEASE_RQ = "AR-1"
    INDICATE_RELEASE = "AR-2"
    CONFIRM_RELEASE = "AR-3"
    SEND_RELEASE_RP_LAST = "AR-4"
    STOP_ARTIM = "AR-5"
    INDICATE_LATE_DATA = "AR-6"
    SEND_LATE_DATA = "AR-7"
    INDICATE_COLLISION = "AR-8"
    SEND_RELEASE_RP = "AR-9"
    CONFIRM_COLLISION = "AR-10"
    ABORT_AS_USER = "AA-1"
    CLOSE = "AA-2"
    INDICATE_ABORT = "AA-3"
    INDICATE_LOSS = "AA-4"
    DROP = "AA-5"
    IGNORE = "AA-6"
    ABORT_AGAIN = "AA-7"
    ABORT_AS_PROVIDER = "AA-8"


_ASSOCIATED: Final = (
    State.AWAITING_LOCAL_ANSWER,
    State.AWAITING_ANSWER,
    State.ESTABLISHED,
    State.AWAITING_RELEASE_RP,
    State.AWAITING_LOCAL_RELEASE,
    State.COLLISION_REQUESTOR_LOCAL,
    State.COLLISION_ACCEPTOR_RP,
    State.COLLISION_REQUESTOR_RP,
    State.COLLISION_ACCEPTOR_LOCAL,
)
_PDUS: Final = (
    Event.ASSOCIATE_AC_PDU,
    Event.ASSOCIATE_RJ_PDU,
    Event.ASSOCIATE_RQ_PDU,
    Event.DATA_PDU,
    Event.RELEASE_RQ_PDU,
    Event.RELEASE_RP_PDU,
    Event.INVALID_PDU,
)

Transition = tuple[Action, State]

# Two actions choose their next state themselves: AE-6 goes to CLOSING when it rejects, AR-8 to
# Sta10 in the acceptor.
TABLE: Final[dict[tuple[State, Event], Transition]] = {
    # Sta1 IDLE
    (State.IDLE, Event.ASK_ASSOCIATE): (Action.CONNECT, State.AWAITING_TRANSPORT),  # AE-1
    (State.IDLE, Event.TRANSPORT_ACCEPTED): (Action.AWAIT_REQUEST, State.AWAITING_REQUEST),  # AE-5
    # Sta2 AWAITING_REQUEST
    (State.AWAITING_REQUEST, Event.ASSOCIATE_RQ_PDU): (
        Action.JUDGE_REQUEST,
        State.AWAITING_LOCAL_ANSWER,
    ),  # AE-6
    (State.AWAITING_REQUEST, Event.ABORT_PDU): (Action.CLOSE, State.IDLE),  # AA-2
    (State.AWAITING_REQUEST, Event.TRANSPORT_CLOSED): (Action.DROP, State.IDLE),  # AA-5
    (State.AWAITING_REQUEST, Event.ARTIM_EXPIRED): (Action.CLOSE, State.IDLE),  # AA-2
    # Sta3 AWAITING_LOCAL_ANSWER
    (State.AWAITING_LOCAL_ANSWER, Event.ANSWER_ACCEPT): (
        Action.SEND_ASSOCIATE_AC,
        State.ESTABLISHED,
    ),  # AE-7
    (State.AWAITING_LOCAL_ANSWER, Event.ANSWER_REJECT): (
        Action.SEND_ASSOCIATE_RJ,
        State.CLOSING,
    ),  # AE-8
    # Sta4 AWAITING_TRANSPORT
    (State.AWAITING_TRANSPORT, Event.TRANSPORT_CONNECTED): (
        Action.SEND_ASSOCIATE_RQ,
        State.AWAITING_ANSWER,
    ),  # AE-2
    (State.AWAITING_TRANSPORT, Event.ASK_ABORT): (Action.CLOSE, State.IDLE),  # AA-2
    (State.AWAITING_TRANSPORT, Event.TRANSPORT_CLOSED): (Action.INDICATE_LOSS, State.IDLE),  # AA-4
    # Sta5 AWAITING_ANSWER
    (State.AWAITING_ANSWER, Event.ASSOCIATE_AC_PDU): (
        Action.CONFIRM_ACCEPTED,
        State.ESTABLISHED,
    ),  # AE-3
    (State.AWAITING_ANSWER, Event.ASSOCIATE_RJ_PDU): (Action.CONFIRM_REJECTED, State.IDLE),  # AE-4
    # Sta6 ESTABLISHED
    (State.ESTABLISHED, Event.ASK_DATA): (Action.SEND_DATA, State.ESTABLISHED),  # DT-1
    (State.ESTABLISHED, Event.DATA_PDU): (Action.INDICATE_DATA, State.ESTABLISHED),  # DT-2
    (State.ESTABLISHED, Event.ASK_RELEASE): (
        Action.SEND_RELEASE_RQ,
        State.AWAITING_RELEASE_RP,
    ),  # AR-1
    (State.ESTABLISHED, Event.RELEASE_RQ_PDU): (
        Action.INDICATE_RELEASE,
        State.AWAITING_LOCAL_RELEASE,
    ),  # AR-2
    # Sta7 AWAITING_RELEASE_RP
    (State.AWAITING_RELEASE_RP, Event.DATA_PDU): (
        Action.INDICATE_LATE_DATA,
        State.AWAITING_RELEASE_RP,
    ),  # AR-6
    (State.AWAITING_RELEASE_RP, Event.RELEASE_RQ_PDU): (
        Action.INDICATE_COLLISION,
        State.COLLISION_REQUESTOR_LOCAL,
    ),  # AR-8
    (State.AWAITING_RELEASE_RP, Event.RELEASE_RP_PDU): (Action.CONFIRM_RELEASE, State.IDLE),  # AR-3
    # Sta8 AWAITING_LOCAL_RELEASE
    (State.AWAITING_LOCAL_RELEASE, Event.ASK_DATA): (
        Action.SEND_LATE_DATA,
        State.AWAITING_LOCAL_RELEASE,
    ),  # AR-7
    (State.AWAITING_LOCAL_RELEASE, Event.ANSWER_RELEASE): (
        Action.SEND_RELEASE_RP_LAST,
        State.CLOSING,
    ),  # AR-4
    # Sta9 to Sta12: release collision
    (State.COLLISION_REQUESTOR_LOCAL, Event.ANSWER_RELEASE): (
        Action.SEND_RELEASE_RP,
        State.COLLISION_REQUESTOR_RP,
    ),  # AR-9
    (State.COLLISION_ACCEPTOR_RP, Event.RELEASE_RP_PDU): (
        Action.CONFIRM_COLLISION,
        State.COLLISION_ACCEPTOR_LOCAL,
    ),  # AR-10
    (State.COLLISION_REQUESTOR_RP, Event.RELEASE_RP_PDU): (
        Action.CONFIRM_RELEASE,
        State.IDLE,
    ),  # AR-3
    (State.COLLISION_ACCEPTOR_LOCAL, Event.ANSWER_RELEASE): (
        Action.SEND_RELEASE_RP_LAST,
        State.CLOSING,
    ),  # AR-4
    # Sta13 CLOSING
    **dict.fromkeys(
        ((State.CLOSING, event) for event in _PDUS), (Action.IGNORE, State.CLOSING)
    ),  # AA-6
    (State.CLOSING, Event.ASSOCIATE_RQ_PDU): (Action.ABORT_AGAIN, State.CLOSING),  # AA-7
    (State.CLOSING, Event.INVALID_PDU): (Action.ABORT_AGAIN, State.CLOSING),  # AA-7
    (State.CLOSING, Event.ABORT_PDU): (Action.CLOSE, State.IDLE),  # AA-2
    (State.CLOSING, Event.TRANSPORT_CLOSED): (Action.STOP_ARTIM, State.IDLE),  # AR-5
    (State.CLOSING, Event.ARTIM_EXPIRED): (Action.CLOSE, State.IDLE),  # AA-2
    # In every state of an association, Sta3 and Sta5 to Sta12
    **dict.fromkeys(
        ((state, Event.ASK_ABORT) for state in _ASSOCIATED), (Action.ABORT_AS_USER, State.CLOSING)
    ),  # AA-1
    **dict.fromkeys(
        ((state, Event.ABORT_PDU) for state in _ASSOCIATED), (Action.INDICATE_ABORT, State.IDLE)
    ),  # AA-3
    **dict.fromkeys(
        ((state, Event.TRANSPORT_CLOSED) for state in _ASSOCIATED),
        (Action.INDICATE_LOSS, State.IDLE),
    ),  # AA-4
}

_EARLY_VIOLATION: Final[Transition] = (Action.ABORT_AS_USER, State.CLOSING)  # AA-1
_VIOLATION: Final[Transition] = (Action.ABORT_AS_PROVIDER, State.CLOSING)  # AA-8


def transition(state: State, event: Event) -> Transition:
    """Return the action for `event` in `state` and the state after it.

    LocalProtocolError if our side may not cause it there.
    """
    if found := TABLE.get((state, event)):
        return found
    if event in _PDUS and state in _ASSOCIATED:
        return _VIOLATION
    if event in _PDUS and state is State.AWAITING_REQUEST:
        return _EARLY_VIOLATION
    raise LocalProtocolError(
        f"{event.name} ({event.value}) is not possible in {state.name} ({state.value})"
    )
