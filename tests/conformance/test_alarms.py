import msgspec
import pytest

from swallowtail.cloud.model.errors import NotFoundError
from swallowtail.cloud.model.operations import Condition, NewAlarm, Severity
from swallowtail.cloud.model.paging import PageRequest
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import EVENT, NORTH, NOW, SOUTH

AWAY = NewAlarm(condition=Condition.LINK_AWAY, subject="ward", severity=Severity.MAJOR, detail="silent")


async def test_an_alarm_is_raised_once_and_counted_until_it_is_cleared(records: Records) -> None:
    alarms = records.alarms
    first = await alarms.raise_alarm(NORTH, AWAY, now=NOW)
    again = await alarms.raise_alarm(NORTH, AWAY, now=NOW + 5)
    assert again == msgspec.structs.replace(first, count=2, last=NOW + 5)
    assert await alarms.clear(NORTH, Condition.LINK_AWAY, "ward", now=NOW + 6)
    assert not await alarms.clear(NORTH, Condition.LINK_AWAY, "ward", now=NOW + 7)
    assert (await alarms.alarms(NORTH)).items == ()
    new = await alarms.raise_alarm(NORTH, AWAY, now=NOW + 8)
    assert (new.id != first.id, new.count) == (True, 1)
    page = await alarms.alarms(NORTH, PageRequest(1), cleared=True)
    rest = await alarms.alarms(NORTH, PageRequest(1, page.next), cleared=True)
    assert [(one.id, one.cleared) for one in (*page.items, *rest.items)] == [(new.id, None), (first.id, NOW + 6)]


async def test_acknowledging_keeps_the_first_who_did(records: Records) -> None:
    alarm = await records.alarms.raise_alarm(NORTH, AWAY, now=NOW)
    await records.alarms.acknowledge(NORTH, alarm.id, now=NOW + 1, event=EVENT)
    other = msgspec.structs.replace(EVENT, actor="someone else")
    seen = await records.alarms.acknowledge(NORTH, alarm.id, now=NOW + 2, event=other)
    assert (seen.acknowledged, seen.acknowledged_by) == (NOW + 1, "invented")
    with pytest.raises(NotFoundError):
        await records.alarms.acknowledge(SOUTH, alarm.id, now=NOW, event=EVENT)
    assert (await records.alarms.alarms(SOUTH)).items == ()


async def test_what_is_looked_for_is_kept_raised_and_written_only_when_it_changes(records: Records) -> None:
    alarms = records.alarms
    other = msgspec.structs.replace(AWAY, subject="annex")
    await alarms.raise_alarm(NORTH, msgspec.structs.replace(AWAY, condition=Condition.STORAGE), now=NOW)
    assert await alarms.keep(NORTH, Condition.LINK_AWAY, [AWAY], now=NOW + 1) == 1
    assert await alarms.keep(NORTH, Condition.LINK_AWAY, [AWAY], now=NOW + 2) == 0
    assert await alarms.keep(NORTH, Condition.LINK_AWAY, [AWAY, other], now=NOW + 3) == 1
    assert await alarms.keep(SOUTH, Condition.LINK_AWAY, [], now=NOW + 4) == 0
    raised = [(one.condition, one.subject, one.since, one.count) for one in (await alarms.alarms(NORTH)).items]
    assert raised == [
        (Condition.LINK_AWAY, "annex", NOW + 3, 1),
        (Condition.LINK_AWAY, "ward", NOW + 1, 1),
        (Condition.STORAGE, "ward", NOW, 1),
    ]
    assert await alarms.keep(NORTH, Condition.LINK_AWAY, [other], now=NOW + 5) == 1
    assert await alarms.keep(NORTH, Condition.LINK_AWAY, [], now=NOW + 6) == 1
    assert [one.condition for one in (await alarms.alarms(NORTH)).items] == [Condition.STORAGE]
    assert await alarms.keep(NORTH, Condition.LINK_AWAY, [AWAY], now=NOW + 7) == 1
    (again, *_) = (await alarms.alarms(NORTH)).items
    assert (again.since, again.cleared) == (NOW + 7, None)


async def test_what_is_kept_raised_and_gets_worse_is_to_be_acknowledged_again(records: Records) -> None:
    alarms = records.alarms
    worse = msgspec.structs.replace(AWAY, severity=Severity.CRITICAL, detail="silent, and now it matters")
    await alarms.keep(NORTH, Condition.LINK_AWAY, [AWAY], now=NOW)
    (first,) = (await alarms.alarms(NORTH)).items
    await alarms.acknowledge(NORTH, first.id, now=NOW + 1, event=EVENT)
    assert await alarms.keep(NORTH, Condition.LINK_AWAY, [AWAY], now=NOW + 2) == 0
    assert await alarms.keep(NORTH, Condition.LINK_AWAY, [worse], now=NOW + 3) == 1
    assert await alarms.keep(NORTH, Condition.LINK_AWAY, [worse], now=NOW + 4) == 0
    (found,) = (await alarms.alarms(NORTH)).items
    assert found == msgspec.structs.replace(first, severity=Severity.CRITICAL, detail=worse.detail, last=NOW + 3, count=2)
