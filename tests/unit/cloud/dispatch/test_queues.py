"""What people do with deliveries and destinations."""

import asyncio

import pytest

from swallowtail.calls.config import Configuration, dump
from swallowtail.cloud.dispatch.queues import Queues
from swallowtail.cloud.dispatch.runner import topic
from swallowtail.cloud.dispatch.sites import ConfigurationCache
from swallowtail.cloud.model.delivery import (
    BreakerState,
    DeliverySearch,
    DeliveryState,
    DestinationState,
    Settlement,
    Target,
)
from swallowtail.cloud.model.port_errors import ConflictError, NotFoundError
from swallowtail.cloud.model.ports.bus import Subscription
from tests.conformance.invented import EVENT, NORTH, SOUTH
from tests.unit.cloud.dispatch.stage import DESTINATION, PACS, Stage

WAITING, PARKED, SKIPPED = DeliveryState.PENDING, DeliveryState.PARKED, DeliveryState.SKIPPED
ALL = DeliverySearch()
OF_PACS = DeliverySearch(link="ward", destination="pacs")


@pytest.fixture
async def stage() -> Stage:
    made = Stage()
    await made.populate()
    return made


async def responses(woken: Subscription) -> None:
    async with asyncio.timeout(5):
        await woken.wait()


def queues_of(stage: Stage) -> Queues:
    records = stage.records
    return Queues(
        deliveries=records.deliveries,
        instances=records.instances,
        links=records.links,
        sites=ConfigurationCache(records.links, records.configuration),
        bus=stage.bus,
        clock=lambda: stage.now,
    )


async def test_park_skip_and_resend_by_search_and_by_id_wake_the_links_queues(stage: Stage) -> None:
    queues = queues_of(stage)
    await stage.queue("1.1", "1.2", "1.3")
    woken = stage.bus.subscribe(topic("ward"))
    ids = [one.id for one in await stage.deliveries()]
    assert await queues.park(NORTH, ALL, [ids[0]], reason="ask the ward", event=EVENT) == 1
    await responses(woken)
    assert await queues.skip(NORTH, OF_PACS, reason="not requested", event=EVENT) == 3
    await responses(woken)
    assert await stage.states() == [SKIPPED] * 3
    assert {one.detail for one in await stage.deliveries()} == {"not requested"}
    assert await queues.resend(NORTH, OF_PACS, ids[1:], event=EVENT) == 2
    await responses(woken)
    assert await stage.states() == [SKIPPED, WAITING, WAITING]
    assert [
        one.id
        for one in (
            await queues.deliveries(NORTH, DeliverySearch(states=frozenset({WAITING})))
        ).items
    ] == ids[:0:-1]
    types = [record.event.type for record in (await stage.records.audit.records(NORTH)).items[:3]]
    assert types == [EVENT.type] * 3


async def test_what_is_under_way_and_what_is_another_tenants_cannot_be_acted_on(
    stage: Stage,
) -> None:
    queues = queues_of(stage)
    await stage.queue("1.1")
    (one,) = await stage.deliveries()
    with pytest.raises(NotFoundError):
        await queues.park(SOUTH, ALL, [one.id], reason="x", event=EVENT)
    with pytest.raises(NotFoundError):
        await queues.delivery(SOUTH, one.id)
    with pytest.raises(NotFoundError):
        await queues.delivery(NORTH, one.id, facilities=frozenset({"annex"}))
    assert await queues.delivery(NORTH, one.id, facilities=frozenset({"clinic"})) == one
    await stage.records.deliveries.claim(NORTH, PACS, 1, now=stage.now, until=stage.now + 60)
    with pytest.raises(ConflictError):
        await queues.skip(NORTH, ALL, [one.id], reason="x", event=EVENT)
    assert await queues.skip(NORTH, ALL, reason="x", event=EVENT) == 0


async def test_a_stored_study_can_be_sent_once_for_each_request(stage: Stage) -> None:
    queues = queues_of(stage)
    for uid in ("1.1", "1.2"):
        await stage.instance(uid)
    send = {"request": "r1", "event": EVENT}
    assert await queues.send(NORTH, "1.2.1", PACS, **send) == 2
    assert await queues.send(NORTH, "1.2.1", PACS, **send) == 0
    assert (
        await queues.send(NORTH, "1.2.1", PACS, sop_instances=["1.2"], request="r2", event=EVENT)
        == 1
    )
    assert [one.cause for one in await stage.deliveries()] == ["person:invented/r1"] * 2 + [
        "person:invented/r2"
    ]
    with pytest.raises(NotFoundError):
        await queues.send(NORTH, "1.2.1", Target(link="ward", destination="nowhere"), **send)
    with pytest.raises(NotFoundError):
        await queues.send(NORTH, "1.2.1", PACS, sop_instances=["1.2", "9.9"], **send)
    with pytest.raises(NotFoundError):
        await queues.send(
            NORTH, "1.2.1", PACS, facilities=frozenset({"annex"}), request="r3", event=EVENT
        )
    with pytest.raises(NotFoundError):
        await queues.send(SOUTH, "1.2.1", PACS, **send)


async def test_what_a_person_sends_goes_before_what_waits_and_wakes_the_queue(stage: Stage) -> None:
    queues = queues_of(stage)
    await stage.queue("1.1", "1.2")
    woken = stage.bus.subscribe(topic("ward"))
    assert (
        await queues.send(
            NORTH, "1.2.1", PACS, sop_instances=["1.2"], request="r1", priority=5, event=EVENT
        )
        == 1
    )
    await responses(woken)
    (lease,) = (
        await stage.records.deliveries.claim(NORTH, PACS, 1, now=stage.now, until=stage.now + 60)
    ).leases
    assert (lease.delivery.cause, lease.delivery.priority, lease.delivery.payload.identifier) == (
        "person:invented/r1",
        5,
        "1.2",
    )


async def test_destinations_are_those_configured_and_those_once_used(stage: Stage) -> None:
    queues = queues_of(stage)
    unused = await queues.destination(NORTH, PACS)
    assert (unused.target, unused.configured, unused.state.counts) == (PACS, DESTINATION, {})
    await stage.queue("1.1")
    assert (await queues.destination(NORTH, PACS)).state.counts == {"pending": 1}
    await stage.records.configuration.put(
        NORTH, "ward", dump(Configuration()), author="test", now=stage.now, event=EVENT
    )
    session_ended = await queues.destination(NORTH, PACS)
    assert (session_ended.target, session_ended.configured, session_ended.state.counts) == (
        PACS,
        None,
        {"pending": 1},
    )
    with pytest.raises(NotFoundError):
        await queues.destination(SOUTH, PACS)


async def test_a_retry_has_a_destination_that_waits_after_failures_tried_at_once(
    stage: Stage,
) -> None:
    queues, deliveries, now = queues_of(stage), stage.records.deliveries, stage.now
    await stage.queue("1.1")
    (lease,) = (await deliveries.claim(NORTH, PACS, 1, now=now, until=now + 60)).leases
    waits = Settlement(
        tenant=NORTH,
        delivery=lease.delivery.id,
        token=lease.token,
        state=WAITING,
        next_at=now + 300,
    )
    failing = DestinationState(
        target=PACS, breaker=BreakerState.OPEN, failures=9, retry_at=now + 300
    )
    await deliveries.settle([waits], failing, now=now)
    woken = stage.bus.subscribe(topic("ward"))
    assert await queues.retry(NORTH, lease.delivery.id, event=EVENT) == 1
    await responses(woken)
    assert len((await deliveries.claim(NORTH, PACS, 1, now=now, until=now + 60)).leases) == 1


async def test_pause_and_resume_wake_and_close_the_breaker(stage: Stage) -> None:
    queues = queues_of(stage)
    await stage.queue("1.1")
    paused = await queues.pause(NORTH, PACS, event=EVENT)
    assert (paused.state.paused, paused.state.paused_by) == (True, EVENT.actor)
    assert await stage.records.deliveries.due(NORTH, "ward") == ()
    woken = stage.bus.subscribe(topic("ward"))
    resumed = await queues.resume(NORTH, PACS, event=EVENT)
    await responses(woken)
    assert (resumed.state.paused, resumed.state.breaker) == (False, BreakerState.CLOSED)
    with pytest.raises(NotFoundError):
        await queues.pause(NORTH, Target(link="ward", destination="nowhere"), event=EVENT)
