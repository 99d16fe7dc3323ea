import pytest

from swallowtail.cloud.model.inventory import BlobReference, IndexCounts
from swallowtail.cloud.operations.check import references
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import (
    EVENT,
    IMPLICIT,
    NORTH,
    NOW,
    SOUTH,
    admitted_link,
    arrival,
    digest,
    indexed,
)


@pytest.fixture
async def ids(records: Records) -> list[int]:
    await admitted_link(records)
    arrivals = [
        arrival("1.2.1", "one"),
        arrival("1.2.2", "two"),
        arrival("1.2.2", "two", syntax=IMPLICIT),
    ]
    arrivals.append(arrival("1.2.1", "other bytes"))
    return [(await records.instances.commit(NORTH, one, now=NOW)).id for one in arrivals]


async def test_every_organisation_is_listed_the_removed_ones_too(records: Records) -> None:
    await records.organisations.change_organisation(SOUTH, state="removed", now=NOW, event=EVENT)  # type: ignore[arg-type]
    assert await records.inventory.tenants() == ((NORTH, "north"), (SOUTH, "south"))


async def test_each_blob_is_listed_once_whoever_sees_its_instances(
    records: Records, ids: list[int]
) -> None:
    expected = {
        BlobReference(digest("one"), 3, ids[0], 1),
        BlobReference(digest("two"), 3, ids[1], 2),
        BlobReference(digest("other bytes"), 11, ids[3], 1),
    }
    found = await records.inventory.blobs(NORTH)
    assert set(found) == expected
    assert [one.sha256 for one in found] == sorted(one.sha256 for one in expected)
    assert await records.inventory.blobs(SOUTH) == ()


async def test_pages_of_blobs_join_without_a_gap(records: Records, ids: list[int]) -> None:
    whole = await records.inventory.blobs(NORTH)
    first = await records.inventory.blobs(NORTH, limit=2)
    assert first + await records.inventory.blobs(NORTH, after=first[-1].sha256, limit=2) == whole
    assert tuple([one async for one in references(records.inventory, NORTH)]) == whole


async def test_the_index_is_counted(records: Records, ids: list[int]) -> None:
    assert await records.inventory.index(NORTH) == IndexCounts(
        waiting=4, quarantined=0, undocumented=()
    )
    await records.index_jobs.claim(9, now=NOW, until=NOW + 30)
    await records.index_jobs.settle([indexed(ids[0])], now=NOW)
    assert await records.inventory.index(NORTH) == IndexCounts(
        waiting=3, quarantined=0, undocumented=()
    )
    assert await records.inventory.index(SOUTH) == IndexCounts(
        waiting=0, quarantined=0, undocumented=()
    )
