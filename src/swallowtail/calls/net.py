"""The coroutines of calls: request and response, a body while the response is awaited, dispatch.

The one file of `calls` that does I/O. Every function leaves its channel ended or resets it, also
when it is cancelled.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog

from swallowtail.calls.codec import MalformedCallError, Reader, T, encode
from swallowtail.calls.transfer import OutgoingTransfer, TransferEnd, read_end
from swallowtail.runtime.tasks import Tasks
from swallowtail.sansio.errors import LocalProtocolError
from swallowtail.wire.channel import Data, End, Message
from swallowtail.wire.failures import ChannelResetError, SessionClosedError
from swallowtail.wire.frames import ChannelPriority
from swallowtail.wire.net import Channel, Session
from swallowtail.wire.reasons import ResetReason

log = structlog.get_logger()

PIECE: Final = 256 * 1024
"""Bytes of a body that are copied into frames between two turns of the loop."""
NO_LONGER_AWAITED: Final = "the caller no longer waits for the response"


class CallFailedError(Exception):
    """A call without a valid response; the text names the call and the cause."""

    def __init__(self, call: str, error: Exception) -> None:
        super().__init__(f"call {call!r} failed: {str(error) or 'no response in time'}")


class CallNotServedError(Exception):
    """A call that the peer has not announced; nothing was sent."""

    def __init__(self, call: str) -> None:
        super().__init__(f"the peer does not serve the call {call!r}; update it")


FAILURES: Final = (
    ChannelResetError,
    SessionClosedError,
    LocalProtocolError,
    MalformedCallError,
    CallNotServedError,
)
"""The errors with which a call ends without a response: of the peer, the session or a message."""


def call_capability(call: str) -> str:
    """Return the capability by which a side announces that it serves a call (wire §3)."""
    return f"call:{call}"


# The caller's side


async def open_call(
    session: Session,
    call: str,
    request: msgspec.Struct,
    priority: ChannelPriority,
    *,
    fin: bool = False,
) -> Channel:
    """Open the channel of a call that the peer serves; raises one of FAILURES."""
    if session.machine.ready and call_capability(call) not in session.machine.peer_capabilities:
        raise CallNotServedError(call)
    return await session.open(call, encode(request), priority, fin=fin)


async def ask(
    session: Session,
    call: str,
    request: msgspec.Struct,
    read: Reader[T],
    *,
    seconds: float,
    body: bytes = b"",
) -> T:
    """Make a call of one request and one response; raises CallFailedError.

    `body` follows the request as DATA, without checksum.
    """
    try:
        async with asyncio.timeout(seconds):
            channel = await open_call(
                session, call, request, ChannelPriority.INTERACTIVE, fin=not body
            )
            try:
                if body:
                    await channel.send(memoryview(body))
                    channel.finish()
                return await response(channel, read)
            finally:  # without effect when it has ended
                channel.reset(ResetReason.CANCELLED, NO_LONGER_AWAITED)
    except (TimeoutError, *FAILURES) as error:
        raise CallFailedError(call, error) from error


async def response(channel: Channel, read: Reader[T]) -> T:
    """Return the one response of a call; raises ChannelResetError and MalformedCallError."""
    event = await channel.receive()
    if not isinstance(event, Message):
        raise MalformedCallError("the peer sent no response; update it")
    return read(event.body)


async def exchange(channel: Channel, send: Callable[[], Awaitable[None]], read: Reader[T]) -> T:
    """Run `send`, which sends the body, while the response is awaited; return the response.

    A response that arrives before the body is complete cancels `send`. If `send` fails, the channel
    is reset and the error raised here. Raises ChannelResetError and MalformedCallError as well.
    """
    failures: list[Exception] = []

    async def sending() -> None:
        try:
            await send()
        except ChannelResetError:
            return  # the response reports it
        except Exception as error:  # noqa: BLE001 - raised below, where the response is awaited
            failures.append(error)
            channel.reset(ResetReason.CANCELLED, "the body could not be sent to its end")

    async with Tasks("exchange") as tasks:
        tasks.spawn(sending(), name="send")
        try:
            return await response(channel, read)
        except ChannelResetError:
            if failures:
                raise failures[0] from None
            raise


async def send_body(
    channel: Channel,
    pieces: AsyncIterable[bytes],
    transfer: OutgoingTransfer,
    *,
    on_progress: Callable[[], None] = lambda: None,
) -> None:
    """Send a body and its end (wire §8); raises ChannelResetError and what `pieces` raises."""
    async for piece in pieces:
        whole = memoryview(piece)
        for start in range(0, len(whole), PIECE):
            view = whole[start : start + PIECE]
            await channel.send(view)
            transfer.update(view)
            on_progress()
    await channel.message(encode(transfer.end()), fin=True)
    on_progress()


# The server's side


async def receive_body(
    channel: Channel, *, silence: float
) -> AsyncGenerator[memoryview | TransferEnd, None]:
    """Yield the pieces of a body as they arrive, then its end if it has one (wire §8).

    A piece counts as consumed when the next one is requested, which grants credit. Raises
    TimeoutError after `silence` seconds without a frame, ChannelResetError, TransferDamagedError.
    """
    while True:
        async with asyncio.timeout(silence):
            event = await channel.receive()
        match event:
            case Data(view):
                size = len(view)
                yield view
                channel.consumed(size)
            case Message(body):
                yield read_end(body)
                return
            case End():
                return


async def discard_body(channel: Channel, *, seconds: float) -> None:
    """Read and discard the rest of a body after an early response, so that the peer receives it.

    Whatever still arrives after `seconds` resets the channel.
    """
    try:
        async with asyncio.timeout(seconds):
            while not isinstance(event := await channel.receive(), End):
                if isinstance(event, Data):
                    channel.consumed(len(event.view))
    except TimeoutError:
        channel.reset(ResetReason.CANCELLED, "the call was answered; nothing more is read")
    except ChannelResetError:
        return  # the peer has stopped sending


@dataclass(frozen=True, slots=True)
class ServedCall:
    """A call that this side serves; `seconds` None: its waits have deadlines of their own."""

    serve: Callable[[Channel], Awaitable[None]]
    seconds: float | None = None


async def serve_calls(
    session: Session,
    calls: Mapping[str, ServedCall],
    tasks: Tasks,
    *,
    resets: Mapping[type[Exception], ResetReason] | None = None,
) -> None:
    """Serve every channel that the peer opens, each in a task, until the session ends.

    `resets` names the reset reason of each error that a call may raise, for its subclasses too.
    """
    reasons = dict(resets or {})
    async for channel in session.opened():
        name = channel.opening.call
        call = calls.get(name)
        if call is None:
            channel.reset(ResetReason.UNKNOWN_CALL, f"there is no call {name[:64]!r} here")
        else:
            tasks.spawn(_serve(call, channel, reasons), name=name)


async def _serve(
    call: ServedCall, channel: Channel, resets: Mapping[type[Exception], ResetReason]
) -> None:
    """Serve one channel; it is ended or reset in any case."""
    try:
        async with asyncio.timeout(call.seconds):
            await call.serve(channel)
    except ChannelResetError:
        log.debug("call aborted", kind=channel.opening.call)
    except LocalProtocolError:
        if not channel.machine.over:
            channel.reset(ResetReason.INTERNAL, "internal error; see the log there")
            raise
        log.debug("call aborted", kind=channel.opening.call)
    except MalformedCallError as error:
        channel.reset(ResetReason.MALFORMED, str(error))
    except TimeoutError:
        limit = "for too long" if call.seconds is None else f"within {call.seconds:g} s"
        channel.reset(ResetReason.DEADLINE, f"nothing happened {limit}")
    except BaseException as error:
        reason = next((resets[kind] for kind in type(error).__mro__ if kind in resets), None)
        if reason is None:  # a bug, or the end of the session
            channel.reset(ResetReason.INTERNAL, "internal error; see the log there")
            raise
        channel.reset(reason, str(error))
