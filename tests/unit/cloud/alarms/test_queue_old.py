"""Queues that wait too long, that wait for nothing, and their figures."""

import msgspec
import pytest
from prometheus_client import REGISTRY

from swallowtail.calls.config import Configuration, dump
from swallowtail.cloud.alarms.loop import AlarmLoop
from swallowtail.cloud.alarms.queue_old import OLD, QueueOld, label_of
from swallowtail.cloud.model.conditions import Condition, Severity
from swallowtail.cloud.model.delivery import (
    BreakerState,
    DeliveryState,
    DestinationState,
    Settlement,
    Target,
)
from swallowtail.cloud.model.operations import Alarm, NewAlarm
from tests.conformance.invented import EVENT, NORTH, SOUTH
from tests.unit.cloud.alarms.examination import loop_of
from tests.unit.cloud.dispatch.stage import DESTINATION, PACS, Stage
from tests.unit.cloud.dispatch.test_queues import ALL, OF_PACS, queues_of

WAITING, DEAD = DeliveryState.PENDING, DeliveryState.DEAD_LETTER


@pytest.fixture
async def stage() -> Stage:
    made = Stage()
    await made.populate()
    return made


def loop_over(stage: Stage) -> AlarmLoop:
    return loop_of(QueueOld, stage.records, lambda: stage.now)


async def alarms(stage: Stage, condition: Condition = Condition.QUEUE_OLD) -> list[Alarm]:
    return [
        one
        for one in (await stage.records.alarms.alarms(NORTH)).items
        if one.condition is condition
    ]


async def test_a_queue_is_old_from_an_hour_on_until_its_oldest_is_gone(stage: Stage) -> None:
    loop = loop_over(stage)
    await stage.queue("1.1")
    stage.now += OLD - 1
    await stage.queue("1.2")
    await loop.examine()
    assert await alarms(stage) == []
    stage.now += 1
    for _ in range(3):
        await loop.examine()
    (alarm,) = await alarms(stage)
    assert (alarm.subject, alarm.severity, alarm.count, alarm.since) == (
        "ward/pacs",
        Severity.WARNING,
        1,
        stage.now,
    )
    assert "2027-01-15 08:00 UTC" in alarm.detail
    (lease,) = (
        await stage.records.deliveries.claim(NORTH, PACS, 1, now=stage.now, until=stage.now + 60)
    ).leases
    await loop.examine()
    assert len(await alarms(stage)) == 1
    named = [lease.delivery.id]
    stage.now += 61
    await queues_of(stage).skip(NORTH, ALL, named, reason="not requested", event=EVENT)
    await loop_over(stage).examine()  # also by a process that did not raise it
    assert await alarms(stage) == []
    assert (await stage.records.alarms.alarms(SOUTH)).items == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "check whether its Link is online"),
        ({"paused": True}, "resume it"),
        ({"breaker": BreakerState.OPEN, "detail": "nobody listens there"}, "nobody listens there"),
    ],
)
async def test_an_old_queue_says_why(stage: Stage, change: dict[str, object], words: str) -> None:
    await stage.queue("1.1")
    if change.pop("paused", False):
        await stage.records.deliveries.pause(NORTH, PACS, paused=True, now=stage.now, event=EVENT)
    (lease,) = (
        await stage.records.deliveries.claim(NORTH, PACS, 1, now=stage.now, until=stage.now + 1)
    ).leases or (None,)
    if lease is not None:
        back = Settlement(
            tenant=NORTH, delivery=lease.delivery.id, token=lease.token, state=WAITING
        )
        state = msgspec.structs.replace(DestinationState(target=PACS), **change)
        await stage.records.deliveries.settle([back], state, now=stage.now)
    stage.now += OLD
    await loop_over(stage).examine()
    (alarm,) = await alarms(stage)
    assert words in alarm.detail


async def test_what_waits_for_a_destination_that_is_gone_ends_visibly_and_can_be_sent_again(
    stage: Stage,
) -> None:
    await stage.queue("1.1", "1.2")
    failing = NewAlarm(
        condition=Condition.DESTINATION_FAILING, subject=PACS.subject, severity=Severity.MAJOR
    )
    await stage.records.alarms.raise_alarm(NORTH, failing, now=stage.now)
    (lease,) = (
        await stage.records.deliveries.claim(NORTH, PACS, 1, now=stage.now, until=stage.now + 60)
    ).leases
    await put(stage, Configuration())
    await loop_over(stage).examine()
    assert await stage.states() == [
        DeliveryState.SENDING,
        DEAD,
    ]  # what is under way has its own end
    stage.now = lease.until
    await loop_over(stage).examine()
    assert await stage.states() == [DEAD, DEAD]
    assert all("no longer in the configuration" in one.detail for one in await stage.deliveries())
    assert await alarms(stage, Condition.DESTINATION_FAILING) == []
    assert (await stage.records.audit.records(NORTH)).items[
        0
    ].event.type == "deliveries.destination-gone"
    await put(stage, Configuration(destinations=(DESTINATION,)))
    assert await queues_of(stage).resend(NORTH, OF_PACS, event=EVENT) == 2
    await loop_over(stage).examine()
    assert await stage.states() == [WAITING, WAITING]


async def test_the_alarm_of_a_destination_that_is_gone_is_cleared_though_nothing_waits(
    stage: Stage,
) -> None:
    await stage.queue("1.1")
    await queues_of(stage).skip(NORTH, ALL, reason="not requested", event=EVENT)
    failing = NewAlarm(
        condition=Condition.DESTINATION_FAILING, subject=PACS.subject, severity=Severity.MAJOR
    )
    await stage.records.alarms.raise_alarm(NORTH, failing, now=stage.now)
    loop = loop_over(stage)
    await loop.examine()
    assert len(await alarms(stage, Condition.DESTINATION_FAILING)) == 1
    await put(stage, Configuration())
    await loop.examine()
    assert await alarms(stage, Condition.DESTINATION_FAILING) == []


async def put(stage: Stage, document: Configuration) -> None:
    await stage.records.configuration.put(
        NORTH, "ward", dump(document), author="test", now=stage.now, event=EVENT
    )


async def test_a_paused_destination_that_is_gone_and_a_removed_link_end_too(stage: Stage) -> None:
    await stage.queue("1.1")
    await stage.records.deliveries.pause(NORTH, PACS, paused=True, now=stage.now, event=EVENT)
    await stage.records.links.remove(NORTH, "ward", now=stage.now, event=EVENT)
    await loop_over(stage).examine()
    assert await stage.states() == [DEAD]


async def test_a_document_that_cannot_be_read_ends_nothing(stage: Stage) -> None:
    await stage.queue("1.1")
    await stage.records.configuration.put(
        NORTH, "ward", b"{", author="test", now=stage.now, event=EVENT
    )
    await loop_over(stage).examine()
    assert await stage.states() == [WAITING]


async def test_the_figures_name_no_destination(stage: Stage) -> None:
    await stage.queue("1.1", "1.2")
    stage.now += 90
    await loop_over(stage).examine()
    label = {"destination": label_of(PACS)}
    assert label["destination"].startswith("ward:")
    assert "pacs" not in label["destination"]
    assert REGISTRY.get_sample_value("swallowtail_queue_depth", label) == 2
    assert REGISTRY.get_sample_value("swallowtail_queue_oldest_seconds", label) == 90
    assert REGISTRY.get_sample_value("swallowtail_queues_depth") == 2
    assert (
        REGISTRY.get_sample_value(
            "swallowtail_queue_depth", {"destination": label_of(Target(link="x", destination="y"))}
        )
        is None
    )
