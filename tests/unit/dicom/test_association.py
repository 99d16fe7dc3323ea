"""Deadlines and endings of an association, which the table alone does not show."""

import pytest

from swallowtail.dicom.association import Association
from swallowtail.dicom.buffers import BufferPool
from swallowtail.dicom.indications import (
    Aborted,
    AssociateRejected,
    AssociateRequested,
    ConnectionLost,
    DeadlinePassed,
    Released,
)
from swallowtail.dicom.pace import Deadline, Limits
from swallowtail.dicom.pdu import (
    Abort,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    RejectResult,
    RejectSource,
    ReleaseRP,
    ReleaseRQ,
)
from swallowtail.dicom.pdu_codec import encode_pdu
from swallowtail.dicom.pdu_reader import Fragment
from swallowtail.dicom.states import State
from swallowtail.dicom.violations import AbortReason, AbortSource, ViolationError
from swallowtail.sansio.errors import LocalProtocolError
from swallowtail.sansio.machine import CLOSED, NEED_DATA
from tests.dicom.pair import POLICY, REQUEST, answer

LIMITS = Limits(artim=30.0, linger=1.0, answer=20.0, idle=300.0)
ANSWER = answer(REQUEST, POLICY)


def _acceptor() -> Association:
    machine = Association(LIMITS, BufferPool(64), 0.0)
    machine.accepted_transport(0.0)
    return machine


def _requestor() -> Association:
    machine = Association(LIMITS, BufferPool(64), 0.0)
    machine.associate(REQUEST, 0.0)
    machine.connected(0.0)
    assert machine.data_to_send() == encode_pdu(REQUEST)
    return machine


def _established(*, requestor: bool = False) -> Association:
    machine = _requestor() if requestor else _acceptor()
    machine.receive_data(encode_pdu(ANSWER if requestor else REQUEST), 0.0)
    machine.next_event()
    if not requestor:
        machine.accept(ANSWER, 0.0)
    assert machine.next_event() is NEED_DATA
    machine.data_to_send()
    return machine


def test_a_port_probe_ends_without_a_word() -> None:
    machine = _acceptor()
    assert machine.next_event() is NEED_DATA
    machine.receive_eof(0.1)
    assert machine.next_event() is CLOSED
    assert machine.finished
    assert machine.data_to_send() == b""
    assert machine.next_timeout() is None


def test_artim_is_absolute_however_the_bytes_come() -> None:
    machine = _acceptor()
    for second, byte in enumerate(encode_pdu(REQUEST)[:29], start=1):
        machine.receive_data(bytes([byte]), float(second))
        assert machine.next_event() is NEED_DATA
        assert machine.next_timeout() == 30.0
    machine.handle_timeout(30.0)
    assert machine.next_event() == DeadlinePassed(Deadline.REQUEST)
    assert machine.next_event() is CLOSED
    assert machine.finished


def test_a_rejection_lingers_for_the_peer_to_close() -> None:
    machine = _acceptor()
    machine.receive_data(encode_pdu(REQUEST), 1.0)
    assert machine.next_event() == AssociateRequested(REQUEST)
    assert machine.next_timeout() is None, "our own user's time"
    machine.reject(RejectResult.TRANSIENT, RejectSource.PROVIDER_PRESENTATION, 2, 2.0)
    assert machine.data_to_send() == encode_pdu(AssociateRJ(2, 3, 2))
    assert machine.next_event() is CLOSED
    assert not machine.finished
    assert machine.next_timeout() == 3.0
    machine.handle_timeout(3.0)
    assert machine.finished


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (AssociateRQ("A", "B", REQUEST.contexts, protocol_version=2), (1, 2, 2)),
        (AssociateRQ("A", "B", REQUEST.contexts, application_context="1.2"), (1, 1, 2)),
    ],
)
def test_what_the_provider_cannot_speak_it_rejects_itself(
    request_: AssociateRQ, reason: tuple[int, int, int]
) -> None:
    machine = _acceptor()
    machine.receive_data(encode_pdu(request_), 0.0)
    with pytest.raises(ViolationError, match="not supported"):
        machine.next_event()
    assert machine.data_to_send() == encode_pdu(AssociateRJ(*reason))
    assert machine.next_event() is CLOSED


def test_an_abort_is_heard_while_our_user_thinks() -> None:
    machine = _acceptor()
    machine.receive_data(encode_pdu(REQUEST) + encode_pdu(Abort(0, 0)), 0.0)
    assert isinstance(machine.next_event(), AssociateRequested)
    assert machine.next_event() == Aborted(0, 0)
    with pytest.raises(LocalProtocolError):
        machine.accept(ANSWER, 0.0)


def test_the_requestor_hears_a_rejection() -> None:
    machine = _requestor()
    machine.receive_data(encode_pdu(AssociateRJ(1, 1, 3)), 0.0)
    assert machine.next_event() == AssociateRejected(AssociateRJ(1, 1, 3))
    assert machine.next_event() is CLOSED
    assert machine.finished


def test_the_requestor_does_not_wait_for_ever() -> None:
    machine = _requestor()
    assert machine.next_event() is NEED_DATA
    machine.handle_timeout(20.0)
    assert machine.next_event() == DeadlinePassed(Deadline.ANSWER)
    assert machine.data_to_send() == encode_pdu(Abort(0, 0))
    assert machine.next_timeout() == 21.0


def test_a_release_that_nobody_answers_is_aborted() -> None:
    machine = _established(requestor=True)
    machine.release(5.0)
    assert machine.data_to_send() == encode_pdu(ReleaseRQ())
    assert machine.next_event() is NEED_DATA
    machine.handle_timeout(25.0)
    assert machine.next_event() == DeadlinePassed(Deadline.RELEASE)


@pytest.mark.parametrize("requestor", [True, False], ids=["requestor", "acceptor"])
def test_a_release_collision_ends_well(requestor: bool) -> None:
    machine = _established(requestor=requestor)
    machine.release(0.0)
    machine.receive_data(encode_pdu(ReleaseRQ()), 0.0)
    assert machine.next_event() is NEED_DATA
    sent = [ReleaseRQ(), ReleaseRP()] if requestor else [ReleaseRQ()]
    assert machine.data_to_send() == b"".join(encode_pdu(pdu) for pdu in sent)
    machine.receive_data(encode_pdu(ReleaseRP()), 0.0)
    assert machine.next_event() == Released()
    assert machine.data_to_send() == (b"" if requestor else encode_pdu(ReleaseRP()))
    assert machine.finished is requestor, "the acceptor waits for the requestor to close"


def test_silence_is_aborted_and_then_closed() -> None:
    machine = _established()
    assert machine.next_timeout() == 300.0
    machine.handle_timeout(299.0)
    assert machine.next_event() is NEED_DATA
    machine.handle_timeout(300.0)
    assert machine.next_event() == DeadlinePassed(Deadline.IDLE)
    assert machine.data_to_send() == encode_pdu(Abort(0, 0))
    assert machine.next_event() is CLOSED
    machine.handle_timeout(301.0)
    assert machine.finished


def test_a_pdu_that_does_not_go_on_is_aborted() -> None:
    machine = _established()
    machine.receive_data(b"\x04", 10.0)
    assert machine.next_event() is NEED_DATA
    assert machine.next_timeout() == 40.0
    machine.handle_timeout(40.0)
    assert machine.next_event() == DeadlinePassed(Deadline.RATE)


def test_what_was_sent_before_the_end_is_still_heard() -> None:
    machine = _established()
    machine.receive_data(encode_pdu(ReleaseRQ()), 0.0)
    machine.receive_eof(0.0)
    assert type(machine.next_event()).__name__ == "ReleaseRequested"
    assert machine.next_event() == ConnectionLost()
    assert machine.next_event() is CLOSED


def test_a_violation_is_told_to_the_peer_and_nothing_more_is_read() -> None:
    machine = _established()
    machine.receive_data(b"\x04\0\xff\xff\xff\xff", 0.0)
    with pytest.raises(ViolationError, match="claims 4294967295 bytes, allowed are 262144"):
        machine.next_event()
    assert machine.data_to_send() == encode_pdu(
        Abort(AbortSource.SERVICE_PROVIDER, AbortReason.INVALID_PARAMETER)
    )
    for _ in range(100):
        machine.receive_data(bytes(1000), 0.5)
    assert machine.next_event() is CLOSED
    assert machine.next_timeout() == 1.0
    machine.receive_eof(0.6)
    assert machine.finished


def test_the_peer_s_abort_ends_the_lingering() -> None:
    machine = _established()
    machine.abort(0.0)
    machine.receive_data(encode_pdu(ReleaseRQ()), 0.1)
    assert machine.state is State.CLOSING
    machine.receive_data(encode_pdu(Abort(0, 0)), 0.2)
    assert machine.finished
    machine.receive_data(b"more", 0.3)
    assert machine.next_event() is CLOSED


def test_a_request_while_lingering_is_aborted_again() -> None:
    machine = _established()
    machine.abort(0.0)
    machine.data_to_send()
    machine.receive_data(encode_pdu(REQUEST), 0.1)
    assert machine.data_to_send() == encode_pdu(Abort(2, 2))
    machine.receive_data(b"\x99" * 50, 0.1)
    assert machine.data_to_send() == b"", "once is enough"


def test_an_answer_out_of_turn_is_our_mistake() -> None:
    machine = _established()
    with pytest.raises(
        LocalProtocolError, match=r"ANSWER_ACCEPT \(Evt7\) is not possible in ESTABLISHED \(Sta6\)"
    ):
        machine.accept(AssociateAC("A", "B", ()), 0.0)
    assert machine.state is State.ESTABLISHED


DATA = bytes.fromhex("04000000000a 00000006 01 02 6865726f 0400")


@pytest.mark.parametrize("ending", ["abort", "abort after EOF", "EOF unread", "deadline"])
def test_every_ending_gives_the_buffer_back_and_spares_the_view(ending: str) -> None:
    pool = BufferPool(64)
    machine = Association(LIMITS, pool, 0.0)
    machine.accepted_transport(0.0)
    machine.receive_data(encode_pdu(REQUEST), 0.0)
    machine.next_event()
    machine.accept(ANSWER, 0.0)
    machine.data_to_send()
    assert machine.next_event() is NEED_DATA
    machine.get_buffer(-1)[: len(DATA)] = DATA
    machine.buffer_updated(len(DATA), 0.0)
    fragment = machine.next_event()
    assert isinstance(fragment, Fragment)
    if "EOF" in ending:
        machine.receive_eof(1.0)
    if ending == "deadline":
        machine.handle_timeout(300.0)
    else:
        machine.abort(2.0)
    assert machine.data_to_send() == encode_pdu(Abort(0, 0))
    assert machine.finished is ("EOF" in ending)
    machine.get_buffer(-1)[:3] = b"xyz"
    machine.buffer_updated(3, 2.5)
    machine.get_buffer(-1)
    machine.receive_eof(3.0)
    assert machine.finished
    assert pool.lent == 0
    pool.take()[:] = b"?" * 64
    assert bytes(fragment.data) == b"hero", "nobody else writes into what the consumer still holds"
