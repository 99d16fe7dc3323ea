"""What a destination, or the Cloud, can do to a delivery.

All ends in time, and nothing damaged ever becomes whole.
"""

import asyncio

import msgspec
import pytest

from swallowtail.calls.config import DestinationTimeouts
from swallowtail.calls.deliver import About, Delivered, DeliveryPhase, NotDelivered
from swallowtail.dicom.commands import Element, response_to
from swallowtail.dicom.pdu import RejectResult, RejectSource
from swallowtail.wire.failures import ChannelResetError
from swallowtail.wire.reasons import ResetReason
from tests.unit.link.archive import (
    BIG,
    DESTINATION,
    PACS,
    Archive,
    answer_of,
    deliver,
    failed,
    open_delivery,
    request_for,
    send_body,
    to,
)
from tests.unit.link.stage import LINK, Stage, play

REJECTIONS = [
    (1, 1, 1, "states no reason"),
    (1, 1, 3, "calling AE title not recognised; enter SWALLOWTAIL there"),
    (1, 1, 7, "called AE title not recognised; check the AE title configured for it, now PACS"),
    (2, 3, 1, "for now: temporary congestion"),
    (2, 3, 2, "local limit exceeded"),
    (1, 1, 9, "reason 1/9"),
]


@pytest.mark.parametrize(("result", "source", "reason", "words"), REJECTIONS)
def test_a_rejection_is_explained(result, source, reason, words):
    async def scene(stage: Stage) -> None:
        await Archive(stage, reject=(RejectResult(result), RejectSource(source), reason)).open()
        failed(await deliver(stage, 1), About.DESTINATION, DeliveryPhase.ASSOCIATE, words)

    play(scene, configuration=to())


@pytest.mark.parametrize(("connections", "advised"), [(1, False), (3, True)])
def test_fewer_connections_are_advised_only_where_there_are_more_than_one(connections, advised):
    async def scene(stage: Stage) -> None:
        await Archive(
            stage, reject=(RejectResult.TRANSIENT, RejectSource.PROVIDER_PRESENTATION, 2)
        ).open()
        answer = failed(
            await deliver(stage, 1),
            About.DESTINATION,
            DeliveryPhase.ASSOCIATE,
            "allow more associations",
        )
        assert ("fewer connections" in answer.detail) is advised

    play(scene, configuration=to(msgspec.structs.replace(DESTINATION, connections=connections)))


def test_nobody_listens():
    async def scene(stage: Stage) -> None:
        stage.network.host(PACS, PACS)
        failed(
            await deliver(stage, 1),
            About.DESTINATION,
            DeliveryPhase.CONNECT,
            "refused the connection at 10.0.0.20 port 104",
        )

    play(scene, configuration=to())


def test_a_destination_that_swallows_the_connection_fails_in_time():
    async def scene(stage: Stage) -> None:
        stage.network.partition(stage.hosts[LINK], stage.network.host(PACS, PACS))
        began = stage.loop.time()
        failed(await deliver(stage, 1), About.DESTINATION, DeliveryPhase.CONNECT, "in time")
        assert 10 <= stage.loop.time() - began < 11

    play(scene, configuration=to())


async def _mute(archive: Archive, connection) -> None:
    await connection.next_event()
    await asyncio.sleep(10_000)


async def _hang_up(archive: Archive, connection) -> None:
    await connection.next_event()
    connection._pump.abort()


async def _abort_at_once(archive: Archive, connection) -> None:
    await connection.next_event()
    connection.abort()


@pytest.mark.parametrize(
    ("behave", "words", "seconds"),
    [
        (_mute, "did not answer the association request", 30),
        (_hang_up, "check that", 0),
        (_abort_at_once, "aborted instead", 0),
    ],
)
def test_no_answer_to_the_association_request(behave, words, seconds):
    async def scene(stage: Stage) -> None:
        await Archive(stage, behave=behave).open()
        began = stage.loop.time()
        failed(await deliver(stage, 1), About.DESTINATION, DeliveryPhase.ASSOCIATE, words)
        assert seconds <= stage.loop.time() - began < seconds + 1

    play(scene, configuration=to())


def test_settings_reach_the_association():
    timeouts = DestinationTimeouts(connect=1, associate=2, response=3, idle=4)

    async def scene(stage: Stage) -> None:
        archive = await Archive(stage, behave=_mute).open()
        began = stage.loop.time()
        await deliver(stage, 1)
        assert 2 <= stage.loop.time() - began < 3.5  # our A-ABORT is given its time to arrive
        archive.behave, archive.pause = None, 100
        began = stage.loop.time()
        failed(await deliver(stage, 1), About.DESTINATION, DeliveryPhase.RESPONSE)
        assert 3 <= stage.loop.time() - began < 3.5
        assert (archive.requests[0].calling, archive.requests[0].user.max_pdu) == ("OURS", 8192)

    play(
        scene,
        configuration=to(
            msgspec.structs.replace(DESTINATION, timeouts=timeouts, calling_ae="OURS", max_pdu=8192)
        ),
    )


async def _deaf(archive: Archive, connection) -> None:
    event = await connection.next_event()
    archive.meet(connection, event.request)
    await asyncio.sleep(10_000)


def test_a_destination_that_reads_nothing_stalls_itself_alone():
    quick = msgspec.structs.replace(DESTINATION, name="pacs2", port=105)

    async def scene(stage: Stage) -> None:
        await Archive(stage, behave=_deaf).open()
        good = await Archive(stage).open(port=105)
        began = stage.loop.time()
        stuck = stage.tasks.spawn(deliver(stage, 1, BIG), name="stuck")
        behind = stage.tasks.spawn(deliver(stage, 2, BIG, behind=1), name="behind")
        await asyncio.sleep(1)
        for number in range(10, 60):
            at = stage.loop.time()
            assert isinstance(
                await deliver(stage, number, BIG[:100_000], destination="pacs2"), Delivered
            )
            assert stage.loop.time() - at < 0.5
        assert len(good.stored) == 50
        failed(
            await stuck,
            About.DESTINATION,
            DeliveryPhase.SEND,
            "took no byte of an instance for 120 s",
        )
        assert 119 < stage.loop.time() - began < 125
        failed(await behind, About.LINK, DeliveryPhase.QUEUE, "in its order")

    play(scene, configuration=to(DESTINATION, quick))


def test_a_small_instance_without_response_fails_in_time():
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage, pause=1000).open()
        began = stage.loop.time()
        failed(
            await deliver(stage, 1),
            About.DESTINATION,
            DeliveryPhase.RESPONSE,
            "did not answer within 120 s",
        )
        assert 120 <= stage.loop.time() - began < 121
        archive.pause = 0
        assert isinstance(await deliver(stage, 1, attempt=2), Delivered)

    play(scene, configuration=to())


async def _abort_mid_object(archive: Archive, connection) -> None:
    archive.meet(connection, (await connection.next_event()).request)
    for _ in range(5):
        await connection.next_event()
    connection.abort()


async def _close_mid_object(archive: Archive, connection) -> None:
    archive.meet(connection, (await connection.next_event()).request)
    for _ in range(5):
        await connection.next_event()
    connection._pump.abort()


async def _release_mid_object(archive: Archive, connection) -> None:
    archive.meet(connection, (await connection.next_event()).request)
    for _ in range(5):
        await connection.next_event()
    connection.release()
    await asyncio.sleep(100)


@pytest.mark.parametrize(
    ("behave", "words"),
    [
        (_abort_mid_object, "aborted"),
        (_close_mid_object, "was lost"),
        (_release_mid_object, "released"),
    ],
)
def test_a_destination_that_ends_it_in_the_middle(behave, words):
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage, behave=behave).open()
        failed(await deliver(stage, 1, BIG), About.DESTINATION, DeliveryPhase.SEND, words)
        archive.behave = None
        assert isinstance(await deliver(stage, 1, BIG), Delivered)

    play(scene, configuration=to())


async def _wrong_id(connection, received) -> None:
    answer = response_to(received.command, 0)
    connection._dimse._owed[77] = received.context.id
    connection.send(
        received.context.id,
        type(answer)({**dict(answer.items()), Element.RESPONDED_MESSAGE_ID: 77}),
    )


async def _wrong_kind(connection, received) -> None:
    answer = response_to(received.command, 0)
    connection.send(
        received.context.id, type(answer)({**dict(answer.items()), Element.COMMAND_FIELD: 0x8030})
    )


async def _pending(connection, received) -> None:
    connection.send(received.context.id, response_to(received.command, 0xFF00))


async def _with_data(connection, received) -> None:
    connection.send(received.context.id, response_to(received.command, 0, data_set=True))


async def _asks_itself(connection, received) -> None:
    answer = response_to(received.command, 0)
    fields = {**dict(answer.items()), Element.COMMAND_FIELD: 0x0030, Element.MESSAGE_ID: 5}
    connection.send(received.context.id, type(answer)(fields))


@pytest.mark.parametrize(
    ("respond", "words"),
    [
        (_wrong_id, "a message id that was not asked"),
        (_wrong_kind, "another kind of request"),
        (_pending, "pending"),
        (_with_data, "announces a data set"),
        (_asks_itself, "asked for something"),
    ],
)
def test_an_answer_that_is_none_is_a_violation(respond, words):
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage, respond=respond).open()
        failed(await deliver(stage, 1), About.DESTINATION, DeliveryPhase.RESPONSE, words)
        await asyncio.sleep(2)
        assert archive.ends == ["Aborted"]

    play(scene, configuration=to())


@pytest.mark.parametrize(
    ("status", "words", "about"),
    [(0, "before it had all", About.DESTINATION), (0xA900, "A900", About.INSTANCE)],
)
def test_an_answer_before_the_last_byte_is_no_delivery(status, words, about):
    async def early(archive: Archive, connection) -> None:
        archive.meet(connection, (await connection.next_event()).request)
        received = await connection.next_event()
        connection.send(received.context.id, response_to(received.command, status))
        await archive.converse(connection)

    async def scene(stage: Stage) -> None:
        archive = await Archive(stage, behave=early).open()
        answer = await deliver(stage, 1, BIG)
        assert isinstance(answer, NotDelivered)
        assert answer.about is about
        assert words in answer.detail
        await asyncio.sleep(2)
        assert archive.stored == []

    play(scene, configuration=to())


# Between Cloud and Link


@pytest.mark.parametrize("damage", ["checksum", "short", "long", "no end"])
def test_a_damaged_body_never_becomes_whole(damage):
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage).open()
        body = {"short": BIG[:-2], "long": BIG + b"xx"}.get(damage, BIG)
        channel = await open_delivery(stage, request_for(1, BIG))
        if damage == "no end":
            await channel.send(memoryview(body))
            channel.finish()
        else:
            stage.tasks.spawn(
                send_body(channel, body, crc=1 if damage == "checksum" else None), name="body"
            )
        failed(await answer_of(channel), About.LINK, DeliveryPhase.TRANSFER, "damaged")
        await asyncio.sleep(2)
        assert (archive.stored, archive.partial, archive.ends) == ([], 1, ["Aborted"])
        assert isinstance(await deliver(stage, 1, BIG), Delivered)

    play(scene, configuration=to())


def test_a_cloud_that_stops_to_send_frees_the_destination():
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage).open()
        channel = await open_delivery(stage, request_for(1, BIG))
        await channel.send(memoryview(BIG)[:200_000])
        channel.flush()
        failed(await answer_of(channel), About.LINK, DeliveryPhase.TRANSFER, "sent nothing")
        assert archive.stored == []
        assert isinstance(await deliver(stage, 2), Delivered)

    play(scene, configuration=to())


@pytest.mark.parametrize("how", ["reset", "session lost"])
def test_a_transfer_that_is_cut_is_aborted_and_kept_by_nobody(how):
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage).open()
        channel = await open_delivery(stage, request_for(1, BIG))
        await channel.send(memoryview(BIG)[:500_000])
        channel.flush()
        await archive.arrived.wait()
        if how == "reset":
            channel.reset(ResetReason.CANCELLED)
        else:
            stage.cloud.lose()
        await asyncio.sleep(40)
        assert (archive.stored, archive.ends) == ([], ["Aborted"])
        stage.cloud.version = 0
        assert isinstance(await deliver(stage, 1, BIG), Delivered)

    play(scene, configuration=to())


def test_one_that_waits_and_is_given_up_never_reaches_the_destination():
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage, pause=5).open()
        first = stage.tasks.spawn(deliver(stage, 1), name="first")
        await archive.arrived.wait()
        waiting = await open_delivery(stage, request_for(2, BIG))
        await waiting.send(memoryview(BIG)[:100_000])
        waiting.reset(ResetReason.CANCELLED)
        third = await deliver(stage, 3)
        assert isinstance(await first, Delivered)
        assert isinstance(third, Delivered)
        assert [uid for uid, _ in archive.stored] == ["1.2.3.1", "1.2.3.3"]
        assert len(archive.requests) == 1

    play(scene, configuration=to())


def test_the_response_to_one_whose_session_is_lost_is_still_taken():
    async def scene(stage: Stage) -> None:
        archive = await Archive(stage, pause=50).open()
        stage.tasks.spawn(_expect_reset(stage), name="first")
        await archive.arrived.wait()
        await asyncio.sleep(1)
        stage.cloud.lose()
        await asyncio.sleep(40)
        archive.pause = 0
        assert isinstance(
            await deliver(stage, 1, attempt=2), Delivered
        )  # behind the response of the first
        assert len(archive.requests) == 1

    async def _expect_reset(stage: Stage) -> None:
        with pytest.raises(ChannelResetError):
            await deliver(stage, 1)

    play(scene, configuration=to())
