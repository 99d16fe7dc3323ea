"""The calls `deliver` and `check`, which the Cloud makes on a live session (calls.deliver,
calls.diagnostics).
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from swallowtail.calls.codec import MalformedCallError, encode
from swallowtail.calls.deliver import (
    DELIVER,
    About,
    DeliverAnswer,
    Delivered,
    DeliverRequest,
    DeliveryPhase,
    NotDelivered,
    read_deliver_answer,
)
from swallowtail.calls.diagnostics import CHECK, Checked, CheckRequest, read_checked
from swallowtail.calls.store import TransferEnd
from swallowtail.cloud.dispatch.attempt import Progress
from swallowtail.cloud.links.live import LiveLink
from swallowtail.cloud.model.port_errors import CloudError
from swallowtail.cloud.model.presence import LinkAwayError
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.runtime.tasks import Tasks
from swallowtail.sansio.errors import LocalProtocolError
from swallowtail.wire.channel import Message
from swallowtail.wire.failures import ChannelResetError, SessionClosedError
from swallowtail.wire.frames import Priority
from swallowtail.wire.net import Channel
from swallowtail.wire.reasons import ResetReason

CHECK_SECONDS: Final = 60.0
"""A check tries policy, name, connection, association and echo, each within its own deadline."""
PIECE: Final = 256 * 1024
"""Bytes that are copied into frames between two looks at the rest of the loop."""

GIVEN_UP: Final = (ChannelResetError, SessionClosedError, LocalProtocolError, MalformedCallError)
"""What ends a delivery that the Link, or the session, gives up."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Failed:
    """Why a half of the exchange ended."""

    error: Exception


class Outbound:
    """One live session as the dispatch sees it (`dispatch.sending.Path`)."""

    def __init__(self, live: LiveLink) -> None:
        self._live = live

    @property
    def tenant(self) -> Tenant:
        """Whose Link this is."""
        return self._live.tenant

    @property
    def link(self) -> str:
        """The Link's id."""
        return self._live.link

    @property
    def epoch(self) -> int:
        """The session's number among the Link's."""
        return self._live.epoch

    @property
    def gone(self) -> bool:
        """Whether the session has ended."""
        return self._live.session.closed.done()

    async def deliver(
        self, request: DeliverRequest, pieces: AsyncIterator[bytes], progress: Progress
    ) -> DeliverAnswer:
        """Send one instance and give Link's answer; raises LinkAwayError.

        Cancelling it gives the channel up.
        """
        try:
            channel = await self._live.session.open(DELIVER, encode(request), Priority.BULK)
        except (SessionClosedError, LocalProtocolError, MalformedCallError) as error:
            raise LinkAwayError(f"nothing can be sent to the Link: {error}") from error
        try:
            return await _exchange(channel, pieces, progress)
        except GIVEN_UP as error:
            raise LinkAwayError(f"the Link gave the delivery up: {error}") from error
        finally:
            channel.reset(
                ResetReason.CANCELLED, "the Cloud no longer waits for this delivery"
            )  # harmless once it is over

    async def echoes(self, destination: str) -> bool:
        """Have the Link try a destination, and say whether it answers a C-ECHO.

        Raises LinkAwayError.
        """
        steps = (await check(self._live, destination)).steps
        return bool(steps) and all(step.ok for step in steps) and steps[-1].name == "echo"


async def _exchange(
    channel: Channel, pieces: AsyncIterator[bytes], progress: Progress
) -> DeliverAnswer:
    """Send while listening.

    A destination that cannot be reached is answered before the body has found any credit.
    """
    async with Tasks("deliver") as tasks:
        sending = tasks.spawn(_caught(partial(_send, channel, pieces, progress)), name="send")
        answering = tasks.spawn(_caught(partial(_answer, channel)), name="answer")
        await asyncio.wait([sending, answering], return_when=asyncio.FIRST_COMPLETED)
        if sending.done() and not answering.done():
            _value(sending.result())
        answer = await answering
        if isinstance(answer, _Failed):
            raise answer.error
        if not isinstance(answer, Delivered):
            return answer
        if sending.done() and (answer.length, answer.crc32) == _value(sending.result()):
            return answer
    text = (
        "the Link's numbers of what it delivered are not those of what was sent; it is sent again"
    )
    return NotDelivered(about=About.LINK, phase=DeliveryPhase.TRANSFER, detail=text)


async def _caught(work: Callable[[], Awaitable[T]]) -> T | _Failed:
    """Give what can be expected to fail as a value.

    Raised in a task of its own it would be told as a fault of ours.
    """
    try:
        return await work()  # made here: a task cancelled before its start awaits nothing
    except (*GIVEN_UP, CloudError) as error:
        return _Failed(error)


def _value(outcome: T | _Failed) -> T:
    if isinstance(outcome, _Failed):
        raise outcome.error
    return outcome


async def _send(
    channel: Channel, pieces: AsyncIterator[bytes], progress: Progress
) -> tuple[int, int]:
    """Send the body and its end (wire §8); gives length and CRC-32."""
    length = checksum = 0
    async with aclosing(_bounded(pieces)) as bounded:
        async for piece in bounded:
            await channel.send(piece)
            length += len(piece)
            checksum = zlib.crc32(piece, checksum)
            progress.note()
    await channel.message(encode(TransferEnd(length=length, crc32=checksum)), fin=True)
    progress.note()
    progress.sent.set()
    return length, checksum


async def _bounded(pieces: AsyncIterator[bytes]) -> AsyncGenerator[memoryview, None]:
    async for piece in pieces:
        view = memoryview(piece)
        for start in range(0, len(view), PIECE):
            yield view[start : start + PIECE]


async def _answer(channel: Channel) -> DeliverAnswer:
    event = await channel.receive()
    if not isinstance(event, Message):
        raise LinkAwayError("the Link answered a delivery with nothing; update it")
    return read_deliver_answer(event.body)


async def check(live: LiveLink, destination: str) -> Checked:
    """Have the Link try a destination step by step. Raises LinkAwayError."""
    return await live.ask(
        CHECK, encode(CheckRequest(destination=destination)), read_checked, seconds=CHECK_SECONDS
    )
