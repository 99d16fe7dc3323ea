"""A second payload kind over a second route goes through everything that queues do."""

from collections.abc import AsyncIterator

import pytest

from swallowtail.cloud.dispatch.outcomes import Failure, Success
from swallowtail.cloud.model.delivery import (
    BreakerState,
    Delivery,
    DeliverySearch,
    DeliveryState,
    FailureSubject,
    NewDelivery,
)
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.records.deliveries import DeliveryRecords
from swallowtail.cloud.records.payloads import SOURCES
from swallowtail.runtime.tasks import Tasks
from tests.conformance.invented import EVENT, NORTH, NOW
from tests.doubles.memory_database import MemoryDatabase
from tests.unit.cloud.dispatch.notes import BOARD, NOTE, NOTES, CloudRoute, add_notes, note
from tests.unit.cloud.dispatch.stage import Stage

DOWN = Failure(about=FailureSubject.DESTINATION, phase="connect", detail="the board is off")
REFUSED = Failure(
    about=FailureSubject.PAYLOAD,
    phase="response",
    detail="the board refuses it",
    status=422,
    comment="too rude",
)
PENDING, DELIVERED = DeliveryState.PENDING, DeliveryState.DELIVERED
DEAD_LETTER, PARKED = DeliveryState.DEAD_LETTER, DeliveryState.PARKED
ALL = DeliverySearch(kind=NOTE)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    await stage.populate()
    add_notes(stage.rows.connection, NORTH, "clinic", "a", "b", "c")
    sources = {**SOURCES, NOTE: NOTES}
    stage.records.deliveries = DeliveryRecords(MemoryDatabase(stage.rows), sources)
    stage.create_dispatch()
    yield stage
    stage.rows.close()


def new(reference: int) -> NewDelivery:
    return NewDelivery(target=BOARD, kind=NOTE, reference=reference, cause="person:t/1")


async def queued(stage: Stage, *references: int) -> list[int]:
    wanted = [new(reference) for reference in references]
    assert await stage.records.deliveries.add(NORTH, wanted, now=NOW) == len(references)
    return [one.id for one in await stage.deliveries(BOARD)]


async def one(stage: Stage, delivery: int) -> Delivery:
    return await stage.records.deliveries.delivery(NORTH, delivery)


async def test_notes_are_sent_in_the_order_of_their_lane_with_their_history(stage: Stage) -> None:
    (first, *_) = await queued(stage, 1, 2, 3)
    route = CloudRoute()
    async with Tasks("test") as tasks:
        serving = tasks.spawn(stage.dispatch.serve(route), name="serve")
        await stage.settled(DELIVERED, DELIVERED, DELIVERED, target=BOARD)
        serving.cancel()
    assert route.sent == ["a", "b", "c"]
    (attempt,) = (await stage.records.deliveries.attempts(NORTH, first)).items
    assert (attempt.status, attempt.seconds, attempt.sent_format) == (200, 0.25, "text/plain")
    events = [record.event for record in (await stage.records.audit.records(NORTH)).items]
    assert ("note", "a") in [pair for event in events for pair in event.objects]


async def test_a_destination_that_fails_opens_its_breaker_and_holds_the_lane(stage: Stage) -> None:
    await queued(stage, 1, 2)
    route = CloudRoute(respond=lambda _: DOWN)

    async def is_open() -> bool:
        stage.pass_time(1.0)
        stage.bus.publish("deliveries/")
        states = await stage.records.deliveries.destinations(NORTH, [BOARD], now=stage.now)
        return states[BOARD].breaker is BreakerState.OPEN

    async with Tasks("test") as tasks:
        serving = tasks.spawn(stage.dispatch.serve(route), name="serve")
        await stage.until(is_open)
        (alarm,) = (await stage.records.alarms.alarms(NORTH)).items
        assert (alarm.subject, "the board is off" in alarm.detail) == (BOARD.subject, True)
        route.respond = lambda _: Success()

        async def done() -> bool:
            await is_open()
            return await stage.states(BOARD) == [DELIVERED, DELIVERED]

        await stage.until(done)
        serving.cancel()
    assert route.sent == ["a", "b"]
    assert (await stage.records.alarms.alarms(NORTH)).items == ()


async def test_a_refused_note_becomes_a_dead_letter_and_people_decide(stage: Stage) -> None:
    first, second = await queued(stage, 1, 2)
    route = CloudRoute(respond=lambda subject: REFUSED if subject == "a" else Success())

    async def is_dead() -> bool:
        stage.pass_time(5.0)
        stage.bus.publish("deliveries/")
        return await stage.states(BOARD) == [DEAD_LETTER, DELIVERED]

    async with Tasks("test") as tasks:
        serving = tasks.spawn(stage.dispatch.serve(route), name="serve")
        await stage.until(is_dead)
        serving.cancel()
    (alarm,) = (await stage.records.alarms.alarms(NORTH)).items
    assert alarm.subject == BOARD.subject
    dead = await one(stage, first)
    assert (dead.refusals, dead.status, dead.about) == (2, 422, FailureSubject.PAYLOAD)
    attempts = (await stage.records.deliveries.attempts(NORTH, first)).items
    assert [(each.comment, each.seconds) for each in attempts] == [("too rude", None)] * 2
    change = stage.records.deliveries.act
    assert await change(NORTH, ALL, [first], PENDING, reason="", now=stage.now, event=EVENT) == 1
    assert (await stage.records.alarms.alarms(NORTH)).items == ()
    assert await change(NORTH, ALL, [first], PARKED, reason="", now=stage.now, event=EVENT) == 1
    skipped = DeliveryState.SKIPPED
    assert await change(NORTH, ALL, [first], skipped, reason="x", now=stage.now, event=EVENT) == 1
    assert (await one(stage, second)).state is DELIVERED


async def test_a_deleted_note_is_skipped_and_cannot_be_queued(stage: Stage) -> None:
    await queued(stage, 1)
    (lease,) = (
        await stage.records.deliveries.claim(NORTH, BOARD, 1, now=NOW, until=NOW + 30)
    ).leases
    stage.rows.connection.execute(note.delete())
    stage.rows.connection.commit()
    route = CloudRoute(respond=lambda _: DOWN)
    stage.pass_time(31.0)
    async with Tasks("test") as tasks:
        serving = tasks.spawn(stage.dispatch.serve(route), name="serve")
        await stage.settled(DeliveryState.SKIPPED, target=BOARD)
        serving.cancel()
    assert (await one(stage, lease.delivery.id)).detail == NOTES.deleted
    with pytest.raises(NotFoundError, match="no such note"):
        await stage.records.deliveries.add(NORTH, [new(2)], now=NOW)


async def test_notes_are_found_by_their_kind_and_identifier(stage: Stage) -> None:
    await queued(stage, 1, 2)
    await stage.queue("1.1")
    deliveries = stage.records.deliveries.deliveries
    for search, found in (
        (ALL, ["b", "a"]),
        (DeliverySearch(kind=NOTE, identifier="a"), ["a"]),
        (DeliverySearch(kind="instance"), ["1.1"]),
    ):
        items = (await deliveries(NORTH, search)).items
        assert [each.payload.identifier for each in items] == found
