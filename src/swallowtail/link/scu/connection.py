"""One connection of a destination.

Deliveries in the order in which they come, over one association that is kept while it is used.

A delivery waits for its turn with its body unread, so that it holds its credit window and no more.
Its turn begins when the destination's window is open, which without the asynchronous operations
window (PS3.7 D.3.3.3) means: when the one before has its response. One that was asked for behind
another begins only when that one has arrived, or awaits its response within the asynchronous
operations window; otherwise it is returned without having been begun (LINK): nothing overtakes a
retry.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog

from swallowtail.calls.config import AtCap, Destination, Transcoding
from swallowtail.calls.deliver import (
    About,
    DeliverAnswer,
    Delivered,
    DeliverRequest,
    DeliveryPhase,
    NotDelivered,
)
from swallowtail.calls.net import receive_body
from swallowtail.calls.transfer import TransferEnd
from swallowtail.dicom.commands import Command, Element, store_request
from swallowtail.link.scu.body import WIRE_SILENCE, Body, next_of, pass_on
from swallowtail.link.scu.connecting import Reach
from swallowtail.link.scu.contexts import PERMANENT, Needs, pairs_of, refused_context
from swallowtail.link.scu.outcomes import NotDeliveredError, answered, failure, row_of
from swallowtail.link.scu.requestor import Ended, OutboundAssociation
from swallowtail.runtime.tasks import Tasks
from swallowtail.wire.net import Channel

log = structlog.get_logger()

MAX_QUEUED: Final = 8
"""Deliveries of one connection that Link accepts at once, the running ones included."""
MAX_SENT: Final = 64
"""Deliveries of one connection that are kept as sent, for those that are requested behind them.
"""


def not_started(detail: str) -> NotDelivered:
    """Return the response to a delivery that was not started."""
    return NotDelivered(about=About.LINK, phase=DeliveryPhase.QUEUE, detail=detail)


class Line:
    """One connection of one destination, with the deliveries that wait for it."""

    def __init__(
        self,
        destination: Destination,
        reach: Reach,
        tasks: Tasks,
        noted: Callable[[DeliverAnswer], None],
    ) -> None:
        self.destination = destination
        self.removed = self.stopping = False
        self._reach = reach
        self._tasks = tasks
        self._noted = noted
        self._turn = asyncio.Lock()
        self._queued = 0
        self._needs = Needs()
        self._association: OutboundAssociation | None = None
        self._stale = False
        self._ending: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._sent: dict[
            int, None
        ] = {}  # what has arrived or awaits its response, the oldest first
        self._loop = asyncio.get_running_loop()

    @property
    def associated(self) -> bool:
        """Return whether an association is open."""
        return self._association is not None and self._association.ended is None

    @property
    def over(self) -> bool:
        """Return whether nothing runs, waits or is open."""
        return (
            not self._queued
            and not self.associated
            and (self._ending is None or self._ending.done())
        )

    def update(self, destination: Destination) -> None:
        """Apply these settings.

        The running instance ends under the old ones, then the association is replaced.
        """
        self._stale |= _towards(destination) != _towards(self.destination)
        self.destination = destination
        self.removed = False
        self._rest()

    def remove(self) -> None:
        """Stop deliveries, and end the association after the running instance."""
        self.removed = True
        self._rest()

    async def rest(self) -> bool:
        """Release the association if nothing uses it; False when something does."""
        self._rested()
        if self._ending is not None:
            await asyncio.wait([self._ending])
        return not self.associated

    async def drain(self, limit: float) -> None:
        """Stop deliveries, and end the association after what runs, in `limit` seconds at most."""
        self.stopping = True
        try:
            async with asyncio.timeout(limit), self._turn:
                if self._association is not None:
                    await self._association.wait_below(1)
                await self._end()
                if self._ending is not None:  # it was idle, and its release is under way
                    await asyncio.wait([self._ending])
        except TimeoutError:
            if self._association is not None:
                self._association.abort(
                    Ended(About.LINK, "Link stops; it is tried again", "Link stops")
                )

    async def deliver(self, request: DeliverRequest, channel: Channel) -> DeliverAnswer:
        """Send one instance when its turn has come.

        Raises ChannelResetError when the Cloud cancels it.
        """
        if self._queued >= MAX_QUEUED:
            return not_started(
                f"{MAX_QUEUED} deliveries wait for this connection of {self.destination.name}"
                " already"
            )
        self._queued += 1
        try:
            async with aclosing(receive_body(channel, silence=WIRE_SILENCE)) as body:
                return await self._deliver(request, body)
        finally:
            self._queued -= 1
            self._rest()

    async def _deliver(self, request: DeliverRequest, body: Body) -> DeliverAnswer:
        async with self._turn:
            if self._association is not None:
                await self._association.wait_below(self._association.window)
            self._sent.pop(
                request.delivery, None
            )  # an earlier attempt at it is no news for those behind this one
            if (unbegun := self._judge(request)) is not None:
                return unbegun
            try:
                piece = await next_of(body)
                association = await self._associated(request)
                if (
                    unbegun := self._judge(request)
                ) is not None:  # the one before it may have failed meanwhile
                    return unbegun
                sent = await self._send(association, piece, request, body)
            except NotDeliveredError as error:
                self._noted(error.answer)
                return error.answer
        await asyncio.wait([sent.result])
        answer = self._answer(sent)
        self._noted(answer)
        return answer

    def _judge(self, request: DeliverRequest) -> NotDelivered | None:
        """Return why a delivery whose turn has come is not begun, None when it is.

        That the one before it has arrived must be known. Whatever else became of that one (it
        failed, was itself not begun, was given up by the Cloud, or never came here), it may be sent
        again, and this one must not overtake it.
        """
        name = self.destination.name
        if self.stopping:
            return not_started("Link stops; it is tried again")
        if self.removed:
            return not_started(f"{name} is no longer in the configuration of this Link")
        if request.behind and request.behind not in self._sent:
            return not_started(
                f"the delivery before it to {name} did not arrive; it is tried again in its order"
            )
        return None

    # The association

    async def _associated(self, request: DeliverRequest) -> OutboundAssociation:
        """Return an association that was asked for the context that `request` needs.

        A refusal holds for as long as its association does, so a retry after one is asked for on
        another.
        """
        pair = (request.sop_class, request.transfer_syntax)
        self._needs.note(pair, pairs_of(request.expected))
        current = self._association
        refused = request.attempt > 1 and current is not None and current.context(pair) is None
        if current is not None and (
            current.ended is not None or self._stale or refused or pair not in current.proposed
        ):
            await self._end()
            current = None
        if self._ending is not None:
            await asyncio.wait([self._ending])
        if current is None:
            proposal = self._needs.proposal(
                fallbacks=self.destination.transcoding is not Transcoding.NEVER
            )
            destination, self._stale = self.destination, False
            connection = await self._reach.open(destination, proposal)
            current = self._association = OutboundAssociation(
                connection, proposal, destination, self._tasks
            )
            log.info(
                "association established",
                destination=destination.name,
                peer=connection.peer[0],
                count=len(proposal),
            )
        return current

    def _rest(self) -> None:
        """Schedule the release of the association: after its idle time, or at once."""
        if self._idle is not None:
            self._idle.cancel()
        if self._association is not None:
            unwanted = self._stale or self.removed
            self._idle = self._loop.call_later(
                0.0 if unwanted else self.destination.timeouts.idle, self._rested
            )

    def _rested(self) -> None:
        if (
            self._queued
            or self._turn.locked()
            or self._association is None
            or self._association.outstanding
        ):
            return  # whoever ends it calls `_rest`
        association, self._association = self._association, None
        self._ending = self._tasks.spawn(association.release(), name="release")

    async def _end(self) -> None:
        """Release the association after what runs on it."""
        association, self._association = self._association, None
        if association is not None:
            await association.wait_below(1)
            await association.release()

    # One instance

    async def _send(
        self,
        association: OutboundAssociation,
        piece: memoryview | TransferEnd | None,
        request: DeliverRequest,
        body: Body,
    ) -> "_Sent":
        context = association.context((request.sop_class, request.transfer_syntax))
        if context is None:
            raise self._refused(association, request)
        originator = (
            (request.originator_ae, request.originator_id) if request.originator_ae else None
        )
        number = association.new_message_id()
        command = store_request(
            number, request.sop_class, request.sop_instance, move_originator=originator
        )
        began = self._loop.time()
        self._note_sent(request)
        result = association.request(context, command, lambda found: self._settled(request, found))
        try:
            end = await pass_on(body, piece, association, request, result)
        # damaged, cancelled by the Cloud, or its session is lost: the destination must not store
        # half of it
        except BaseException:
            text = "Link gave up another instance on this association; it is tried again"
            association.abort(Ended(About.LINK, text, "the transfer of an instance was given up"))
            raise
        if end is None:
            text = "answered before it had all of an instance"
            association.abort(
                Ended(About.DESTINATION, f"{self.destination.name} {text}", f"it {text}")
            )
        association.sent(number)
        return _Sent(result, end, began)

    def _refused(
        self, association: OutboundAssociation, request: DeliverRequest
    ) -> NotDeliveredError:
        result = association.refusal((request.sop_class, request.transfer_syntax))
        accepted = association.syntaxes(request.sop_class)
        what = refused_context(self.destination, request, result, accepted)
        refused = failure(About.INSTANCE, DeliveryPhase.CONTEXT, what).answer
        return NotDeliveredError(
            msgspec.structs.replace(refused, accepted=accepted, permanent=result in PERMANENT)
        )

    def _settled(self, request: DeliverRequest, result: Command | Ended) -> None:
        if isinstance(result, Ended) or row_of(result.status).about is not None:
            self._sent.pop(request.delivery, None)

    def _note_sent(self, request: DeliverRequest) -> None:
        """Allow the deliveries behind it to start until it fails.

        Whoever sends holds the turn, so none begins before all has left.
        """
        self._sent[request.delivery] = None
        for oldest in [*self._sent][:-MAX_SENT]:
            del self._sent[oldest]

    def _answer(self, sent: "_Sent") -> DeliverAnswer:
        result, name = sent.result.result(), self.destination.name
        if isinstance(result, Ended):
            phase = DeliveryPhase.SEND if sent.end is None else DeliveryPhase.RESPONSE
            return failure(result.about, phase, result.detail).answer
        row, comment = row_of(result.status), result.text(Element.ERROR_COMMENT)[:64]
        if row.about is not None or sent.end is None:
            return answered(name, result.status, row, comment)
        seconds = round(self._loop.time() - sent.began, 6)
        return Delivered(
            length=sent.end.length,
            crc32=sent.end.crc32,
            status=result.status,
            comment=comment,
            seconds=seconds,
        )


@dataclass(frozen=True, slots=True)
class _Sent:
    """An instance that was sent or failed; `end` None: it was not sent completely."""

    result: asyncio.Future[Command | Ended]
    end: TransferEnd | None
    began: float


def _towards(destination: Destination) -> Destination:
    """Return the settings of a destination that an association depends on."""
    return msgspec.structs.replace(
        destination, description="", attempts=1, at_cap=AtCap.PARK, connections=1
    )
