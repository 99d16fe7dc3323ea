from swallowtail.calls.store import Committed, NotStored
from swallowtail.cloud.ingest.alarm import StorageAlarm
from swallowtail.cloud.model.conditions import Condition, Severity
from swallowtail.cloud.model.operations import Alarm
from tests.conformance.invented import NORTH, NOW
from tests.unit.cloud.ingest.test_store_instance import Cloud, body, cloud

__all__ = ["cloud"]


async def raised(cloud: Cloud) -> list[Alarm]:
    return [
        alarm
        for alarm in (await cloud.records.alarms.alarms(NORTH)).items
        if alarm.condition is Condition.STORAGE
    ]


async def test_a_full_disk_raises_one_alarm_and_the_next_success_clears_it(cloud: Cloud) -> None:
    assert isinstance(await cloud.store(body()), Committed)
    cloud.platter.full = True
    for content in (b"one", b"two"):
        assert isinstance(await cloud.store(body(content)), NotStored)
    (alarm,) = await raised(cloud)
    assert (alarm.severity, alarm.count) == (Severity.CRITICAL, 1)
    assert "no space left" in alarm.detail
    cloud.platter.full = False
    assert isinstance(await cloud.store(body(b"one")), Committed)
    assert await raised(cloud) == []


async def test_an_alarm_from_before_a_restart_is_cleared_by_the_first_success(cloud: Cloud) -> None:
    await StorageAlarm(cloud.records.alarms, clock=lambda: NOW).failed(NORTH, "full")
    assert len(await raised(cloud)) == 1
    assert isinstance(await cloud.store(body()), Committed)
    assert await raised(cloud) == []


async def test_a_database_that_is_down_neither_keeps_the_alarm_nor_stops_the_answer(
    cloud: Cloud,
) -> None:
    cloud.rows.unavailable = True
    assert isinstance(await cloud.store(body()), NotStored)
    cloud.rows.unavailable, cloud.platter.full = False, True
    assert isinstance(await cloud.store(body(b"another")), NotStored)
    assert len(await raised(cloud)) == 1
