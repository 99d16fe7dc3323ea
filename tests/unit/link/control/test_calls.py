"""What Link answers to the Cloud's calls."""

import asyncio

import msgspec
import pytest

from swallowtail.calls.codec import encode
from swallowtail.calls.config import (
    CONFIGURE,
    Applied,
    Configuration,
    ConfigurationRefused,
    Configure,
    Device,
    dump,
    read_configure_answer,
)
from swallowtail.calls.diagnostics import (
    PING,
    STATUS,
    Ping,
    StatusQuery,
    read_link_status,
    read_pong,
)
from swallowtail.link.policy import parse
from swallowtail.wire.channel import Message
from swallowtail.wire.failures import ChannelResetError
from swallowtail.wire.frames import ChannelPriority
from swallowtail.wire.reasons import ResetReason
from tests.unit.link.stage import CONFIGURATION, LINK, LISTENER, PORT, Stage, play


async def ask(stage: Stage, call: str, body: bytes) -> bytes:
    event = await (await stage.cloud.call(call, body)).receive()
    assert isinstance(event, Message)
    return event.body


def test_a_ping_is_answered_with_its_payload():
    async def scene(stage: Stage) -> None:
        payload = bytes(range(256)) * 4
        assert read_pong(await ask(stage, PING, encode(Ping(payload=payload)))).payload == payload

    play(scene)


def test_the_status_reports_what_runs_and_under_which_policy():
    async def scene(stage: Stage) -> None:
        await asyncio.sleep(5)
        status = read_link_status(await ask(stage, STATUS, encode(StatusQuery())))
        assert (status.release, status.host, status.configuration) == ("0.1.0", "link-host", 1)
        assert status.policy.source == "default policy"
        assert status.uptime >= 5
        # the stage's Cloud says 0 when the session begins
        assert 5 <= stage.world.wall() - status.clock_offset < 20
        assert status.memory > 1_000_000
        assert [(one.name, one.state) for one in status.endpoints] == [("echo-room", "listening")]

    play(scene)


def test_an_unknown_call_is_reset_and_the_session_continues():
    async def scene(stage: Stage) -> None:
        with pytest.raises(ChannelResetError) as failed:
            await ask(stage, "open-tcp", b"")
        assert failed.value.reason is ResetReason.UNKNOWN_CALL
        assert read_pong(await ask(stage, PING, encode(Ping(payload=b"!")))).payload == b"!"

    play(scene)


@pytest.mark.parametrize("call", [PING, CONFIGURE])
def test_a_call_that_cannot_be_read_is_reset_as_malformed(call):
    async def scene(stage: Stage) -> None:
        with pytest.raises(ChannelResetError) as failed:
            await ask(stage, call, b"\xc1garbage")
        assert failed.value.reason is ResetReason.MALFORMED

    play(scene)


def test_a_document_that_cannot_be_run_is_refused_and_the_old_one_continues():
    async def scene(stage: Stage) -> None:
        desired = Configure(version=9, document=b'{"listeners": [], "exec": "rm -rf /"}')
        answer = read_configure_answer(await ask(stage, CONFIGURE, encode(desired)))
        assert isinstance(answer, ConfigurationRefused)
        assert "exec" in answer.problems[0].message
        assert stage.agent.state.version == 1
        assert PORT in stage.hosts[LINK].ports

    play(scene)


def test_what_the_policy_forbids_is_refused_with_the_files_name():
    async def scene(stage: Stage) -> None:
        desired = msgspec.structs.replace(
            CONFIGURATION, listeners=(msgspec.structs.replace(LISTENER, port=22),)
        )
        answer = await stage.cloud.configure(desired)
        assert isinstance(answer, ConfigurationRefused)
        assert "policy.toml" in answer.problems[0].message

    play(
        scene,
        policy=parse(
            f'[listen]\nallow=[{{network="{LINK}", ports=[{PORT}]}}]'.encode(), "policy.toml"
        ),
    )


def test_a_document_too_long_for_the_opening_follows_it():
    async def scene(stage: Stage) -> None:
        devices = tuple(
            Device(name=f"us{n}", ae_title=f"US{n}", addresses=(f"10.1.{n // 250}.{n % 250}",))
            for n in range(2000)
        )
        document = dump(msgspec.structs.replace(CONFIGURATION, devices=devices))
        assert len(document) > 100_000
        channel = await stage.cloud.sessions[-1].open(
            CONFIGURE, encode(Configure(version=5, document=b"")), ChannelPriority.INTERACTIVE
        )
        await channel.send(memoryview(document))
        channel.finish()
        event = await channel.receive()
        assert isinstance(event, Message)
        assert isinstance(read_configure_answer(event.body), Applied)
        assert stage.agent.state.version == 5
        assert len(stage.agent.state.directory.by_title) == 2000

    play(scene)


def test_a_configuration_is_cancelled_when_a_newer_one_arrives_before_its_document():
    async def scene(stage: Stage) -> None:
        slow = await stage.cloud.sessions[-1].open(
            CONFIGURE, encode(Configure(version=5, document=b"")), ChannelPriority.INTERACTIVE
        )
        newer = encode(Configure(version=6, document=dump(CONFIGURATION)))
        assert isinstance(read_configure_answer(await ask(stage, CONFIGURE, newer)), Applied)
        await slow.send(memoryview(dump(Configuration())))
        slow.finish()
        with pytest.raises(ChannelResetError):
            await slow.receive()
        assert stage.agent.state.version == 6

    play(scene)


def test_an_endless_document_is_refused_as_too_long():
    async def scene(stage: Stage) -> None:
        channel = await stage.cloud.sessions[-1].open(
            CONFIGURE, encode(Configure(version=5, document=b"")), ChannelPriority.INTERACTIVE
        )
        with pytest.raises(ChannelResetError, match="LIMIT"):
            await channel.send(memoryview(bytes(20_000_000)))

    play(scene)
