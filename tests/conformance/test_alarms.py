from typing import Any

import msgspec
import pytest

from swallowtail.cloud.model.conditions import Condition, Severity
from swallowtail.cloud.model.operations import AlarmSearch, NewAlarm
from swallowtail.cloud.model.paging import PageRequest
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import EVENT, NORTH, NOW, SOUTH

AWAY = NewAlarm(
    condition=Condition.LINK_OFFLINE, subject="ward", severity=Severity.MAJOR, detail="silent"
)


async def test_an_alarm_is_raised_once_and_counted_until_it_is_cleared(records: Records) -> None:
    alarms = records.alarms
    first = await alarms.raise_alarm(NORTH, AWAY, now=NOW)
    again = await alarms.raise_alarm(NORTH, AWAY, now=NOW + 5)
    assert again == msgspec.structs.replace(first, count=2, last=NOW + 5)
    assert await alarms.clear(NORTH, Condition.LINK_OFFLINE, "ward", now=NOW + 6)
    assert not await alarms.clear(NORTH, Condition.LINK_OFFLINE, "ward", now=NOW + 7)
    assert (await alarms.alarms(NORTH)).items == ()
    new = await alarms.raise_alarm(NORTH, AWAY, now=NOW + 8)
    assert (new.id != first.id, new.count) == (True, 1)
    page = await alarms.alarms(NORTH, PageRequest(1), search=AlarmSearch(cleared=None))
    rest = await alarms.alarms(NORTH, PageRequest(1, page.next), search=AlarmSearch(cleared=None))
    assert [(one.id, one.cleared) for one in (*page.items, *rest.items)] == [
        (new.id, None),
        (first.id, NOW + 6),
    ]


async def test_acknowledging_keeps_the_first_who_did(records: Records) -> None:
    alarm = await records.alarms.raise_alarm(NORTH, AWAY, now=NOW)
    await records.alarms.acknowledge(NORTH, alarm.id, now=NOW + 1, event=EVENT)
    other = msgspec.structs.replace(EVENT, actor="someone else")
    seen = await records.alarms.acknowledge(NORTH, alarm.id, now=NOW + 2, event=other)
    assert (seen.acknowledged, seen.acknowledged_by) == (NOW + 1, "invented")
    with pytest.raises(NotFoundError):
        await records.alarms.acknowledge(SOUTH, alarm.id, now=NOW, event=EVENT)
    assert (await records.alarms.alarms(SOUTH)).items == ()


async def test_what_is_looked_for_is_kept_raised_and_written_only_when_it_changes(
    records: Records,
) -> None:
    alarms = records.alarms
    other = msgspec.structs.replace(AWAY, subject="annex")
    await alarms.raise_alarm(
        NORTH,
        msgspec.structs.replace(AWAY, condition=Condition.STORAGE, severity=Severity.CRITICAL),
        now=NOW,
    )
    assert await alarms.keep(NORTH, Condition.LINK_OFFLINE, [AWAY], now=NOW + 1) == 1
    assert await alarms.keep(NORTH, Condition.LINK_OFFLINE, [AWAY], now=NOW + 2) == 0
    assert await alarms.keep(NORTH, Condition.LINK_OFFLINE, [AWAY, other], now=NOW + 3) == 1
    assert await alarms.keep(SOUTH, Condition.LINK_OFFLINE, [], now=NOW + 4) == 0
    raised = [
        (one.condition, one.subject, one.since, one.count)
        for one in (await alarms.alarms(NORTH)).items
    ]
    assert raised == [
        (Condition.LINK_OFFLINE, "annex", NOW + 3, 1),
        (Condition.LINK_OFFLINE, "ward", NOW + 1, 1),
        (Condition.STORAGE, "ward", NOW, 1),
    ]
    assert await alarms.keep(NORTH, Condition.LINK_OFFLINE, [other], now=NOW + 5) == 1
    assert await alarms.keep(NORTH, Condition.LINK_OFFLINE, [], now=NOW + 6) == 1
    assert [one.condition for one in (await alarms.alarms(NORTH)).items] == [Condition.STORAGE]
    assert await alarms.keep(NORTH, Condition.LINK_OFFLINE, [AWAY], now=NOW + 7) == 1
    (again, *_) = (await alarms.alarms(NORTH)).items
    assert (again.since, again.cleared) == (NOW + 7, None)


async def test_what_is_kept_raised_and_gets_worse_is_to_be_acknowledged_again(
    records: Records,
) -> None:
    alarms = records.alarms
    mild = msgspec.structs.replace(AWAY, condition=Condition.CERTIFICATE_EXPIRING)
    worse = msgspec.structs.replace(mild, severity=Severity.CRITICAL, detail="ends tomorrow")
    await alarms.keep(NORTH, Condition.CERTIFICATE_EXPIRING, [mild], now=NOW)
    (first,) = (await alarms.alarms(NORTH)).items
    await alarms.acknowledge(NORTH, first.id, now=NOW + 1, event=EVENT)
    assert await alarms.keep(NORTH, Condition.CERTIFICATE_EXPIRING, [mild], now=NOW + 2) == 0
    assert await alarms.keep(NORTH, Condition.CERTIFICATE_EXPIRING, [worse], now=NOW + 3) == 1
    assert await alarms.keep(NORTH, Condition.CERTIFICATE_EXPIRING, [worse], now=NOW + 4) == 0
    (found,) = (await alarms.alarms(NORTH)).items
    assert found == msgspec.structs.replace(
        first, severity=Severity.CRITICAL, detail=worse.detail, last=NOW + 3, count=2
    )


async def test_alarms_are_found_by_what_they_are_about_and_when_they_were_raised(
    records: Records,
) -> None:
    alarms = records.alarms
    for number, (condition, subject, severity) in enumerate(
        (
            (Condition.LINK_OFFLINE, "ward", Severity.MAJOR),
            (Condition.DISK_LOW, "disk", Severity.MAJOR),
            (Condition.QUEUE_OLD, "ward", Severity.WARNING),
            (Condition.LINK_OFFLINE, "annex", Severity.MAJOR),
        )
    ):
        new = NewAlarm(condition=condition, subject=subject, severity=severity)
        await alarms.raise_alarm(NORTH, new, now=NOW + number)
        await alarms.raise_alarm(SOUTH, new, now=NOW + number)
    await alarms.clear(NORTH, Condition.LINK_OFFLINE, "annex", now=NOW + 9)
    (disk,) = (await alarms.alarms(NORTH, search=AlarmSearch(subject="disk"))).items
    await alarms.acknowledge(NORTH, disk.id, now=NOW + 9, event=EVENT)

    async def found(**search: Any) -> list[int]:
        page = await alarms.alarms(NORTH, search=AlarmSearch(**search))
        return [round(one.since - NOW) for one in page.items]

    assert await found() == [2, 1, 0]
    assert await found(cleared=None) == [3, 2, 1, 0]
    assert await found(cleared=True) == [3]
    assert await found(conditions=(Condition.LINK_OFFLINE,)) == [0]
    assert await found(conditions=(Condition.LINK_OFFLINE, Condition.DISK_LOW)) == [1, 0]
    assert await found(severities=(Severity.WARNING, Severity.CRITICAL)) == [2]
    assert await found(subject="ward") == [2, 0]
    assert await found(subject="ward", severities=(Severity.MAJOR,)) == [0]
    assert await found(acknowledged=True) == [1]
    assert await found(acknowledged=False) == [2, 0]
    assert await found(since=NOW + 1, before=NOW + 3, cleared=None) == [2, 1]
    search = AlarmSearch(subject="ward")
    first = await alarms.alarms(NORTH, PageRequest(1), search=search)
    second = await alarms.alarms(NORTH, PageRequest(1, first.next), search=search)
    assert [round(one.since - NOW) for one in first.items + second.items] == [2, 0]
    assert second.next is None
