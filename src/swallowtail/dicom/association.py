"""An association as a machine: PS3.8 9.2 for both roles, without I/O.

Messages are `dimse`'s business.

The acceptor starts with `accepted_transport`, the requestor with `associate` and `connected`.
Events are pulled; the consumer answers AssociateRequested with `accept`, `reject` or `abort`, and
ReleaseRequested with `release`. After CLOSED the machine may still need the transport (to let an
A-ABORT arrive, PS3.8 Sta13): the shell keeps reading and keeps the timer until `finished`.

A release collision needs no decision, since both sides require the same: its responses (Sta9,
Sta12) are given at once.
"""

import struct
from collections import deque
from collections.abc import Callable
from typing import ClassVar, Final

from swallowtail.dicom.buffers import BufferPool
from swallowtail.dicom.indications import (
    Aborted,
    AssociateAccepted,
    AssociateRejected,
    AssociateRequested,
    AssociationEvent,
    ConnectionLost,
    DeadlinePassed,
    Released,
    ReleaseRequested,
)
from swallowtail.dicom.pace import Deadline, Limits, Pace, PacePhase
from swallowtail.dicom.pdu import (
    Abort,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    Pdu,
    PduType,
    RejectResult,
    RejectSource,
    ReleaseRP,
    ReleaseRQ,
)
from swallowtail.dicom.pdu_codec import encode_pdu
from swallowtail.dicom.pdu_reader import PDV_OVERHEAD, Fragment, PduReader
from swallowtail.dicom.states import TABLE, Action, Event, State, transition
from swallowtail.dicom.uids import APPLICATION_CONTEXT
from swallowtail.dicom.violations import AbortReason, AbortSource, ViolationError
from swallowtail.sansio.errors import LocalProtocolError
from swallowtail.sansio.machine import CLOSED, NEED_DATA, Bytes, Signal

Subject = Pdu | Fragment | ViolationError | None

_DATA_HEADER: Final = struct.Struct(">BxIIBB")
_EVENT_OF: Final[dict[type, Event]] = {
    AssociateRQ: Event.ASSOCIATE_RQ_PDU,
    AssociateAC: Event.ASSOCIATE_AC_PDU,
    AssociateRJ: Event.ASSOCIATE_RJ_PDU,
    Fragment: Event.DATA_PDU,
    ReleaseRQ: Event.RELEASE_RQ_PDU,
    ReleaseRP: Event.RELEASE_RP_PDU,
    Abort: Event.ABORT_PDU,
}


class Association:
    """One association on one transport.

    A BulkMachine: see `swallowtail.sansio.machine` for the surface.
    """

    def __init__(self, limits: Limits, pool: BufferPool, now: float) -> None:
        self.state = State.IDLE
        self.requestor = False
        self._limits = limits
        self._now = now
        self._reader = PduReader(limits, pool)
        self._pace = Pace(limits, now)
        self._message_open = self._owing = False
        self._out: list[Bytes] = []
        self._events: deque[AssociationEvent] = deque()  # of deadlines; at most one
        self._artim: float | None = None
        self._answer_due: float | None = None
        self._eof = False
        self._broken = False  # the peer broke the protocol: nothing that it sends is read any more
        self._started = False

    # What the user asks for

    def accepted_transport(self, now: float) -> None:
        """Start as the acceptor on an open transport."""
        self._local(Event.TRANSPORT_ACCEPTED, now)

    def associate(self, request: AssociateRQ, now: float) -> None:
        """Start as the requestor; `connected` sends the request."""
        self._offer(request.user.max_pdu)
        self.requestor = True
        self._request = request
        self._local(Event.ASK_ASSOCIATE, now)

    def connected(self, now: float) -> None:
        """Handle that the requestor's transport is open."""
        self._local(Event.TRANSPORT_CONNECTED, now, self._request)

    def accept(self, answer: AssociateAC, now: float) -> None:
        """Accept the association."""
        self._offer(answer.user.max_pdu)
        self._local(Event.ANSWER_ACCEPT, now, answer)

    def reject(self, result: RejectResult, source: RejectSource, reason: int, now: float) -> None:
        """Reject the association; the reasons are in `pdu.REJECT_REASONS`."""
        self._local(Event.ANSWER_REJECT, now, AssociateRJ(result, source, reason))

    def send_fragment(
        self, context_id: int, *, command: bool, last: bool, data: Bytes, now: float
    ) -> None:
        """Send one P-DATA-TF with one PDV.

        `data` is used until `data_to_send` and must fit the peer's maximum length.
        """
        self._local(Event.ASK_DATA, now)
        header = _DATA_HEADER.pack(
            PduType.DATA_TF,
            PDV_OVERHEAD + len(data),
            2 + len(data),
            context_id,
            command | last << 1,
        )
        self._out += (header, data)

    def release(self, now: float) -> None:
        """Ask for the release, or agree to the peer's request."""
        asked = self.state is State.AWAITING_LOCAL_RELEASE
        self._local(Event.ANSWER_RELEASE if asked else Event.ASK_RELEASE, now)

    def abort(
        self,
        now: float,
        source: AbortSource = AbortSource.SERVICE_USER,
        reason: AbortReason = AbortReason.NOT_SPECIFIED,
    ) -> None:
        """End the association at once, whatever the peer does."""
        self._local(Event.ASK_ABORT, now, Abort(source, reason))

    # The machine's surface

    def get_buffer(self, size_hint: int) -> memoryview:
        return self._reader.get_buffer(size_hint)

    def buffer_updated(self, nbytes: int, now: float) -> None:
        self._now = now
        self._reader.filled(nbytes)
        self._received(nbytes)

    def receive_data(self, data: Bytes, now: float) -> None:
        self._now = now
        self._reader.feed(data)
        self._received(len(data))

    def receive_eof(self, now: float) -> None:
        self._now = now
        self._eof = True
        if self.state is State.CLOSING:
            self._fire(Event.TRANSPORT_CLOSED)
        elif self.finished:
            self._reader.discard()

    def next_event(self) -> AssociationEvent | Signal:
        while not self._events and not self.closed:
            item = self._read()
            if item is None and not self._eof:
                self._enter_phase()
                return NEED_DATA
            event = self._fire(Event.TRANSPORT_CLOSED) if item is None else self._receive(item)
            if event is not None:
                return event
        return self._events.popleft() if self._events else CLOSED

    def data_to_send(self) -> bytes:
        if not self._out:
            return b""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def next_timeout(self) -> float | None:
        due = [at for at in (self._artim, self._answer_due) if at is not None]
        if self.state is State.ESTABLISHED and (at := self._pace.deadline()) is not None:
            due.append(at)
        return min(due, default=None)

    def handle_timeout(self, now: float) -> None:
        self._now = now
        if self._artim is not None and now >= self._artim:
            if self.state is State.AWAITING_REQUEST:
                self._events.append(DeadlinePassed(Deadline.REQUEST))
            self._fire(Event.ARTIM_EXPIRED)
        elif self._answer_due is not None and now >= self._answer_due:
            self._give_up(
                Deadline.ANSWER if self.state is State.AWAITING_ANSWER else Deadline.RELEASE
            )
        elif self.state is State.ESTABLISHED and (deadline := self._pace.check(now)) is not None:
            self._give_up(deadline)

    def reading_paused(self, now: float) -> None:
        """Handle that the shell stopped reading, so that the peer is not blamed for it."""
        self._pace.pause(now)

    def reading_resumed(self, now: float) -> None:
        """Handle that the shell reads again."""
        self._pace.resume(now)

    @property
    def closed(self) -> bool:
        """Return whether nothing will follow for the consumer."""
        return self.state is State.CLOSING or (self.state is State.IDLE and self._started)

    @property
    def associated(self) -> bool:
        """Return whether there is an association that an A-ABORT can end.

        An association, asked for or established.
        """
        return (self.state, Event.ASK_ABORT) in TABLE

    @property
    def finished(self) -> bool:
        """The shell should close the transport as soon as everything is written."""
        return self.state is State.IDLE and self._started

    def expect(self, *, message_open: bool, owing: bool) -> None:
        """Record from the message layer whether the peer is inside a message.

        Whether we owe it a response.
        """
        self._message_open = message_open
        self._owing = owing
        if not message_open:
            self._enter_phase()

    def break_off(self, error: ViolationError) -> None:
        """Abort because of what the peer sent in a message.

        The message layer raises `error` to the consumer.
        """
        self._broken = True
        self._fire(Event.ASK_ABORT, Abort(error.source, error.reason))

    def withdraw(self) -> None:
        """Handle that the transport is cut and nobody will ask for what came.

        The receive buffer is free.
        """
        self._reader.let_go()
        self._reader.discard()

    # Receiving

    def _received(self, nbytes: int) -> None:
        self._pace.on_received(nbytes, self._now)
        if self.state is State.CLOSING:
            self._drain()
        elif self.finished:
            self._reader.discard()

    def _drain(self) -> None:
        """Read on in Sta13, where no consumer pulls.

        The peer's A-ABORT ends the wait, the rest is ignored.
        """
        self._reader.let_go()
        try:
            while (
                self.state is State.CLOSING
                and not self._broken
                and (item := self._reader.next_item()) is not None
            ):
                self._fire(_EVENT_OF[type(item)], item)
        except ViolationError as error:
            self._fire(Event.INVALID_PDU, error)
        if self._broken:
            self._reader.discard()

    def _read(self) -> Pdu | Fragment | None:
        try:
            return self._reader.next_item()
        except ViolationError as error:
            self._fire(Event.INVALID_PDU, error)
            raise

    def _receive(self, item: Pdu | Fragment) -> AssociationEvent | None:
        state = self.state
        event = self._fire(_EVENT_OF[type(item)], item)
        if self._broken:
            raise ViolationError(
                f"{type(item).__name__} in {state.name} ({state.value})", AbortReason.UNEXPECTED_PDU
            )
        return event

    def _enter_phase(self) -> None:
        if self._message_open or self._reader.inside:
            self._pace.enter(PacePhase.RECEIVING, self._now)
        else:
            self._pace.enter(PacePhase.ANSWERING if self._owing else PacePhase.IDLE, self._now)

    def _give_up(self, deadline: Deadline) -> None:
        self._events.append(DeadlinePassed(deadline))
        self._fire(Event.ASK_ABORT, Abort(AbortSource.SERVICE_USER))

    def _offer(self, max_pdu: int) -> None:
        if max_pdu == 0:  # PS3.8 D.1: no limit
            raise LocalProtocolError("a peer without a limit could send a PDU of 4 GiB; offer one")
        self._reader.offer(max_pdu)

    # Transitions

    def _local(self, event: Event, now: float, subject: Subject = None) -> None:
        transition(self.state, event)  # LocalProtocolError before anything changes
        self._now = now
        self._pace.spoke(now)
        self._fire(event, subject)

    def _fire(self, event: Event, subject: Subject = None) -> AssociationEvent | None:
        action, self.state = transition(self.state, event)
        self._started = True
        reported = self._ACTIONS[action](self, subject)
        if self._eof and self.state is State.CLOSING:
            self._fire(Event.TRANSPORT_CLOSED)
        elif self.state is State.IDLE:
            self._reader.let_go()
            self._reader.discard()
        return reported

    def _send(self, pdu: Subject) -> None:
        if pdu is None or isinstance(pdu, Fragment | ViolationError):
            raise LocalProtocolError("only a PDU can be sent")
        self._out.append(encode_pdu(pdu))

    def _quiet(self, _: Subject) -> None:
        """Change the state only (AE-1, DT-1, AR-7, AA-6).

        Data are queued by `send_fragment`.
        """

    def _start_linger(self) -> None:
        self._answer_due = None
        self._artim = self._now + self._limits.linger

    def _stop_timers(self, _: Subject = None) -> None:
        """Stop the timers: the transport is closed, or to be closed (AA-2, AA-5, AR-5)."""
        self._artim = self._answer_due = None

    def _send_associate_rq(self, subject: Subject) -> None:
        self._send(subject)
        self._answer_due = self._now + self._limits.answer

    def _confirm_accepted(self, subject: Subject) -> AssociationEvent | None:
        self._stop_timers()
        return AssociateAccepted(subject) if isinstance(subject, AssociateAC) else None

    def _confirm_rejected(self, subject: Subject) -> AssociationEvent | None:
        self._stop_timers()
        return AssociateRejected(subject) if isinstance(subject, AssociateRJ) else None

    def _await_request(self, _: Subject) -> None:
        self._artim = self._now + self._limits.artim  # PS3.8 9.1.5

    def _judge_request(self, subject: Subject) -> AssociationEvent | None:
        self._stop_timers()
        if not isinstance(subject, AssociateRQ):
            return None
        if not subject.protocol_version & 1:  # PS3.8 9.3.2: bit 0 is version 1
            refusal = AssociateRJ(RejectResult.PERMANENT, RejectSource.PROVIDER_ACSE, 2)
        elif subject.application_context != APPLICATION_CONTEXT:
            refusal = AssociateRJ(RejectResult.PERMANENT, RejectSource.SERVICE_USER, 2)
        else:
            return AssociateRequested(subject)
        self.state = State.CLOSING
        self._send_last(refusal)
        raise ViolationError(str(refusal))

    def _send_last(self, subject: Subject) -> None:
        self._send(subject)
        self._start_linger()

    def _indicate_data(self, subject: Subject) -> AssociationEvent | None:
        return subject if isinstance(subject, Fragment) else None

    def _send_release_rq(self, _: Subject) -> None:
        self._send(ReleaseRQ())
        self._answer_due = self._now + self._limits.answer

    def _indicate_release(self, _: Subject) -> AssociationEvent:
        return ReleaseRequested()

    def _confirm_release(self, _: Subject) -> AssociationEvent:
        self._stop_timers()
        return Released()

    def _send_release_rp(self, _: Subject) -> None:
        self._send(ReleaseRP())

    def _send_release_rp_last(self, _: Subject) -> None:
        self._send_last(ReleaseRP())

    def _indicate_collision(self, _: Subject) -> None:
        if self.requestor:
            self._fire(Event.ANSWER_RELEASE)
        else:
            self.state = State.COLLISION_ACCEPTOR_RP

    def _confirm_collision(self, _: Subject) -> AssociationEvent:
        self._fire(Event.ANSWER_RELEASE)
        return Released()

    def _indicate_abort(self, subject: Subject) -> AssociationEvent | None:
        self._stop_timers()
        return Aborted(subject.source, subject.reason) if isinstance(subject, Abort) else None

    def _indicate_loss(self, _: Subject) -> AssociationEvent:
        self._stop_timers()
        return ConnectionLost()

    def _abort_as_user(self, subject: Subject) -> None:
        if not isinstance(
            subject, Abort
        ):  # AA-1 in Sta2: the peer began with something else than an A-ASSOCIATE-RQ
            self._broken = True
            subject = Abort(AbortSource.SERVICE_USER)
        self._send_last(subject)

    def _abort_again(self, _: Subject) -> None:
        self._broken = True
        self._send(Abort(AbortSource.SERVICE_PROVIDER, AbortReason.UNEXPECTED_PDU))

    def _abort_as_provider(self, subject: Subject) -> None:
        self._broken = True
        reason = (
            subject.reason if isinstance(subject, ViolationError) else AbortReason.UNEXPECTED_PDU
        )
        self._send_last(Abort(AbortSource.SERVICE_PROVIDER, reason))

    _ACTIONS: ClassVar[
        dict[Action, Callable[["Association", Subject], AssociationEvent | None]]
    ] = {
        Action.CONNECT: _quiet,
        Action.SEND_ASSOCIATE_RQ: _send_associate_rq,
        Action.CONFIRM_ACCEPTED: _confirm_accepted,
        Action.CONFIRM_REJECTED: _confirm_rejected,
        Action.AWAIT_REQUEST: _await_request,
        Action.JUDGE_REQUEST: _judge_request,
        Action.SEND_ASSOCIATE_AC: _send,
        Action.SEND_ASSOCIATE_RJ: _send_last,
        Action.SEND_DATA: _quiet,
        Action.INDICATE_DATA: _indicate_data,
        Action.SEND_RELEASE_RQ: _send_release_rq,
        Action.INDICATE_RELEASE: _indicate_release,
        Action.CONFIRM_RELEASE: _confirm_release,
        Action.SEND_RELEASE_RP_LAST: _send_release_rp_last,
        Action.STOP_ARTIM: _stop_timers,
        Action.INDICATE_LATE_DATA: _indicate_data,
        Action.SEND_LATE_DATA: _quiet,
        Action.INDICATE_COLLISION: _indicate_collision,
        Action.SEND_RELEASE_RP: _send_release_rp,
        Action.CONFIRM_COLLISION: _confirm_collision,
        Action.ABORT_AS_USER: _abort_as_user,
        Action.CLOSE: _stop_timers,
        Action.INDICATE_ABORT: _indicate_abort,
        Action.INDICATE_LOSS: _indicate_loss,
        Action.DROP: _stop_timers,
        Action.IGNORE: _quiet,
        Action.ABORT_AGAIN: _abort_again,
        Action.ABORT_AS_PROVIDER: _abort_as_provider,
    }
