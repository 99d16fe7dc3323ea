"""The coroutines of calls, between two real sessions and a pretend wire."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from swallowtail.calls.codec import Call, MalformedCallError, Reader, encode
from swallowtail.calls.net import (
    CallFailedError,
    ServedCall,
    ask,
    call_capability,
    discard_body,
    exchange,
    receive_body,
    response,
    send_body,
    serve_calls,
)
from swallowtail.calls.transfer import (
    Confirmation,
    IncomingTransfer,
    OutgoingTransfer,
    TransferDamagedError,
    TransferEnd,
)
from swallowtail.runtime.tasks import Tasks
from swallowtail.wire.channel import End
from swallowtail.wire.failures import ChannelResetError
from swallowtail.wire.frames import ChannelPriority
from swallowtail.wire.net import Channel, Session
from swallowtail.wire.reasons import ResetReason
from tests.unit.wire.pair import cloud_hello
from tests.unit.wire.test_net import joined as joined_by

ANNOUNCED = ("double", "count", "unknown", "never", "silent", "garbled", "wait")
Serve = Callable[[Channel], Coroutine[Any, Any, None]]
SILENCE = 5.0


class Number(Call, frozen=True, kw_only=True):
    value: int


read_number: Reader[Number] = Reader(Number)
read_confirmation: Reader[Confirmation] = Reader(Confirmation)


class OutOfOrderError(Exception):
    """What a served call raises in these tests."""


class StillOutOfOrderError(OutOfOrderError):
    """Its subclass."""


def joined() -> AbstractAsyncContextManager[tuple[Session, Session]]:
    names = tuple(call_capability(call) for call in ANNOUNCED)
    return joined_by(cloud=cloud_hello(capabilities=names))


async def serving(cloud: Session, tasks: Tasks, **calls: Serve | ServedCall) -> None:
    table = {
        name: call if isinstance(call, ServedCall) else ServedCall(call)
        for name, call in calls.items()
    }
    resets = {OutOfOrderError: ResetReason.UNAVAILABLE, TransferDamagedError: ResetReason.MALFORMED}
    tasks.spawn(serve_calls(cloud, table, tasks, resets=resets), name="serve")


async def double(channel: Channel) -> None:
    value = read_number(channel.opening.body).value
    await channel.message(encode(Number(value=2 * value)), fin=True)


async def keep(channel: Channel) -> None:
    """Receive a transfer and confirm it."""
    incoming = IncomingTransfer()
    async with aclosing(receive_body(channel, silence=SILENCE)) as body:
        async for piece in body:
            if isinstance(piece, TransferEnd):
                end = incoming.finish(piece)
                await channel.message(
                    encode(Confirmation(length=end.length, crc32=end.crc32)), fin=True
                )
                return
            incoming.update(piece)
    incoming.finish(None)


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def opened(session: Session, call: str) -> Channel:
    return await session.open(call, encode(Number(value=1)), ChannelPriority.BULK)


async def reset_of(waiting: Coroutine[Any, Any, object]) -> ResetReason:
    with pytest.raises(ChannelResetError) as caught:
        await waiting
    return caught.value.reason


async def to_the_end(channel: Channel) -> None:
    while not isinstance(await channel.receive(), End):
        pass


async def test_one_request_has_one_response() -> None:
    async with joined() as (link, cloud), Tasks("test") as tasks:
        await serving(cloud, tasks, double=double)
        answers = [
            ask(link, "double", Number(value=value), read_number, seconds=5) for value in range(20)
        ]
        assert [found.value for found in await asyncio.gather(*answers)] == list(range(0, 40, 2))
        assert not cloud.machine._channels
        assert not link.machine._channels


async def test_a_request_may_have_a_body() -> None:
    async def count(channel: Channel) -> None:
        total = 0
        async with aclosing(receive_body(channel, silence=SILENCE)) as body:
            async for piece in body:
                assert isinstance(piece, memoryview)
                total += len(piece)
        await channel.message(encode(Number(value=total)), fin=True)

    async with joined() as (link, cloud), Tasks("test") as tasks:
        await serving(cloud, tasks, count=count)
        answer = await ask(
            link, "count", Number(value=0), read_number, seconds=5, body=bytes(3_000_000)
        )
        assert answer.value == 3_000_000


async def never(_: Channel) -> None:
    await asyncio.Event().wait()


async def silent(channel: Channel) -> None:
    channel.finish()


async def garbled(channel: Channel) -> None:
    await channel.message(b"\xc1", fin=True)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("unknown", "UNKNOWN_CALL"),
        ("never", "no response in time"),
        ("silent", "no response; update it"),
        ("garbled", "MessagePack"),
    ],
)
async def test_a_call_without_response_fails_with_its_name_and_reason(call: str, text: str) -> None:
    async with joined() as (link, cloud), Tasks("test") as tasks:
        await serving(cloud, tasks, never=never, silent=silent, garbled=garbled)
        with pytest.raises(CallFailedError, match=text) as caught:
            await ask(link, call, Number(value=1), read_number, seconds=0.05)
        assert f"call '{call}' failed" in str(caught.value)
        await link.echo()
        assert not link.machine._channels


async def test_no_call_is_made_that_the_peer_has_not_announced() -> None:
    async with joined() as (link, cloud), Tasks("test") as tasks:
        await serving(cloud, tasks, newer=double)
        with pytest.raises(CallFailedError, match="does not serve the call 'newer'"):
            await ask(link, "newer", Number(value=1), read_number, seconds=5)
        assert link.machine._next == 1, "no channel was opened"


async def test_a_call_on_a_closed_session_fails() -> None:
    async with joined() as (link, _):
        pass
    with pytest.raises(CallFailedError, match="closed"):
        await ask(link, "double", Number(value=1), read_number, seconds=5)


async def test_a_cancelled_caller_resets_its_channel() -> None:
    async with joined() as (link, cloud), Tasks("test") as tasks:
        reasons: list[ResetReason] = []
        began = asyncio.Event()

        async def wait(channel: Channel) -> None:
            began.set()
            reasons.append(await reset_of(to_the_end(channel)))

        await serving(cloud, tasks, wait=wait)
        asking = tasks.spawn(
            ask(link, "wait", Number(value=1), read_number, seconds=60, body=bytes(9_000_000)),
            name="ask",
        )
        await began.wait()
        asking.cancel()
        await asyncio.wait([asking])
        await link.echo()
        await cloud.echo()
        assert not link.machine._channels
    assert reasons == [ResetReason.CANCELLED]


@given(
    st.lists(st.binary(max_size=500_000), max_size=4).map(lambda pieces: [*pieces, b"end"]),
)
@settings(max_examples=15, deadline=None)
def test_a_body_of_any_pieces_is_confirmed(pieces: list[bytes]) -> None:
    async def scene() -> None:
        async with joined() as (link, cloud), Tasks("test") as tasks:
            await serving(cloud, tasks, keep=keep)
            channel, transfer = await opened(link, "keep"), OutgoingTransfer()

            async def send() -> None:
                await send_body(channel, pieces_of(*pieces), transfer)

            found = await exchange(channel, send, read_confirmation)
            assert transfer.is_confirmed_by(found)
            assert found == Confirmation(
                length=len(b"".join(pieces)), crc32=zlib.crc32(b"".join(pieces))
            )

    asyncio.run(scene())


@pytest.mark.parametrize(
    "end",
    [
        TransferEnd(length=3, crc32=zlib.crc32(b"body")),
        TransferEnd(length=4, crc32=0),
        Number(value=4),
        None,
    ],
    ids=["length", "checksum", "invalid", "no end"],
)
async def test_a_damaged_body_is_never_confirmed(end: Call | None) -> None:
    async with joined() as (link, cloud), Tasks("test") as tasks:
        await serving(cloud, tasks, keep=keep)
        channel = await opened(link, "keep")
        await channel.send(memoryview(b"body"))
        if end is None:
            channel.finish()
        else:
            await channel.message(encode(end), fin=True)
        assert await reset_of(response(channel, read_confirmation)) is ResetReason.MALFORMED


async def test_an_early_refusal_stops_the_sender_and_arrives() -> None:
    cancelled = asyncio.Event()

    async def refuse(channel: Channel) -> None:
        await channel.message(encode(Number(value=7)), fin=True)
        await discard_body(channel, seconds=SILENCE)

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(1_000_000)
        finally:
            cancelled.set()

    async with joined() as (link, cloud), Tasks("test") as tasks:
        await serving(cloud, tasks, refuse=refuse)
        channel, transfer = await opened(link, "refuse"), OutgoingTransfer()

        async def send() -> None:
            async with aclosing(endless()) as pieces:
                await send_body(channel, pieces, transfer)

        assert (await exchange(channel, send, read_number)).value == 7
        assert cancelled.is_set()
        assert not transfer.ended
        channel.reset(ResetReason.CANCELLED)
        await link.echo()
        await cloud.echo()
        assert not cloud.machine._channels


async def test_a_source_that_fails_resets_the_channel_and_is_raised() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"a little"
        raise OutOfOrderError("the disk")

    reasons: list[ResetReason] = []

    async def note(channel: Channel) -> None:
        reasons.append(await reset_of(to_the_end(channel)))

    async with joined() as (link, cloud), Tasks("test") as tasks:
        await serving(cloud, tasks, note=note)
        channel = await opened(link, "note")

        async def send() -> None:
            await send_body(channel, broken(), OutgoingTransfer())

        with pytest.raises(OutOfOrderError, match="the disk"):
            await exchange(channel, send, read_number)
        await link.echo()
    assert reasons == [ResetReason.CANCELLED]


async def test_a_cancelled_exchange_stops_its_sender() -> None:
    async with joined() as (link, cloud), Tasks("test") as tasks:
        await serving(cloud, tasks, never=never)
        channel = await opened(link, "never")
        ended = asyncio.Event()

        async def send() -> None:
            try:
                await channel.send(memoryview(bytes(9_000_000)))
            finally:
                ended.set()

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await exchange(channel, send, read_number)
        assert ended.is_set()


async def test_silence_ends_a_body() -> None:
    async with joined() as (link, cloud), Tasks("test") as tasks:

        async def wait(channel: Channel) -> None:
            async with aclosing(receive_body(channel, silence=0.02)) as body:
                async for _ in body:
                    pass

        await serving(cloud, tasks, wait=wait)
        channel = await opened(link, "wait")
        assert await reset_of(response(channel, read_number)) is ResetReason.DEADLINE


async def test_the_rest_of_a_body_is_read_for_its_time_only() -> None:
    async def answer(channel: Channel) -> None:
        await channel.message(encode(Number(value=1)), fin=True)
        await discard_body(channel, seconds=0.02)

    async with joined() as (link, cloud), Tasks("test") as tasks:
        await serving(cloud, tasks, answer=answer)
        channel = await opened(link, "answer")
        assert await response(channel, read_number) == Number(value=1)

        async def endless() -> None:
            while True:
                await channel.send(memoryview(bytes(100_000)))

        assert await reset_of(endless()) is ResetReason.CANCELLED


@pytest.mark.parametrize(
    ("error", "reason", "text"),
    [
        (MalformedCallError("field x"), ResetReason.MALFORMED, "field x"),
        (StillOutOfOrderError("broken"), ResetReason.UNAVAILABLE, "broken"),
        (TimeoutError(), ResetReason.DEADLINE, "nothing happened for too long"),
    ],
)
async def test_what_a_call_raises_reaches_the_peer(
    error: Exception, reason: ResetReason, text: str
) -> None:
    async def fail(_: Channel) -> None:
        raise error

    async with joined() as (link, cloud), Tasks("test") as tasks:
        await serving(cloud, tasks, fail=fail)
        with pytest.raises(ChannelResetError) as caught:
            await response(await opened(link, "fail"), read_number)
        assert (caught.value.reason, caught.value.text) == (reason, text)


async def test_a_bug_in_a_call_is_internal_and_reported() -> None:
    async def fail(_: Channel) -> None:
        raise ZeroDivisionError

    found: list[BaseException] = []
    async with (
        joined() as (link, cloud),
        Tasks("test", on_failure=lambda _, error: found.append(error)) as tasks,
    ):
        await serving(cloud, tasks, fail=fail, double=double)
        with capture_logs() as logs:
            reason = await reset_of(response(await opened(link, "fail"), read_number))
        assert reason is ResetReason.INTERNAL
        assert [entry["event"] for entry in logs] == ["task failed"]
        assert isinstance(found[0], ZeroDivisionError)
        answer = await ask(link, "double", Number(value=4), read_number, seconds=5)
        assert answer.value == 8, "other calls are served"


async def test_a_call_has_its_limit() -> None:
    async with joined() as (link, cloud), Tasks("test") as tasks:
        await serving(cloud, tasks, never=ServedCall(never, 0.02))
        with pytest.raises(ChannelResetError, match=r"nothing happened within 0\.02 s") as caught:
            await response(await opened(link, "never"), read_number)
        assert caught.value.reason is ResetReason.DEADLINE
