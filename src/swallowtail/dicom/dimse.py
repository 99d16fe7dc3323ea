"""DIMSE messages over an association.

PS3.7 6.3 and PS3.8 Annex E as a machine, the same for both roles.

A message is a command set and perhaps a data set. The command set is gathered (at most 64 KiB) and
decoded; the data set passes as views, never gathered, never decoded. Requests, responses and
C-CANCEL arrive alike, as CommandReceived: what they mean is the consumer's business, what may
follow what is checked here.

    next_event                          the consumer then
    AssociateRequested                  accept, reject or abort
    CommandReceived, has_data_set       next_event until a DataSetFragment is `last`
    CommandReceived of a request        send the response, with the request's message id, context
    ReleaseRequested                    send what is owed, then release
"""

from dataclasses import dataclass
from typing import Final

from swallowtail.dicom.association import Association
from swallowtail.dicom.buffers import BufferPool
from swallowtail.dicom.commands import MAX_LENGTH, Command, decode, encode
from swallowtail.dicom.indications import AssociateAccepted, AssociateRequested, AssociationEvent
from swallowtail.dicom.negotiation import Agreement, PresentationContext, agree
from swallowtail.dicom.pace import Limits
from swallowtail.dicom.pdu import DEFAULT_MAX_PDU, AssociateAC, AssociateRQ
from swallowtail.dicom.pdu_reader import PDV_OVERHEAD, Fragment
from swallowtail.dicom.status import Category, category_of
from swallowtail.dicom.violations import AbortReason, AbortSource, ViolationError
from swallowtail.sansio.errors import LocalProtocolError
from swallowtail.sansio.machine import Bytes, Signal

MIN_PEER_PDU: Final = 128  # a peer that takes less would make every message a flood of headers


@dataclass(frozen=True, slots=True)
class CommandReceived:
    """A command set is complete.

    If `command.has_data_set`, DataSetFragment events follow, the final one `last`.
    """

    context: PresentationContext
    command: Command


@dataclass(frozen=True, slots=True)
class DataSetFragment:
    """Bytes of the data set that the last CommandReceived announced.

    `data` is valid until the next `next_event`, may be empty.
    """

    data: memoryview
    last: bool


DimseEvent = AssociationEvent | CommandReceived | DataSetFragment


class Dimse:
    """The messages of one association.

    A BulkMachine: see `swallowtail.sansio.machine` for the surface.
    """

    def __init__(self, limits: Limits, pool: BufferPool, now: float) -> None:
        self.agreement: Agreement | None = None
        self._association = Association(limits, pool, now)
        self._request: AssociateRQ | None = None
        self._command = bytearray()  # of the message that comes in, at most MAX_LENGTH
        self._command_context: int | None = None
        self._data_set_context: int | None = None  # a data set is due or under way on this context
        self._owed: dict[int, int] = {}  # message id of a request of the peer: its context
        self._sending: int | None = None  # our data set is due or under way on this context
        self._odd = b""  # held back so that fragments are even
        self._last_id = 0
        self.get_buffer = self._association.get_buffer
        self.buffer_updated = self._association.buffer_updated
        self.receive_data = self._association.receive_data
        self.receive_eof = self._association.receive_eof
        self.data_to_send = self._association.data_to_send
        self.next_timeout = self._association.next_timeout
        self.handle_timeout = self._association.handle_timeout
        self.reading_paused = self._association.reading_paused
        self.reading_resumed = self._association.reading_resumed
        self.accepted_transport = self._association.accepted_transport
        self.connected = self._association.connected
        self.reject = self._association.reject
        self.release = self._association.release
        self.abort = self._association.abort
        self.withdraw = self._association.withdraw

    @property
    def closed(self) -> bool:
        """Return whether nothing will follow for the consumer."""
        return self._association.closed

    @property
    def associated(self) -> bool:
        """Return whether there is an association that an A-ABORT can end."""
        return self._association.associated

    @property
    def finished(self) -> bool:
        """The shell should close the transport as soon as everything is written."""
        return self._association.finished

    # What the user asks for

    def associate(self, request: AssociateRQ, now: float) -> None:
        """Start as the requestor; `connected` sends the request."""
        self._request = request
        self._association.associate(request, now)

    def accept(self, answer: AssociateAC, now: float) -> Agreement:
        """Accept the association with `answer` (see `negotiation.answer`)."""
        self._association.accept(answer, now)
        if self._request is None:
            raise LocalProtocolError("there is no A-ASSOCIATE-RQ to accept")
        self.agreement = agree(self._request, answer, requestor=False)
        return self.agreement

    def new_message_id(self) -> int:
        """Return the next id for a request of ours (PS3.7 E.1: 1 to 65535)."""
        self._last_id = self._last_id % 0xFFFF + 1
        return self._last_id

    def send(self, context_id: int, command: Command, now: float) -> None:
        """Send a command set; when it announces a data set, `send_data` must follow until `last`.

        A response must go where its request came from: LocalProtocolError otherwise.
        """
        if self._sending is not None:
            raise LocalProtocolError("a data set is not complete yet")
        if context_id not in self._agreed().contexts:
            raise LocalProtocolError(f"presentation context {context_id} was not accepted")
        if command.is_response and self._owed.get(command.message_id) != context_id:
            raise LocalProtocolError(
                f"no request with message id {command.message_id} is open on context {context_id}"
            )
        self._send_pieces(context_id, encode(command), command=True, last=True, now=now)
        if command.is_response and category_of(command.status) is not Category.PENDING:
            del self._owed[command.message_id]
            self._notify_association()
        self._sending = context_id if command.has_data_set else None

    def send_data(self, data: Bytes, now: float, *, last: bool) -> None:
        """Send the next bytes of the data set; `data` is used until `data_to_send`."""
        context_id = self._sending
        if context_id is None:
            raise LocalProtocolError("no command has announced a data set")
        view = memoryview(data).cast("B")
        if self._odd and view:
            self._send_pieces(
                context_id,
                self._odd + view[:1],
                command=False,
                last=last and len(view) == 1,
                now=now,
            )
            view, self._odd = view[1:], b""
            if last and not view:
                self._sending = None
                return
        if last:
            self._send_pieces(context_id, view or self._odd, command=False, last=True, now=now)
            self._sending, self._odd = None, b""
            return
        even = len(view) & ~1  # DCMTK aborts on odd fragments
        self._odd = bytes(view[even:]) or self._odd
        if even:
            self._send_pieces(context_id, view[:even], command=False, last=False, now=now)

    def _agreed(self) -> Agreement:
        if self.agreement is None:
            raise LocalProtocolError("no association is established")
        return self.agreement

    def _send_pieces(
        self, context_id: int, data: Bytes, *, command: bool, last: bool, now: float
    ) -> None:
        """Send one PDV per P-DATA-TF: more than two in one are legal, and crash known peers."""
        view = memoryview(data)
        size = (
            min(self._agreed().max_send or DEFAULT_MAX_PDU, DEFAULT_MAX_PDU) - PDV_OVERHEAD
        ) & ~1
        for at in range(0, max(len(view), 1), size):
            ends = at + size >= len(view)
            piece = view[at : at + size]
            self._association.send_fragment(
                context_id, command=command, last=last and ends, data=piece, now=now
            )

    # What arrives

    def next_event(self) -> DimseEvent | Signal:
        while True:
            event = self._association.next_event()
            if isinstance(event, Signal):
                return event
            try:
                taken = self._take(event)
            except ViolationError as error:
                self._association.break_off(error)
                raise
            if taken is not None:
                return taken

    def _take(self, event: AssociationEvent) -> DimseEvent | None:
        match event:
            case Fragment():
                return self._take_command(event) if event.command else self._take_data(event)
            case AssociateRequested(request):
                self._request = request
                self._judge_peer_limit(request.user.max_pdu)
            case AssociateAccepted(answer) if self._request is not None:
                self._judge_peer_limit(answer.user.max_pdu)
                self.agreement = agree(self._request, answer, requestor=True)
        return event

    def _judge_peer_limit(self, max_pdu: int) -> None:
        if 0 < max_pdu < MIN_PEER_PDU:
            raise _violation(
                f"the peer takes PDUs of {max_pdu} bytes, we need {MIN_PEER_PDU}",
                AbortReason.INVALID_PARAMETER,
            )

    def _take_command(self, fragment: Fragment) -> CommandReceived | None:
        context_id = fragment.context_id
        if self._data_set_context is not None or self._command_context not in {None, context_id}:
            raise _violation(
                "a message begins before the last one ended"
            )  # PS3.8 E.1: fragments of messages never mix
        if (context := self._agreed().contexts.get(context_id)) is None:
            raise _violation(f"presentation context {context_id} was not accepted")
        if len(self._command) + len(fragment.data) > MAX_LENGTH:
            raise _violation(f"a command set has more than {MAX_LENGTH} bytes")
        self._command += fragment.data
        if not fragment.last:
            self._command_context = context_id
            self._notify_association()
            return None
        command = decode(bytes(self._command))
        self._command = bytearray()
        self._command_context = None
        self._begin(context_id, command)
        return CommandReceived(context, command)

    def _begin(self, context_id: int, command: Command) -> None:
        if command.has_data_set:
            self._data_set_context = context_id
        if not command.is_response and not command.is_cancel:
            if command.message_id in self._owed:
                raise _violation(f"message id {command.message_id} is in use")
            self._owed[command.message_id] = context_id
        self._notify_association()

    def _take_data(self, fragment: Fragment) -> DataSetFragment:
        if self._data_set_context != fragment.context_id:
            raise _violation(
                f"a data set on presentation context {fragment.context_id} that no command"
                " announced"
            )
        if fragment.last:
            self._data_set_context = None
            self._notify_association()
        return DataSetFragment(fragment.data, fragment.last)

    def _notify_association(self) -> None:
        message_open = self._command_context is not None or self._data_set_context is not None
        self._association.expect(message_open=message_open, owing=bool(self._owed))


def _violation(what: str, reason: AbortReason = AbortReason.UNEXPECTED_PARAMETER) -> ViolationError:
    return ViolationError(what, reason, AbortSource.SERVICE_USER)
