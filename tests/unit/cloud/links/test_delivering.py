"""The calls `deliver` and `check` on a live session, with the Link's end of the wire in the test's
hand.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from swallowtail.calls.codec import MalformedCallError, encode
from swallowtail.calls.deliver import (
    DELIVER,
    About,
    DeliverAnswer,
    Delivered,
    DeliverRequest,
    DeliveryPhase,
    NotDelivered,
    read_deliver_request,
)
from swallowtail.calls.diagnostics import CHECK, Checked, CheckStep, read_check_request
from swallowtail.calls.net import call_capability
from swallowtail.calls.transfer import TransferEnd
from swallowtail.cloud.dispatch.attempt import Progress
from swallowtail.cloud.links.delivering import Outbound
from swallowtail.cloud.model.link_session import LinkOfflineError
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.runtime.tasks import Tasks
from swallowtail.wire.channel import Data, End, Message
from swallowtail.wire.failures import ChannelResetError
from swallowtail.wire.net import Channel, Session
from swallowtail.wire.reasons import ResetReason
from tests.conformance.invented import EXPLICIT, US
from tests.link_calls import CALLS
from tests.unit.cloud.links.test_authentication import HERON
from tests.unit.cloud.links.test_link_endpoint import World, world

__all__ = ["world"]

REQUEST = DeliverRequest(
    destination="pacs",
    configuration=1,
    delivery=1,
    attempt=1,
    sop_class=US,
    sop_instance="1.2.3",
    transfer_syntax=EXPLICIT,
    length=9,
)
DOWN = NotDelivered(
    about=About.DESTINATION, phase=DeliveryPhase.CONNECT, detail="nobody listens there"
)
BIG = b"0123456789abcdef" * 500_000
"""More than any window."""
Serve = Callable[[Channel], Awaitable[None]]


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def take(channel: Channel) -> tuple[bytes, TransferEnd]:
    """Read a body to its end, as Link does."""
    body = bytearray()
    async with asyncio.timeout(10):
        while isinstance(event := await channel.receive(), Data):
            body += event.view
            channel.consumed(len(event.view))
    assert isinstance(event, Message)
    return bytes(body), _end(event.body)


def _end(body: bytes) -> TransferEnd:
    return msgspec.msgpack.decode(body, type=TransferEnd)


async def reset_of(channel: Channel) -> ResetReason:
    """Read until the Cloud gives the channel up, and say why.

    After an End, which comes for ever, nothing more is waited for.
    """

    async def read() -> None:
        while not isinstance(await channel.receive(), End):
            continue

    with pytest.raises(ChannelResetError) as given_up:
        await asyncio.wait_for(read(), 10)
    return given_up.value.reason


def as_delivered(body: bytes, **more: int) -> Delivered:
    return Delivered(
        **({"length": len(body), "crc32": zlib.crc32(body), "status": 0, "seconds": 0.1} | more)
    )


@asynccontextmanager
async def link(world: World, serve: Serve) -> AsyncIterator[tuple[Outbound, Session]]:
    """A Link that serves each channel that the Cloud opens so."""
    async with world.connected() as session, Tasks("link") as tasks:

        async def run() -> None:
            async for channel in session.opened():
                if channel.opening.call in {DELIVER, CHECK}:
                    tasks.spawn(serve(channel), name="serve")

        tasks.spawn(run(), name="run")
        yield world.outbound(), session


async def deliver(
    outbound: Outbound, *parts: bytes, progress: Progress | None = None
) -> DeliverAnswer:
    async with asyncio.timeout(10):
        return await outbound.deliver(REQUEST, pieces(*parts), progress or Progress())


async def failure_of(outbound: Outbound) -> Exception:
    """Deliver something and give why that failed."""
    with pytest.raises(LinkOfflineError) as failed:
        await deliver(outbound, BIG)
    return failed.value


async def test_an_instance_arrives_whole_and_its_answer_comes_back(world: World) -> None:
    got: list[tuple[DeliverRequest, bytes, TransferEnd]] = []

    async def serve(channel: Channel) -> None:
        body, end = await take(channel)
        got.append((read_deliver_request(channel.opening.body), body, end))
        await channel.message(encode(as_delivered(body, status=0xB000)), fin=True)

    async with link(world, serve) as (outbound, _):
        progress = Progress()
        before = progress.at
        answer = await deliver(outbound, BIG, b"", b"tail", progress=progress)
        assert (outbound.tenant, outbound.link, outbound.session_ended) == (HERON, "l", False)
    whole = BIG + b"tail"
    assert answer == as_delivered(whole, status=0xB000)
    assert got == [(REQUEST, whole, TransferEnd(length=len(whole), crc32=zlib.crc32(whole)))]
    assert progress.sent.is_set()
    assert progress.at >= before
    assert outbound.session_ended


@pytest.mark.parametrize("lie", [{"length": 3}, {"crc32": 1}], ids=str)
async def test_a_link_that_delivered_something_else_is_not_believed(
    world: World, lie: dict[str, int]
) -> None:
    async def serve(channel: Channel) -> None:
        body, _ = await take(channel)
        await channel.message(encode(as_delivered(body, **lie)), fin=True)

    async with link(world, serve) as (outbound, _):
        answer = await deliver(outbound, b"data")
    assert isinstance(answer, NotDelivered)
    assert (answer.about, answer.phase) == (About.LINK, DeliveryPhase.TRANSFER)


async def test_success_before_the_body_was_sent_is_not_believed(world: World) -> None:
    async def serve(channel: Channel) -> None:
        await channel.message(encode(as_delivered(BIG)), fin=True)

    async with link(world, serve) as (outbound, _):
        answer = await deliver(outbound, BIG)
    assert isinstance(answer, NotDelivered)
    assert answer.about is About.LINK


async def test_a_failure_is_heard_while_the_body_waits_for_credit(world: World) -> None:
    session_ended = asyncio.Event()

    async def serve(channel: Channel) -> None:
        await channel.message(encode(DOWN), fin=True)
        assert await reset_of(channel) is ResetReason.CANCELLED
        session_ended.set()

    async with link(world, serve) as (outbound, _):
        progress = Progress()
        assert await deliver(outbound, BIG, progress=progress) == DOWN
        assert not progress.sent.is_set(), "what failed is followed by nothing"
        await asyncio.wait_for(session_ended.wait(), 5)


async def _reset(channel: Channel) -> None:
    channel.reset(ResetReason.INTERNAL, "a fault")


async def _malformed(channel: Channel) -> None:
    await channel.message(b"\xc1", fin=True)


async def _nothing(channel: Channel) -> None:
    channel.finish()


@pytest.mark.parametrize("serve", [_reset, _malformed, _nothing])
@pytest.mark.parametrize("body", [b"data", BIG], ids=["small", "big"])
async def test_an_answer_that_is_none_is_the_links_failure(
    world: World, serve: Serve, body: bytes
) -> None:
    async with link(world, serve) as (outbound, _):
        with pytest.raises(LinkOfflineError):
            await deliver(outbound, body)
        assert not outbound.session_ended


async def test_a_session_that_ends_takes_its_deliveries_with_it(world: World) -> None:
    began = asyncio.Event()

    async def serve(_: Channel) -> None:
        began.set()

    async with Tasks("test") as tasks:
        async with link(world, serve) as (outbound, _):
            running = tasks.spawn(failure_of(outbound), name="deliver")
            await asyncio.wait_for(began.wait(), 5)
        assert isinstance(await running, LinkOfflineError)
    with pytest.raises(LinkOfflineError):
        await deliver(outbound, b"data")


async def test_a_delivery_that_is_cancelled_is_given_up_at_the_link(world: World) -> None:
    began, session_ended = asyncio.Event(), asyncio.Event()

    async def serve(channel: Channel) -> None:
        began.set()
        assert await reset_of(channel) is ResetReason.CANCELLED
        session_ended.set()

    async with link(world, serve) as (outbound, _), Tasks("test") as tasks:
        running = tasks.spawn(deliver(outbound, BIG), name="deliver")
        await asyncio.wait_for(began.wait(), 5)
        running.cancel()
        await asyncio.wait_for(session_ended.wait(), 5)


async def test_a_blob_that_is_missing_is_told_to_the_caller_and_given_up_at_the_link(
    world: World,
) -> None:
    session_ended = asyncio.Event()

    async def serve(channel: Channel) -> None:
        assert await reset_of(channel) is ResetReason.CANCELLED
        session_ended.set()

    async def missing() -> AsyncIterator[bytes]:
        yield b"half"
        raise NotFoundError

    async with link(world, serve) as (outbound, _):
        with pytest.raises(NotFoundError):
            await outbound.deliver(REQUEST, missing(), Progress())
        await asyncio.wait_for(session_ended.wait(), 5)


def _steps(*names: str, ok: bool = True) -> tuple[CheckStep, ...]:
    made = [CheckStep(name=name, ok=True, seconds=0.1, detail="") for name in names]
    return (*made[:-1], CheckStep(name=names[-1], ok=ok, seconds=0.1, detail="")) if names else ()


@pytest.mark.parametrize(
    ("steps", "echoes"),
    [
        (_steps("resolve", "policy", "connect", "associate", "echo"), True),
        (_steps("resolve", "policy", "connect", "associate", "echo", ok=False), False),
        (_steps("resolve", "policy", "connect"), False),
        ((), False),
    ],
)
async def test_a_destination_echoes_when_every_step_to_the_echo_is_well(
    world: World, steps: tuple[CheckStep, ...], echoes: bool
) -> None:
    async def serve(channel: Channel) -> None:
        assert read_check_request(channel.opening.body).destination == "pacs"
        await channel.message(encode(Checked(steps=steps)), fin=True)

    async with link(world, serve) as (outbound, _):
        assert await outbound.echoes("pacs") is echoes
    with pytest.raises(LinkOfflineError):
        await outbound.echoes("pacs")


async def _silent(channel: Channel) -> ResetReason:
    return await reset_of(channel)


async def _endless(channel: Channel) -> ResetReason:
    """Answer, and then go on and on."""

    async def answer() -> None:
        await channel.message(encode(Checked(steps=())))
        await channel.send(memoryview(BIG))

    with pytest.raises(ChannelResetError) as given_up:
        await asyncio.wait_for(answer(), 10)
    return given_up.value.reason


@pytest.mark.parametrize("answer", [_silent, _endless])
async def test_a_question_whose_answer_is_not_awaited_any_more_is_given_up_at_the_link(
    world: World, answer: Callable[[Channel], Awaitable[ResetReason]]
) -> None:
    """Else the Link would go on, and what it has sent would hold the session's credit for good."""
    responses: asyncio.Queue[ResetReason] = asyncio.Queue()

    announced = ("listener:dicom", *CALLS, call_capability("question"))
    async with world.connected(announced) as session, Tasks("link") as tasks:

        async def run() -> None:
            async for channel in session.opened():
                if channel.opening.call == "question":
                    responses.put_nowait(await answer(channel))

        tasks.spawn(run(), name="run")
        live = world.sessions._live[HERON, "l"]
        with pytest.raises(LinkOfflineError):
            await live.ask("question", b"", refuse, body=BIG, seconds=0.5)
        assert await asyncio.wait_for(responses.get(), 5) is ResetReason.CANCELLED
        assert live.session.machine.budget.held == 0
        assert not live.session.closed.done()


def refuse(_: bytes) -> None:
    raise MalformedCallError("no answer that the Cloud knows")
