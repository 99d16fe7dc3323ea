"""An association of Link with a destination: requests out, responses in, each within its deadline.

One task reads (`read`); whoever sends holds the line. A response settles the request with its
message id; everything else that the destination does ends the association, and every open request
gets the reason.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import structlog

from swallowtail.calls.config import Destination
from swallowtail.calls.deliver import About
from swallowtail.dicom.commands import RESPONSE, Command
from swallowtail.dicom.dimse import CommandReceived
from swallowtail.dicom.indications import Aborted, DeadlinePassed, Released, ReleaseRequested
from swallowtail.dicom.negotiation import PresentationContext
from swallowtail.dicom.net import Connection
from swallowtail.dicom.status import Category, category_of
from swallowtail.link.scu.connecting import peer_of
from swallowtail.link.scu.contexts import Pair
from swallowtail.runtime.tasks import Tasks
from swallowtail.sansio.errors import LocalProtocolError, RemoteProtocolError
from swallowtail.sansio.machine import Bytes

log = structlog.get_logger()

RELEASE_LIMIT: Final = 5.0
"""Seconds that a destination gets to answer our A-RELEASE-RQ; then the connection is cut."""


@dataclass(frozen=True, slots=True)
class Ended:
    """No response will come: what it is about, and the sentence for a person."""

    about: About
    detail: str
    reason: str
    """Why, in a few constant words for the log."""
    state: str = "aborted"
    """How the association ended: `aborted`, `lost` or `released`."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A request without its response."""

    message_id: int
    context_id: int
    field: int
    result: asyncio.Future[Command | Ended]
    on_result: Callable[[Command | Ended], None]
    """Called first, at once when the result is known."""


def _ignored(_: Command | Ended) -> None:
    """Ignore a result."""


class OutboundAssociation:
    """One association in which Link is the SCU."""

    def __init__(
        self,
        connection: Connection,
        proposed: Iterable[Pair],
        destination: Destination,
        tasks: Tasks,
    ) -> None:
        self._ids = {
            pair: 2 * n + 1 for n, pair in enumerate(proposed)
        }  # as `negotiation.propose` numbers them
        self.proposed = frozenset(self._ids)
        self.ended: Ended | None = None
        self._connection = connection
        self._destination = destination
        self._peer = peer_of(destination)
        self._open: dict[int, Pending] = {}
        self._overdue: dict[int, asyncio.TimerHandle] = {}
        self._full_since: float | None = None  # a write waits for the destination to accept bytes
        self._incomplete: int | None = (
            None  # the message whose data set has not been sent to its end
        )
        self._loop = asyncio.get_running_loop()
        agreement = connection.agreement
        assert agreement is not None
        self._agreement = agreement
        self.window = min(agreement.invoked, destination.outstanding)
        self._reading = tasks.spawn(self._read(), name="destination")

    def context(self, pair: Pair) -> PresentationContext | None:
        """Return the accepted context for a pair, None when it was rejected or not proposed."""
        return self._agreement.context_for(*pair)

    def refusal(self, pair: Pair) -> int | None:
        """Return the result of a rejected pair (PS3.8 9.3.3.2), None when it was not rejected."""
        return self._agreement.refused.get(self._ids.get(pair, 0))

    def syntaxes(self, sop_class: str) -> tuple[str, ...]:
        """Return the transfer syntaxes that the destination accepted for a SOP class."""
        contexts = self._agreement.contexts.values()
        return tuple(
            context.transfer_syntax for context in contexts if context.abstract_syntax == sop_class
        )

    @property
    def outstanding(self) -> int:
        """Return how many requests have no response yet."""
        return len(self._open)

    async def wait_below(self, limit: int) -> None:
        """Wait until fewer than `limit` requests are without response."""
        while len(self._open) >= limit:
            await asyncio.wait(
                [pending.result for pending in self._open.values()],
                return_when=asyncio.FIRST_COMPLETED,
            )

    # Sending: one at a time, the line's lock sees to it

    def new_message_id(self) -> int:
        """Return the next message id."""
        return self._connection.new_message_id()

    def request(
        self,
        context: PresentationContext,
        command: Command,
        on_result: Callable[[Command | Ended], None] = _ignored,
    ) -> asyncio.Future[Command | Ended]:
        """Send a command set; its data set follows with `send_data`, `sent` when all has left."""
        result: asyncio.Future[Command | Ended] = self._loop.create_future()
        pending = Pending(command.message_id, context.id, command.field, result, on_result)
        self._open[command.message_id] = pending
        if self.ended is None:
            try:
                self._connection.send(context.id, command)
                self._incomplete = command.message_id if command.has_data_set else None
            except LocalProtocolError:  # it has ended, and the reader has not noticed
                self._end(self._lost())
        if self.ended is not None:
            self._settle(pending, self.ended)
        return result

    async def send_data(self, data: Bytes, *, last: bool) -> bool:
        """Send bytes of a data set and wait until the destination accepts more.

        False when the association has ended.

        A destination that accepts no byte within its time is cut by the transport's own watch.
        """
        self._full_since = self._loop.time()
        try:
            if self.ended is None:
                self._connection.send_data(data, last=last)
                self._incomplete = None if last else self._incomplete
                await self._connection.drain()
                self._full_since = None
        except (LocalProtocolError, ConnectionResetError):
            self._end(self._lost())
        return self.ended is None

    def _lost(self) -> Ended:
        """Return why the connection was lost.

        A destination that accepts nothing is cut by the transport's watch.
        """
        seconds = self._destination.timeouts.response
        stalled = self._full_since is not None and self._loop.time() - self._full_since >= seconds
        if stalled:
            return Ended(
                About.DESTINATION,
                self._peer.stalled(seconds),
                "it took no byte of an instance in time",
            )
        return Ended(About.DESTINATION, self._peer.lost(), "", "lost")

    def sent(self, message_id: int) -> None:
        """Start the clock of the response."""
        if message_id in self._open:
            self._overdue[message_id] = self._loop.call_later(
                self._destination.timeouts.response, self._late
            )

    def _late(self) -> None:
        detail = self._peer.silent(self._destination.timeouts.response)
        self.abort(Ended(About.DESTINATION, detail, "it did not answer an instance in time"))

    # The end

    def abort(self, why: Ended) -> None:
        """End it with an A-ABORT, so that the destination discards what is incomplete."""
        self._end(why)
        self._connection.abort()

    async def release(self) -> None:
        """Release it, within RELEASE_LIMIT; open requests get the outcome LINK."""
        if self.ended is None:
            try:
                self._connection.release()
            except LocalProtocolError:
                self._connection.abort()
        try:
            async with asyncio.timeout(RELEASE_LIMIT):
                await asyncio.wait([self._reading])
        except TimeoutError:
            pass
        finally:
            self._end(
                Ended(
                    About.LINK,
                    "Link ended the association",
                    "it did not answer the release in time",
                )
            )
            await self._connection.close()

    def _end(self, why: Ended) -> None:
        if self.ended is None:
            self.ended = why
            log.info(
                "association ended",
                destination=self._destination.name,
                peer=self._connection.peer[0],
                state=why.state,
                reason=why.reason,
                count=len(self._open),
            )
            for pending in list(self._open.values()):
                self._settle(pending, why)

    def _settle(self, pending: Pending, result: Command | Ended) -> None:
        del self._open[pending.message_id]
        if (timer := self._overdue.pop(pending.message_id, None)) is not None:
            timer.cancel()
        pending.on_result(result)
        if not pending.result.done():
            pending.result.set_result(result)

    # Receiving

    async def _read(self) -> None:
        try:
            while True:
                event = await self._connection.next_event()
                if not isinstance(event, CommandReceived):
                    self._end(self._end_by(event))
                    break
                if not self._take(event):
                    break
        except RemoteProtocolError as error:
            self._end(
                Ended(
                    About.DESTINATION,
                    self._peer.violated(str(error)),
                    "it broke the DICOM protocol",
                )
            )
        finally:
            self._end(Ended(About.LINK, "Link stops", "Link stops"))
            self._connection.abort()

    def _end_by(self, event: object) -> Ended:
        match event:
            case ReleaseRequested():
                self._connection.release()
                return Ended(
                    About.DESTINATION, self._peer.released(), "by the destination", "released"
                )
            case Aborted():
                return Ended(About.DESTINATION, self._peer.aborted(), "by the destination")
            case Released():
                return Ended(About.LINK, "Link released the association", "", "released")
            case DeadlinePassed(deadline):
                return Ended(About.DESTINATION, self._peer.violated(deadline.value), deadline.value)
        return self._lost()

    def _take(self, received: CommandReceived) -> bool:
        """Handle one command set; False when it ended the association."""
        if (wrong := self._wrong(received)) is not None:
            self.abort(Ended(About.DESTINATION, self._peer.violated(wrong), wrong))
            return False
        self._settle(self._open[received.command.message_id], received.command)
        return True

    def _wrong(self, received: CommandReceived) -> str | None:
        command = received.command
        pending = self._open.get(command.message_id)
        if not command.is_response:
            return "it asked for something on an association that Link opened to store"
        if pending is None:
            return "it answered a message id that was not asked"
        if command.field != pending.field | RESPONSE:
            return "its answer is to another kind of request"
        if received.context.id != pending.context_id:
            return "its answer came on another presentation context"
        if command.has_data_set:
            return "its answer announces a data set"
        if category_of(command.status) is Category.PENDING:
            return "it answered that the request is pending"
        if (
            command.message_id == self._incomplete
            and category_of(command.status) is not Category.FAILURE
        ):
            return "it acknowledged an instance before it had all of it"
        return None
