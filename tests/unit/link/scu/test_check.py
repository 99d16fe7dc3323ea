"""A destination tried step by step."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from swallowtail.calls.codec import encode
from swallowtail.calls.config import Configuration, DestinationTimeouts
from swallowtail.calls.deliver import Delivered
from swallowtail.calls.diagnostics import CHECK, CheckRequest, CheckStep, read_checked
from swallowtail.dicom.commands import response_to
from swallowtail.dicom.dimse import CommandReceived
from swallowtail.dicom.indications import AssociateRequested
from swallowtail.dicom.negotiation import AcceptorPolicy
from swallowtail.dicom.net import Connection
from swallowtail.dicom.pdu import RejectResult, RejectSource
from swallowtail.link.policy import parse
from swallowtail.wire.channel import Message
from swallowtail.wire.failures import ChannelResetError
from tests.unit.link.archive import CT, DESTINATION, PACS, Archive, deliver, to
from tests.unit.link.stage import LINK, Stage, play

STEPS = ["resolve", "policy", "connect", "associate", "echo"]


async def check(stage: Stage, destination: str = "pacs1") -> tuple[CheckStep, ...]:
    event = await (
        await stage.cloud.call(CHECK, encode(CheckRequest(destination=destination)))
    ).receive()
    assert isinstance(event, Message)
    return read_checked(event.body).steps


def test_every_step_succeeds_and_has_its_time():
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage, pause=3).open()
        steps = await check(stage)
        assert [step.name for step in steps] == STEPS
        assert all(step.ok for step in steps)
        assert steps[2].detail == f"{PACS} port 104 accepts connections"
        assert 0 < steps[2].seconds < 0.1
        assert archive.ends == ["released"]
        assert archive.stored == []

    play(scene, configuration=to())


async def _mute(archive: Archive, connection) -> None:
    archive.meet(connection, (await connection.next_event()).request)
    await archive.arrived.wait()


async def _nothing(stage: Stage) -> None:
    stage.network.host(PACS, PACS)


async def _swallowed(stage: Stage) -> None:
    stage.network.partition(stage.hosts[LINK], stage.network.host(PACS, PACS))


async def _rejecting(stage: Stage) -> None:
    await Archive(stage, reject=(RejectResult.PERMANENT, RejectSource.SERVICE_USER, 7)).open()


async def _storage_alone(stage: Stage) -> None:
    await Archive(stage, policy=AcceptorPolicy(sop_classes=frozenset({CT}))).open()


async def _failing(stage: Stage) -> None:
    await Archive(stage, status=lambda _: 0x0110).open()


async def _silent(stage: Stage) -> None:
    await Archive(stage, behave=_mute).open()


@pytest.mark.parametrize(
    ("arrange", "step", "words", "seconds"),
    [
        (_nothing, "connect", "refused the connection", 0),
        (_swallowed, "connect", "in time", 9),
        (_rejecting, "associate", "check the AE title configured for it, now PACS", 0),
        (_storage_alone, "echo", "not Verification", 0),
        (_failing, "echo", "0110 processing failure", 0),
        (_silent, "echo", "did not answer within 9 s", 9),
    ],
)
def test_the_step_that_fails_is_the_last_and_has_the_remedy(arrange, step, words, seconds):
    async def scene(stage: Stage) -> None:
        await arrange(stage)
        steps = await check(stage)
        assert [one.name for one in steps] == STEPS[: STEPS.index(step) + 1]
        assert [one.ok for one in steps] == [True] * (len(steps) - 1) + [False]
        assert words in steps[-1].detail
        assert seconds <= steps[-1].seconds < seconds + 1.5

    play(scene, configuration=to())


@pytest.mark.parametrize(
    ("host", "step", "words"),
    [("typo.hospital", "resolve", "spelling"), ("8.8.8.8", "policy", "policy.toml")],
)
def test_what_is_never_connected_to(host, step, words):
    async def scene(stage: Stage) -> None:
        steps = await check(stage)
        assert (steps[-1].name, steps[-1].ok) == (step, False)
        assert words in steps[-1].detail

    configuration: Configuration = to(msgspec.structs.replace(DESTINATION, host=host))
    play(
        scene,
        configuration=configuration,
        policy=parse(b'[outbound]\nallow=[{network="10.0.0.0/8"}]', "policy.toml"),
    )


def test_a_destination_that_is_not_configured_is_refused():
    async def scene(stage: Stage) -> None:
        with pytest.raises(ChannelResetError, match="no destination 'other'"):
            await check(stage, "other")

    play(scene, configuration=to())


def _one_at_a_time() -> Callable[[Archive, Connection], Awaitable[None]]:
    """A PACS that serves one association at a time, as DCMTK's storescp does.

    Another waits until that has ended.
    """
    turn = asyncio.Lock()

    async def behave(archive: Archive, connection: Connection) -> None:
        async with turn:
            await archive.converse(connection)

    return behave


def test_links_own_idle_association_is_not_what_a_check_waits_for():
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage, behave=_one_at_a_time()).open()
        assert isinstance(await deliver(stage, 1), Delivered)
        steps = await check(stage)
        assert [(step.name, step.ok) for step in steps] == [(name, True) for name in STEPS]
        assert isinstance(await deliver(stage, 2), Delivered)
        assert archive.ends == ["released", "released"]

    play(scene, configuration=to())


def test_a_check_during_a_delivery_reports_what_it_may_wait_for():
    async def scene(stage: Stage) -> None:
        await Archive(stage, behave=_one_at_a_time(), pause=25.0).open()
        delivering = stage.tasks.spawn(deliver(stage, 1), name="delivery")
        await asyncio.sleep(1.0)
        steps = await check(stage)
        assert (steps[-1].name, steps[-1].ok) == ("associate", False)
        assert "one association at a time" in steps[-1].detail
        assert isinstance(await delivering, Delivered)
        assert all(step.ok for step in await check(stage))

    play(scene, configuration=to())


async def _slow(archive: Archive, connection: Connection) -> None:
    request = await connection.next_event()
    assert isinstance(request, AssociateRequested)
    await asyncio.sleep(3)
    archive.meet(connection, request.request)
    echo = await connection.next_event()
    assert isinstance(echo, CommandReceived)
    await asyncio.sleep(4)
    connection.send(echo.context.id, response_to(echo.command, 0))
    await connection.next_event()
    connection.release()


def test_each_step_has_the_time_that_it_took_itself():
    async def scene(stage: Stage) -> None:
        async def resolve(host: str) -> tuple[str, ...]:
            await asyncio.sleep(2)
            return (PACS,)

        stage.world = dataclasses.replace(stage.world, resolve=resolve)
        stage.agent = stage.new_agent()
        await stage.start()
        await Archive(stage, behave=_slow).open()
        steps = await check(stage)
        assert [(step.name, step.ok) for step in steps] == [(name, True) for name in STEPS]
        assert [round(step.seconds) for step in steps] == [2, 0, 0, 3, 4]

    play(
        scene,
        configuration=to(msgspec.structs.replace(DESTINATION, host="pacs.hospital")),
        start=False,
    )


async def _never_associated(stage: Stage) -> None:
    async def behave(_archive: Archive, connection: Connection) -> None:
        await connection.next_event()
        await connection.next_event()

    await Archive(stage, behave=behave).open()


@pytest.mark.parametrize(("configured", "limit"), [(60.0, 9.0), (2.0, 2.0)])
@pytest.mark.parametrize(
    ("arrange", "step"),
    [(_swallowed, "connect"), (_never_associated, "associate"), (_silent, "echo")],
)
def test_no_step_exceeds_the_limit(arrange, step, configured, limit):
    async def scene(stage: Stage) -> None:
        await arrange(stage)
        steps = await check(stage)
        assert (steps[-1].name, steps[-1].ok) == (step, False)
        assert limit <= steps[-1].seconds < limit + 1

    timeouts = DestinationTimeouts(connect=configured, associate=configured, response=configured)
    play(scene, configuration=to(msgspec.structs.replace(DESTINATION, timeouts=timeouts)))
