"""Associations and stores through the real Link, on a virtual clock."""

import asyncio
from collections import Counter
from contextlib import suppress
from types import SimpleNamespace

import msgspec
import pytest

from swallowtail.calls.codec import encode
from swallowtail.calls.config import Configuration, Device
from swallowtail.calls.report import AssociationEnded, UnmatchedDevice
from swallowtail.calls.store import Committed, NotStoredReason, Stored
from swallowtail.dicom.commands import CommandField, Element, echo_request, request, store_request
from swallowtail.dicom.dimse import CommandReceived
from swallowtail.dicom.indications import Aborted, AssociateRejected, Released
from swallowtail.dicom.negotiation import propose
from swallowtail.dicom.net import Connection
from swallowtail.dicom.uids import EXPLICIT_VR_LITTLE_ENDIAN, VERIFICATION
from swallowtail.link.scp.listener import ApplicationEntity
from swallowtail.link.state import LinkState
from swallowtail.wire.channel import Data
from swallowtail.wire.failures import ChannelResetError
from tests.unit.link.stage import (
    CONFIGURATION,
    DEVICE,
    LINK,
    LISTENER,
    PORT,
    STRANGER,
    Body,
    Stage,
    commit,
    no_credit,
    play,
    refuse,
    silence,
)

US = "1.2.840.10008.5.1.4.1.1.6.1"
UID = "1.2.826.0.1.3680043.8.498.1"
REQUEST = propose(
    "SWALLOW",
    "US1",
    [(VERIFICATION, (EXPLICIT_VR_LITTLE_ENDIAN,)), (US, (EXPLICIT_VR_LITTLE_ENDIAN,))],
)


async def store(connection: Connection, body: bytes) -> int | None:
    """Send one instance; the status, None when the association ended instead."""
    number = connection.new_message_id()
    connection.send(3, store_request(number, US, UID))
    for at in range(0, len(body), 65_536):
        await connection.drain()
        connection.send_data(body[at : at + 65_536], last=at + 65_536 >= len(body))
    event = await connection.next_event()
    if not isinstance(event, CommandReceived):
        return None
    assert event.command.message_id == number
    assert event.command.field == CommandField.C_STORE_RSP
    return event.command.status


@pytest.mark.parametrize("size", [2, 1000, 65_528, 300_000, 9_000_000])
def test_what_the_cloud_gets_is_what_the_modality_sent(size):
    body = bytes(range(256)) * (size // 256 + 1)

    async def scene(stage: Stage) -> None:
        connection = await stage.associate(REQUEST)
        assert await store(connection, body[:size]) == 0x0000
        connection.send(1, echo_request(9, VERIFICATION))
        event = await connection.next_event()
        assert isinstance(event, CommandReceived)
        assert event.command.status == 0
        assert stage.cloud.bodies[0].data == body[:size]
        assert stage.cloud.bodies[0].request.device == "us1"
        assert stage.cloud.bodies[0].request.sop_instance == UID

    play(scene)


def listening(**listener: object) -> Configuration:
    return msgspec.structs.replace(
        CONFIGURATION, listeners=(msgspec.structs.replace(LISTENER, **listener),)
    )


def begin(connection: Connection, uid: str = UID) -> None:
    connection.send(3, store_request(connection.new_message_id(), US, uid))


async def pour(connection: Connection, size: int, *, last: bool = True) -> None:
    """Send so many bytes of a data set, as fast as Link takes them."""
    for at in range(0, size, 65_536):
        connection.send_data(bytes(min(65_536, size - at)), last=last and at + 65_536 >= size)
        await connection.drain()


def ends(stage: Stage) -> list[AssociationEnded]:
    return [seen for seen in stage.cloud.seen if isinstance(seen, AssociationEnded)]


# Deadlines


def test_without_credit_for_15_s_link_reads_on_and_says_a700_when_the_message_is_whole():
    async def scene(stage: Stage) -> None:
        stage.cloud.store = no_credit
        connection = await stage.associate(REQUEST)
        began = stage.loop.time()
        begin(connection)
        await pour(
            connection, 5_000_000
        )  # far more than the opening allowance: Link stops reading, then reads on
        assert 14.5 < stage.loop.time() - began < 16
        event = await connection.next_event()
        assert isinstance(event, CommandReceived)
        assert event.command.status == 0xA700
        assert stage.loop.time() - began < 17

    play(scene)


def test_a_session_that_ends_in_the_middle_is_heard_as_a700_after_the_last_byte():
    async def scene(stage: Stage) -> None:
        stage.cloud.store = no_credit
        connection = await stage.associate(REQUEST)
        begin(connection)
        await pour(connection, 100_000, last=False)
        stage.cloud.lose()
        await asyncio.sleep(5)
        await pour(connection, 100_000)
        event = await connection.next_event()
        assert isinstance(event, CommandReceived)
        assert event.command.status == 0xA700

    play(scene)


def test_an_answer_that_lies_about_the_length_is_not_believed():
    async def scene(stage: Stage) -> None:
        async def lie(channel, body: Body) -> None:
            await asyncio.sleep(0.1)
            body.end = None
            while not isinstance(event := await channel.receive(), Data):
                pass
            channel.consumed(len(event.view))
            await channel.message(encode(Committed(length=1, crc32=1, stored=Stored.NEW)), fin=True)

        stage.cloud.store = lie
        assert await store(await stage.associate(REQUEST), b"1234") == 0xA700

    play(scene)


def test_an_early_refusal_frees_a_modality_that_waits_for_credit():
    async def scene(stage: Stage) -> None:
        async def full(channel, body: Body) -> None:
            await asyncio.sleep(3)
            await refuse(NotStoredReason.STORAGE_UNAVAILABLE, early=True)(channel, body)

        stage.cloud.store = full
        connection = await stage.associate(REQUEST)
        began = stage.loop.time()
        begin(connection)
        await pour(connection, 5_000_000)
        event = await connection.next_event()
        assert isinstance(event, CommandReceived)
        assert event.command.status == 0xA700
        assert stage.loop.time() - began < 4

    play(scene)


def test_after_a_commit_that_came_too_late_the_next_store_is_none_the_worse():
    async def scene(stage: Stage) -> None:
        async def late(channel, body: Body) -> None:
            with suppress(ChannelResetError):
                await asyncio.sleep(30)
                await commit(channel, body)

        stage.cloud.store = late
        connection = await stage.associate(REQUEST)
        assert await store(connection, b"first!") == 0xA700
        stage.cloud.store = commit
        await asyncio.sleep(10)
        assert await store(connection, b"second") == 0x0000

    play(scene)


# Bytes on their way


def test_a_slow_modality_does_not_keep_its_bytes_in_a_frame_that_is_not_full():
    async def scene(stage: Stage) -> None:
        arrived = asyncio.Event()

        async def watch(channel, body: Body) -> None:
            event = await channel.receive()
            assert isinstance(event, Data)
            assert bytes(event.view) == b"slow"
            arrived.set()
            channel.consumed(4)
            await commit(channel, body)

        stage.cloud.store = watch
        connection = await stage.associate(REQUEST)
        begin(connection)
        connection.send_data(b"slow", last=False)
        async with asyncio.timeout(1):
            await arrived.wait()

    play(scene)


def test_a_modality_that_goes_away_leaves_no_store_behind():
    async def scene(stage: Stage) -> None:
        reset = asyncio.Event()

        async def watch(channel, body: Body) -> None:
            try:
                await silence(channel, body)
            except ChannelResetError:
                reset.set()

        stage.cloud.store = watch
        connection = await stage.associate(REQUEST)
        begin(connection)
        await pour(connection, 100_000, last=False)
        connection.abort()
        async with asyncio.timeout(1):
            await reset.wait()
        await asyncio.sleep(2)
        assert [(end.outcome, end.instances, end.failed) for end in ends(stage)] == [
            ("aborted", 0, 1)
        ]

    play(scene)


def test_the_stores_of_an_association_name_it():
    async def scene(stage: Stage) -> None:
        connection = await stage.associate(REQUEST)
        for _ in range(3):
            assert await store(connection, b"body") == 0
        assert len({body.request.association for body in stage.cloud.bodies}) == 1

    play(scene)


# Who may come


def test_unknown_devices_are_reported_with_what_did_not_match():
    async def scene(stage: Stage) -> None:
        for calling, source in (("NOBODY", STRANGER), ("NOBODY", STRANGER), ("US1", STRANGER)):
            answer = await stage.associate(
                propose("SWALLOW", calling, [(VERIFICATION, (EXPLICIT_VR_LITTLE_ENDIAN,))]), source
            )
            assert isinstance(answer, AssociateRejected)
        await asyncio.sleep(30)
        seen: Counter[tuple[str, str, str]] = Counter()
        for one in stage.cloud.seen:
            if isinstance(one, UnmatchedDevice):
                seen[one.address, one.calling_ae, one.reason] += one.count
        assert seen == {(STRANGER, "NOBODY", "calling-ae"): 2, (STRANGER, "US1", "address"): 1}

    play(scene)


def test_a_port_probe_leaves_nothing_behind():
    async def scene(stage: Stage) -> None:
        for _ in range(20):
            transport, _ = await stage.hosts[STRANGER].connect(asyncio.Protocol, LINK, PORT)
            transport.close()
        await asyncio.sleep(2)
        assert stage.agent.endpoints.states[0].connections == 0
        assert ends(stage) == []
        assert isinstance(await stage.associate(REQUEST), Connection)

    play(scene)


async def test_a_connection_that_was_reset_before_it_was_accepted_is_nobody():
    site = LinkState(session=lambda: None, random=bytes, wall=lambda: 0.0)
    entity = ApplicationEntity(LISTENER, site)
    session_ended = SimpleNamespace(peer=("", 0))
    await entity._serve(session_ended)
    assert entity.connections == 0


def test_a_device_that_is_taken_out_is_refused_its_next_message():
    async def scene(stage: Stage) -> None:
        connection = await stage.associate(REQUEST)
        assert await store(connection, b"body") == 0
        other = Device(name="other", ae_title="OTHER", addresses=("10.9.9.9",))
        await stage.cloud.configure(msgspec.structs.replace(CONFIGURATION, devices=(other,)))
        assert await store(connection, b"body") == 0x0124

    play(scene)


def test_a_configuration_change_does_not_disturb_a_running_store():
    async def scene(stage: Stage) -> None:
        connection = await stage.associate(REQUEST)
        begin(connection)
        await pour(connection, 200_000, last=False)
        moved = msgspec.structs.replace(
            LISTENER,
            max_associations=7,
            timeouts=msgspec.structs.replace(LISTENER.timeouts, idle=60.0),
        )
        more = Device(name="more", ae_title="MORE", addresses=("10.9.9.9",))
        await stage.cloud.configure(Configuration(listeners=(moved,), devices=(DEVICE, more)))
        await pour(connection, 200_000)
        event = await connection.next_event()
        assert isinstance(event, CommandReceived)
        assert event.command.status == 0
        assert len(stage.cloud.bodies[0].data) == 400_000

    play(scene)


def test_a_closed_listener_lets_its_association_end_and_takes_no_other():
    async def scene(stage: Stage) -> None:
        connection = await stage.associate(REQUEST)
        begin(connection)
        await pour(connection, 100_000, last=False)
        await stage.cloud.configure(Configuration(devices=(DEVICE,)))
        await asyncio.sleep(5)
        with pytest.raises(ConnectionRefusedError):
            await stage.associate(REQUEST)
        await pour(connection, 100_000)
        event = await connection.next_event()
        assert isinstance(event, CommandReceived)
        assert event.command.status == 0

    play(scene)


@pytest.mark.parametrize("unknown_devices", ["reject", "accept"])
@pytest.mark.parametrize(
    ("called", "calling", "answer"),
    [
        ("SWALLOW\0\0", "US1\0\0\0", None),
        (" SWALLOW", " US1", None),
        ("SWALLOW", "", (1, 1, 3)),
        ("SWALLOW", " " * 16, (1, 1, 3)),
        ("SWALLOW", "\0" * 16, (1, 1, 3)),
        ("SWALLOW", "US1\n", (1, 1, 3)),
        ("SWALLOW", "US1\0X", (1, 1, 3)),
        ("SWALLOW", "US\\1", (1, 1, 3)),
        ("SWALLOW", "\x1b[2J", (1, 1, 3)),
        ("", "US1", (1, 1, 7)),
        ("SWALLOW\n", "US1", (1, 1, 7)),
        ("SWALLOW\\", "US1", (1, 1, 7)),
    ],
)
def test_titles_that_ps3_5_forbids_are_rejected(unknown_devices, called, calling, answer):
    async def scene(stage: Stage) -> None:
        asked = propose(called, calling, [(VERIFICATION, (EXPLICIT_VR_LITTLE_ENDIAN,))])
        reported = await stage.associate(asked)
        if answer is None:
            assert isinstance(reported, Connection)
        else:
            assert isinstance(reported, AssociateRejected), reported
            assert (
                reported.answer.result,
                reported.answer.source,
                reported.answer.reason,
            ) == answer

    play(scene, configuration=listening(unknown_devices=unknown_devices))


@pytest.mark.parametrize("uid", ["1..2", ".1.2", "1.2.", "1.2.3x", "1" * 65, "1.2\\1.3", ""])
def test_a_uid_that_is_none_is_refused_and_nothing_of_it_is_sent_on(uid):
    async def scene(stage: Stage) -> None:
        connection = await stage.associate(REQUEST)
        begin(connection, uid)
        await pour(connection, 1000)
        event = await connection.next_event()
        assert isinstance(event, CommandReceived)
        assert event.command.status == 0xC000
        assert stage.cloud.bodies == []
        assert await store(connection, b"body") == 0

    play(scene)


# Messages that Link does not serve


def test_an_operation_that_link_does_not_know_is_answered_and_the_association_lives():
    async def scene(stage: Stage) -> None:
        connection = await stage.associate(REQUEST)
        find = request(
            CommandField.C_FIND_RQ, 7, data_set=True, elements={Element.AFFECTED_SOP_CLASS: US}
        )
        connection.send(3, find)
        connection.send_data(b"identifier", last=True)
        event = await connection.next_event()
        assert isinstance(event, CommandReceived)
        assert event.command.status == 0x0211
        assert await store(connection, b"body") == 0

    play(scene)


def test_a_release_is_a_release_and_is_reported():
    async def scene(stage: Stage) -> None:
        connection = await stage.associate(REQUEST)
        assert await store(connection, b"four") == 0
        connection.release()
        assert isinstance(await connection.next_event(), Released)
        await asyncio.sleep(3)
        (end,) = ends(stage)
        assert (end.outcome, end.instances, end.failed) == ("released", 1, 0)

    play(scene)


# Stopping


def test_stop_lets_the_running_store_end_and_aborts_the_idle_association():
    async def scene(stage: Stage) -> None:
        busy, idle = await stage.associate(REQUEST), await stage.associate(REQUEST)
        begin(busy)
        await pour(busy, 100_000, last=False)
        await asyncio.sleep(1)
        stage.agent.stop()
        assert isinstance(await idle.next_event(), Aborted)
        await asyncio.sleep(2)
        await pour(busy, 100_000)
        event = await busy.next_event()
        assert isinstance(event, CommandReceived)
        assert event.command.status == 0
        assert isinstance(await busy.next_event(), Aborted)
        began = stage.loop.time()
        await stage.running
        assert stage.loop.time() - began < 2
        await asyncio.sleep(1)
        assert stage.cloud.sessions[0].peer_goodbye.reason == "draining"

    play(scene)


def test_stop_does_not_wait_for_ever_for_a_modality_that_stalls():
    async def scene(stage: Stage) -> None:
        connection = await stage.associate(REQUEST)
        begin(connection)
        await pour(connection, 100_000, last=False)
        await asyncio.sleep(1)
        began = stage.loop.time()
        stage.agent.stop()
        await stage.running
        assert 9 < stage.loop.time() - began < 22
        assert isinstance(await connection.next_event(), Aborted)

    play(scene)
