"""One DIMSE operation: a request of the peer, from its command set to its final response.

The provider of the service reads the data set here, if there is one, and responds here. Meanwhile
the acceptor goes on reading the association as soon as the request is complete, so that C-CANCEL-RQ
(PS3.7 9.3.2.3) and the end of the association are noticed while the provider works.

A response is written as a whole: it waits before its first byte until the transport takes more, for
at most RESPONSE_LIMIT. What a peer that does not read its responses costs is therefore bounded by
the transport's buffer and one response.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from swallowtail.calls.dimse_services.declaration import DimseService
from swallowtail.calls.dimse_services.responses import AssociationAbort, StatusResponse
from swallowtail.calls.responses import Situation
from swallowtail.dicom.commands import Value, response_to
from swallowtail.dicom.dimse import CommandReceived, DataSetFragment, DimseEvent
from swallowtail.dicom.net import Connection
from swallowtail.dicom.status import Category, category_of
from swallowtail.dicom.status import Status as Code
from swallowtail.dicom.violations import AbortReason, AbortSource
from swallowtail.sansio.errors import RemoteProtocolError
from swallowtail.sansio.machine import Signal

DISCARD_LIMIT: Final = 10.0
"""Seconds for the rest of a message that is refused; then the association is aborted."""
RESPONSE_LIMIT: Final = 60.0
"""Seconds until the peer has taken enough for the next response; then the association is aborted.

At 1 KiB/s a full transport buffer is read in that time.
"""
INCOMPLETE: Final = "message incomplete at the deadline"
UNREAD_RESPONSES: Final = "the modality did not read its responses in time"


class Operation:
    """One request of the peer, while a provider serves it."""

    def __init__(
        self, connection: Connection, received: CommandReceived, service: DimseService | None
    ) -> None:
        self.command = received.command
        self.context = received.context
        self.cancelled = False
        """Whether nobody waits for further responses.

        Set by C-CANCEL-RQ, and by the release or the end of the association.
        """
        self.responded = False
        """Whether the final response was sent."""
        self.unread = received.command.has_data_set
        """Whether the request's data set has not been read to its end."""
        self.abort_reason = ""
        """Why the provider aborted the association, empty when it did not."""
        self.interruption: DimseEvent | Signal | RemoteProtocolError | None = None
        """What came instead of the next fragment of the data set."""
        self.received = asyncio.Event()
        """Set when the request is complete, or when the rest of it will not arrive."""
        self.finished = asyncio.Event()
        """Set by the acceptor when the provider has returned."""
        self._connection = connection
        self._service = service
        self._scope: asyncio.Timeout | None = None
        if not self.unread:
            self.received.set()

    @property
    def ended(self) -> bool:
        """Return whether the association accepts no response any more."""
        return self.interruption is not None or self._connection.closed

    @property
    def read_at(self) -> float:
        """Return when bytes were last read from the peer; some may wait for `next_fragment`."""
        return self._connection.read_at

    # The request's data set

    async def next_fragment(self) -> DataSetFragment | None:
        """Return the next bytes of the data set, None when the association ended before its end.

        The view is valid until the next call, and the one of the last fragment for as long as it is
        kept. While nobody calls, the socket is not read. A call may be cancelled and repeated:
        nothing is lost.
        """
        if self.ended:
            return None
        try:
            event = await self._connection.next_event()
        except RemoteProtocolError as error:
            self._interrupt(error)
            return None
        if not isinstance(event, DataSetFragment):
            self._interrupt(event)
            return None
        if event.last:  # a copy: the acceptor reads on, while the provider may wait for credit
            event = DataSetFragment(memoryview(bytes(event.data)), last=True)
            self.unread = False
            self.received.set()
        return event

    async def read_data_set(self, limit: int) -> bytes | Situation:
        """Return the request's data set.

        TOO_LARGE above `limit` bytes, INVALID_PDU when the association ended before its end; both
        are for `answer`.
        """
        gathered = bytearray()
        while self.unread:
            fragment = await self.next_fragment()
            if fragment is None:
                return Situation.INVALID_PDU
            if len(gathered) + len(fragment.data) > limit:
                return Situation.TOO_LARGE
            gathered += fragment.data
        return bytes(gathered)

    async def discard(self) -> bool:
        """Read the rest of the data set; return whether a response may follow.

        After DISCARD_LIMIT the association is aborted.
        """
        try:
            async with asyncio.timeout(DISCARD_LIMIT):
                while self.unread:
                    if await self.next_fragment() is None:
                        return False
        except TimeoutError:
            self.abort(INCOMPLETE)
        return not self.ended

    def _interrupt(self, by: DimseEvent | Signal | RemoteProtocolError) -> None:
        self.interruption = by
        self.received.set()

    # Responses

    async def respond(
        self,
        status: int,
        *,
        data_set: bytes | None = None,
        comment: str = "",
        elements: Mapping[int, Value] | None = None,
    ) -> bool:
        """Send a response; return whether it was sent, False when the association has ended.

        A pending `status` (PS3.7 C.1) lets more responses follow, any other is final. What is left
        of the request's data set is discarded first.
        """
        pending = category_of(status) is Category.PENDING
        if pending:  # other tasks run between many responses, and when nobody takes them any more
            await asyncio.sleep(0)
        if self.unread and not await self.discard():
            return False
        if (pending or data_set is not None) and not await self._writable():
            return False
        return self._send(status, pending, data_set, comment, elements)

    async def answer(self, situation: Situation) -> None:
        """Respond as the service's column of the response table states."""
        if self.ended:
            return
        assert self._service is not None
        match self._service.responses[situation]:
            case StatusResponse(code, then_abort=True):
                # at once, although the message is not complete
                self._send(code, False, None, situation, None)
                self.abort(situation)
            case StatusResponse(code):
                await self.respond(code, comment="" if code == Code.SUCCESS else situation)
            case AssociationAbort(source, reason):
                self.abort(situation, AbortSource(source), AbortReason(reason))
            case other:
                raise AssertionError(f"{other} is no answer to a request")

    def abort(
        self,
        why: str,
        source: AbortSource = AbortSource.SERVICE_USER,
        reason: AbortReason = AbortReason.NOT_SPECIFIED,
    ) -> None:
        """Abort the association; `why` is in the log and in the report."""
        if not self.ended:
            self.abort_reason = why
            self._connection.abort(source, reason)
            self.received.set()

    async def _writable(self) -> bool:
        try:
            async with asyncio.timeout(RESPONSE_LIMIT):
                await self._connection.drain()
        except TimeoutError:
            self.abort(UNREAD_RESPONSES)
        except ConnectionResetError:
            return False
        return not self.ended

    def _send(
        self,
        status: int,
        pending: bool,
        data_set: bytes | None,
        comment: str,
        elements: Mapping[int, Value] | None,
    ) -> bool:
        if self.ended:
            return False
        response = response_to(
            self.command,
            status,
            data_set=data_set is not None,
            comment=comment,
            elements=elements,
        )
        self._connection.send(self.context.id, response)
        if data_set is not None:
            self._connection.send_data(data_set, last=True)
        self.responded = not pending
        return True

    # Cancelling

    @asynccontextmanager
    async def until_cancelled(self) -> AsyncIterator[None]:
        """Leave the block when nobody waits for further responses; `cancelled` is then set.

        A response is never left incomplete. The final response is still to be sent: `respond` with
        the status CANCEL.
        """
        scope = asyncio.timeout(0.0 if self.cancelled else None)
        try:
            async with scope:
                self._scope = scope
                yield
        except TimeoutError:
            if not scope.expired():
                raise
        finally:
            self._scope = None

    def cancel(self) -> None:
        """Handle C-CANCEL-RQ for this operation, or the end of the association."""
        self.cancelled = True
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())
