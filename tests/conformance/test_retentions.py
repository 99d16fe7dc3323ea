"""The retention of organisations, and the end of removed ones, on every adapter."""

import msgspec
import pytest
from sqlalchemy import Connection, func, select

from swallowtail.cloud.model.deletion import RetentionLock
from swallowtail.cloud.model.delivery import INSTANCE, NewDelivery, Rule, RuleAction, Target
from swallowtail.cloud.model.port_errors import ConflictError, NotFoundError
from swallowtail.cloud.model.tenancy import DAY, OPERATOR, OrganisationState, Tenant
from swallowtail.cloud.records import schema
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.records.retention import KEPT
from tests.conformance.invented import (
    EVENT,
    NORTH,
    NOW,
    SOUTH,
    admitted_link,
    arrival,
    digest,
    indexed,
)
from tests.conformance.test_deletions import deletion

PACS = Target(link="ward", destination="pacs")


async def rows_of(records: Records, tenant: Tenant) -> dict[str, int]:
    """Count the rows of an organisation in every table that has some."""

    def count(connection: Connection) -> dict[str, int]:
        found = {}
        for table in schema.metadata.sorted_tables:
            if "tenant" in table.c:
                number = connection.execute(
                    select(func.count()).where(table.c.tenant == tenant)
                ).scalar_one()
                found |= {table.name: number} if number else {}
        return found

    return await records.deletions._database.read(count, tenant=tenant)


async def populate(records: Records, tenant: Tenant) -> None:
    """Store three instances, one of them deleted, with a rule and a delivery."""
    await admitted_link(records, tenant)
    made = [
        (await records.instances.commit(tenant, arrival(f"1.2.{n}", str(n)), now=NOW)).id
        for n in range(3)
    ]
    await records.index_jobs.settle([indexed(one, tenant=tenant) for one in made], now=NOW)
    await records.deliveries.add(
        tenant,
        [NewDelivery(target=PACS, kind=INSTANCE, reference=made[1], cause="rule:r/1")],
        now=NOW,
    )
    rule = Rule(
        id="r", name="all", position=1, action=RuleAction(targets=(PACS,)), created=NOW, changed=NOW
    )
    await records.rules.put(tenant, rule, now=NOW, event=EVENT)
    scope = msgspec.structs.replace(deletion().scope, study="", instance=made[0])
    await records.deletions.delete(tenant, deletion(scope), limit=9, now=NOW, event=EVENT)


async def remove(records: Records, tenant: Tenant) -> None:
    await records.organisations.change_organisation(
        tenant, state=OrganisationState.REMOVED, now=NOW, event=EVENT
    )


async def test_a_retention_is_set_and_holds_for_one_organisation(records: Records) -> None:
    assert (await records.organisations.organisation(NORTH)).retention_days == 30
    assert (await records.retentions.set_days(NORTH, 7, now=NOW, event=EVENT)).retention_days == 7
    assert (await records.organisations.organisation(NORTH)).retention_days == 7
    assert (await records.organisations.organisation(SOUTH)).retention_days == 30
    with pytest.raises(NotFoundError):
        await records.retentions.set_days(Tenant("nobody"), 7, now=NOW, event=EVENT)


async def test_only_removed_organisations_end_and_only_when_their_retention_has_ended(
    records: Records,
) -> None:
    await records.retentions.set_days(NORTH, 7, now=NOW, event=EVENT)
    assert await records.retentions.ended(9, now=NOW + 999 * DAY) == ()
    await remove(records, NORTH)
    await remove(records, SOUTH)
    assert await records.retentions.ended(9, now=NOW + 7 * DAY - 1) == ()
    assert await records.retentions.ended(9, now=NOW + 7 * DAY) == (NORTH,)
    assert set(await records.retentions.ended(9, now=NOW + 30 * DAY)) == {NORTH, SOUTH}


async def test_of_an_ended_organisation_the_audit_and_the_blobs_to_sweep_are_left(
    records: Records,
) -> None:
    for tenant in (NORTH, SOUTH):
        await populate(records, tenant)
    await remove(records, NORTH)
    theirs, now = await rows_of(records, SOUTH), NOW + 31 * DAY
    assert set(await rows_of(records, NORTH)) == set(theirs)
    counts = [
        await records.retentions.purge(NORTH, limit=1, now=now, event=EVENT) for _ in range(4)
    ]
    assert counts == [1, 1, 1, 0]
    assert set(await rows_of(records, NORTH)) <= {table.name for table in KEPT}
    assert await rows_of(records, SOUTH) == theirs
    assert {blob for _, blob in await records.unreferenced_blobs.due(9, before=now)} == {
        digest(str(n)) for n in range(3)
    }
    assert await records.retentions.ended(9, now=now + 999 * DAY) == ()
    for chain in (NORTH, OPERATOR):
        assert (await records.audit.records(chain)).items[0].event.type == EVENT.type
        assert (await records.audit.verify(chain)).broken_at is None
    newest = await records.instances.commit(SOUTH, arrival("1.9.9", "new"), now=now)
    assert newest.id == 7, "ids are not given again"


async def test_a_lock_keeps_what_is_deleted_from_the_purge_and_its_organisation_from_the_end(
    records: Records,
) -> None:
    await populate(records, NORTH)
    whole = deletion(name="whole", until=NOW)
    await records.deletions.delete(NORTH, whole, limit=9, now=NOW, event=EVENT)
    lock = RetentionLock(study="1.2.1", reason="lawsuit", locked_by="admin", since=NOW)
    assert await records.retentions.lock(NORTH, lock, now=NOW, event=EVENT) == lock
    with pytest.raises(NotFoundError):
        await records.retentions.lock(SOUTH, lock, now=NOW, event=EVENT)
    with pytest.raises(ConflictError):
        await records.deletions.purge(NORTH, "whole", limit=9, now=NOW, event=EVENT)
    await remove(records, NORTH)
    later = NOW + 999 * DAY
    assert (
        await records.deletions.expired(9, now=later),
        await records.retentions.ended(9, now=later),
    ) == ((), ())
    await records.retentions.unlock(NORTH, "1.2.1", now=NOW, event=EVENT)
    assert len(await records.deletions.expired(9, now=later)) == 2
    assert await records.retentions.ended(9, now=later) == (NORTH,)
