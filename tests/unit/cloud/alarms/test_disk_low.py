"""The check of DISK_LOW: raised once in every organisation, cleared when space is free again."""

import pytest

from swallowtail.cloud.alarms.disk_low import ENOUGH, GIB, DiskLow, low_mark
from swallowtail.cloud.model.conditions import Condition
from swallowtail.cloud.model.operations import AlarmSearch
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import NORTH, NOW, SOUTH, tenants
from tests.doubles.memory_database import CommittedRows, MemoryDatabase
from tests.unit.cloud.alarms.examination import loop_of, sources_of


@pytest.mark.parametrize(
    ("size", "mark"), [(10 * GIB, GIB), (200 * GIB, 20 * GIB), (10_000 * GIB, 20 * GIB)]
)
def test_low_is_a_tenth_and_on_a_large_disk_an_amount(size: int, mark: float) -> None:
    assert low_mark(size) == mark


async def test_the_alarm_is_edge_triggered_with_a_margin() -> None:
    records = Records(MemoryDatabase(CommittedRows()))
    await tenants(records)
    free = [GIB]
    loop = loop_of(DiskLow, records, lambda: NOW, disk_usage=lambda: (10 * GIB, free[0]))

    async def seen(amount: float) -> list[tuple[Condition, int]]:
        free[0] = int(amount)
        await loop.examine()
        found = [(await records.alarms.alarms(tenant)).items for tenant in (NORTH, SOUTH)]
        assert len(found[0]) == len(found[1])
        return [(one.condition, one.count) for one in found[0]]

    assert await seen(GIB) == []
    assert await seen(GIB - 1) == [(Condition.DISK_LOW, 1)]
    assert await seen(0) == [(Condition.DISK_LOW, 1)]
    assert await seen(GIB * ENOUGH - 1) == [(Condition.DISK_LOW, 1)]
    assert await seen(GIB * ENOUGH) == []
    assert await seen(GIB * ENOUGH - 1) == []
    (alarm, *_) = (await records.alarms.alarms(NORTH, search=AlarmSearch(cleared=None))).items
    assert "GiB are free" in alarm.detail


async def test_a_disk_that_cannot_be_examined_defers_the_check() -> None:
    def usage() -> tuple[int, int]:
        raise OSError("stale file handle")

    records = Records(MemoryDatabase(CommittedRows()))
    check = DiskLow(sources_of(records, lambda: NOW, disk_usage=usage))
    with pytest.raises(StorageUnavailableError):
        await check.begin()
