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
