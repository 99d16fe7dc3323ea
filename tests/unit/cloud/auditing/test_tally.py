"""Floods that anybody can cause are a few records, and what is counted is neither lost nor doubled
by a failure of the storage.
"""

import msgspec
import pytest

from swallowtail.cloud.auditing.tally import MOST, AuditTally
from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.paging import PageRequest
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.tenancy import OPERATOR, Tenant
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import EVENT, NORTH, NOW, SOUTH
from tests.doubles.memory_database import CommittedRows, MemoryDatabase


class Counted:
    """A tally over rows in memory."""

    def __init__(self) -> None:
        self.rows, self.now = CommittedRows(), NOW
        self.records = Records(MemoryDatabase(self.rows))
        self.tally = AuditTally(self.records.audit, lambda: self.now)

    async def events(self, tenant: Tenant = NORTH) -> list[AuditEvent]:
        page = await self.records.audit.records(tenant, PageRequest(500))
        return [one.event for one in reversed(page.items)]


@pytest.fixture
def counted() -> Counted:
    return Counted()


def of(address: str) -> AuditEvent:
    return msgspec.structs.replace(EVENT, address=address, detail="")


async def test_like_events_become_one_record_with_their_number_and_times(counted: Counted) -> None:
    for _ in range(10_000):
        counted.tally.note(NORTH, of("192.0.2.1"))
        counted.now += 0.001
    counted.tally.note(NORTH, of("192.0.2.2"))
    counted.tally.note(SOUTH, of("192.0.2.1"), 3, first=NOW - 60, last=NOW - 1)
    await counted.tally.flush()
    await counted.tally.flush()
    flood, single = await counted.events()
    assert single == of("192.0.2.2")
    assert flood.detail == "10000 times from 2027-01-15T08:00:00Z to 2027-01-15T08:00:09Z"
    assert [one.detail for one in await counted.events(SOUTH)] == [
        "3 times from 2027-01-15T07:59:00Z to 2027-01-15T07:59:59Z"
    ]


async def test_a_flood_from_everywhere_is_bounded_and_counted_whole(counted: Counted) -> None:
    for number in range(10_000):
        counted.tally.note(OPERATOR, of(f"10.{number // 250}.{number % 250}.1"))
    assert sum(len(events) for events in counted.tally._counts.values()) == MOST + 1
    counted.tally.note(NORTH, of("10.0.0.1"))  # one tenant's flood leaves another's place
    await counted.tally.flush()
    events = await counted.events(OPERATOR)
    assert len(events) == MOST + 1
    assert (events[-1].actor, events[-1].address) == ("(others)", "")
    assert events[-1].detail.startswith(f"{10_000 - MOST} times")
    assert len(await counted.events(NORTH)) == 1


async def test_what_could_not_be_appended_is_appended_later_once(counted: Counted) -> None:
    for tenant in (NORTH, SOUTH, OPERATOR):
        counted.tally.note(tenant, of("a"))
    counted.rows.unavailable = True
    with pytest.raises(StorageUnavailableError):
        await counted.tally.flush()
    counted.tally.note(NORTH, of("a"))
    counted.rows.unavailable = False
    await counted.tally.flush()
    assert [one.detail.partition(" from")[0] for one in await counted.events(NORTH)] == ["2 times"]
    assert [len(await counted.events(tenant)) for tenant in (SOUTH, OPERATOR)] == [1, 1]


@pytest.mark.parametrize("moment", [float("nan"), float("inf"), -1e300, 1e18])
async def test_an_impossible_time_is_no_failure(counted: Counted, moment: float) -> None:
    counted.tally.note(NORTH, of("a"), -5, first=moment, last=moment)
    counted.tally.note(NORTH, of("a"))
    await counted.tally.flush()
    assert len(await counted.events()) == 1
