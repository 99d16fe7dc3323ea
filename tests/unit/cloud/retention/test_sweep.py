"""The periodic checks of the purge and the sweep.

What they do when, and that a jump of the time of day makes them wait.
"""

import pytest

from swallowtail.calls.store import Committed, NotStored
from swallowtail.cloud.model.tenancy import DAY, OrganisationState
from swallowtail.cloud.retention.clock import SteadyClock
from swallowtail.cloud.retention.purge import Purge
from swallowtail.cloud.retention.sweep import FIRST_WALK, QUARANTINE, YOUNG, BlobSweep
from tests.conformance.invented import EVENT, NORTH, NOW
from tests.unit.cloud.ingest.test_store_instance import Cloud, body, cloud

__all__ = ["cloud"]


class Time:
    """A time of day that can jump, and one that cannot."""

    def __init__(self) -> None:
        self.wall, self.steady = NOW, 0.0

    def passes(self, seconds: float) -> None:
        self.wall, self.steady = self.wall + seconds, self.steady + seconds

    def clock(self) -> SteadyClock:
        return SteadyClock(lambda: self.wall, lambda: self.steady)


def swept(cloud: Cloud, time: Time) -> BlobSweep:
    records = cloud.records
    return BlobSweep(
        cloud.blobs,
        records.unreferenced_blobs,
        records.instances,
        records.inventory.tenants,
        clock=lambda: time.wall,
        steady=time.clock(),
    )


async def orphan(cloud: Cloud, content: bytes = b"orphan") -> None:
    cloud.rows.unavailable = True
    assert isinstance(await cloud.store(body(content)), NotStored)
    cloud.rows.unavailable = False


def blobs(cloud: Cloud) -> int:
    return sum(path.startswith("blobs/") for path in cloud.platter.files())


async def test_what_a_failed_commit_left_is_removed_a_week_after_a_walk_has_found_it(
    cloud: Cloud,
) -> None:
    time = Time()
    sweep = swept(cloud, time)
    cloud.platter.clock = lambda: time.wall
    assert isinstance(await cloud.store(body(b"kept")), Committed)
    await orphan(cloud)
    await sweep.look()
    assert await cloud.records.unreferenced_blobs.due(9, before=time.wall + DAY) == ()
    time.passes(max(FIRST_WALK, YOUNG) + 1)
    await sweep.look()
    assert len(await cloud.records.unreferenced_blobs.due(9, before=time.wall)) == 1
    time.passes(QUARANTINE - 1)
    await sweep.look()
    assert blobs(cloud) == 2
    time.passes(2)
    await sweep.look()
    assert blobs(cloud) == 1
    (record,) = [
        one
        for one in (await cloud.records.audit.records(NORTH)).items
        if one.event.type == "blobs.sweep"
    ]
    assert record.event.detail == "1 blobs"
    await sweep.look()
    assert blobs(cloud) == 1


async def test_a_blob_on_its_way_to_a_row_is_no_orphan(cloud: Cloud) -> None:
    time = Time()
    cloud.platter.clock = lambda: time.wall
    await orphan(cloud)
    time.passes(YOUNG - 1)
    assert await swept(cloud, time).walk() == 0
    time.passes(2)
    assert await swept(cloud, time).walk() == 1


async def test_a_removed_organisations_blobs_are_walked_too(cloud: Cloud) -> None:
    assert {tenant for tenant, _ in await cloud.records.inventory.tenants()} >= {NORTH}
    await orphan(cloud)
    assert await swept(cloud, _later()).walk() == 1


def _later() -> Time:
    time = Time()
    time.passes(YOUNG + DAY)
    return time


@pytest.mark.parametrize(
    ("jump", "trusted"),
    [(0.0, True), (200.0, True), (400.0, False), (366 * DAY, False), (-366 * DAY, True)],
)
def test_a_time_of_day_that_jumps_forward_is_not_trusted_for_a_day(
    jump: float, trusted: bool
) -> None:
    time = Time()
    clock = time.clock()
    time.passes(15)
    assert clock.now() == time.wall
    time.wall += jump
    assert clock.now() == (time.wall if trusted else None)
    time.passes(DAY - 1)
    assert clock.now() == (time.wall if trusted else None)
    time.passes(2)
    assert clock.now() == time.wall


async def test_a_removed_organisation_is_purged_and_swept_to_the_last_blob(cloud: Cloud) -> None:
    time, records = Time(), cloud.records
    cloud.platter.clock = lambda: time.wall
    purge = Purge(
        records.deletions, records.retentions, clock=lambda: time.wall, steady=time.clock()
    )
    assert isinstance(await cloud.store(body(b"kept until then")), Committed)
    await records.organisations.change_organisation(
        NORTH, state=OrganisationState.REMOVED, now=NOW, event=EVENT
    )
    time.passes(30 * DAY - 1)
    await purge.look()
    assert await cloud.instances() == 1
    time.passes(2)
    await purge.look()
    assert await cloud.instances() == 0
    sweep = swept(cloud, time)
    await sweep.look()
    assert blobs(cloud) == 1
    time.passes(QUARANTINE + 1)
    await sweep.look()
    assert blobs(cloud) == 0
    assert (await records.audit.verify(NORTH)).broken_at is None


async def test_nothing_is_swept_after_a_jump(cloud: Cloud) -> None:
    time = Time()
    sweep = swept(cloud, time)
    await orphan(cloud)
    time.passes(YOUNG + DAY)
    await sweep.look()
    time.wall += 8 * DAY
    await sweep.look()
    assert blobs(cloud) == 1
