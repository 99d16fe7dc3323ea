"""A disk that fills up: alarmed once in every organisation, cleared when there is room again."""

import pytest

from swallowtail.cloud.ingest.space import ENOUGH, GIB, DiskWatch, low_mark
from swallowtail.cloud.model.operations import AlarmSearch, Condition
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.records.memory import CommittedRows, MemoryDatabase
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import NORTH, NOW, SOUTH, tenants


@pytest.mark.parametrize(
    ("size", "mark"), [(10 * GIB, GIB), (200 * GIB, 20 * GIB), (10_000 * GIB, 20 * GIB)]
)
def test_low_is_a_tenth_and_on_a_large_disk_an_amount(size: int, mark: float) -> None:
    assert low_mark(size) == mark


async def test_the_alarm_is_edge_triggered_with_a_margin() -> None:
    records = Records(MemoryDatabase(CommittedRows()))
    await tenants(records)
    free = [GIB]
    watch = DiskWatch(
        lambda: (10 * GIB, free[0]),
        organisations=records.organisations,
        alarms=records.alarms,
        clock=lambda: NOW,
    )

    async def seen(amount: float) -> list[tuple[Condition, int]]:
        free[0] = int(amount)
        await watch.look()
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


async def test_a_disk_that_cannot_be_looked_at_is_storage_that_is_not_there() -> None:
    def usage() -> tuple[int, int]:
        raise OSError("stale file handle")

    records = Records(MemoryDatabase(CommittedRows()))
    watch = DiskWatch(
        usage, organisations=records.organisations, alarms=records.alarms, clock=lambda: NOW
    )
    with pytest.raises(StorageUnavailableError):
        await watch.look()
