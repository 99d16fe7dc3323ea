"""Purges of deletions on every adapter."""

import asyncio

import pytest
from sqlalchemy import Connection, func, select

from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.deletion import DeletionState, Scope
from swallowtail.cloud.model.delivery import (
    INSTANCE,
    DeliveryState,
    NewDelivery,
    Settlement,
)
from swallowtail.cloud.model.imaging import StudySearch
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.records import schema
from swallowtail.cloud.records.records import Records
from tests.conformance.deletions import (
    ALL,
    PACS,
    commit,
    delete,
    restore,
)
from tests.conformance.invented import (
    EVENT,
    NORTH,
    NOW,
    SOUTH,
    admitted_link,
    digest,
    indexed,
)

PURGED = AuditEvent(
    event=EventId.STUDY_DELETED, action=EventAction.DELETE, type="deletion.purge", actor="cloud"
)


async def purge(records: Records, name: str = "d1", **more: object) -> int:
    given = {"limit": 100, "now": NOW, "event": PURGED} | more
    return await records.deletions.purge(NORTH, name, **given)


async def everything(records: Records) -> dict[str, int]:
    """Count the rows of every table that can hold something of an instance."""
    names = (
        "instance",
        "deleted_instance",
        "index_document",
        "index_job",
        "study",
        "series",
        "delivery",
        "attempt",
        "routing",
    )

    def count(connection: Connection) -> dict[str, int]:
        found = {
            name: select(func.count()).select_from(schema.metadata.tables[name]) for name in names
        }
        return {
            name: connection.execute(statement).scalar_one() for name, statement in found.items()
        }

    return await records.deletions._database.read(count, tenant=NORTH)


async def test_a_purge_leaves_nothing_of_the_instances_but_their_blobs_for_a_while(
    ward: Records,
) -> None:
    kept = await ward.instances.instances(NORTH, ALL)
    assert len(kept.items) == 5
    await delete(ward, Scope(study="1.3"), "other")
    assert await restore(ward, "other") == 1
    await ward.index_jobs.settle(
        [indexed(4, study="1.3", series="1.3.1", name="Bittern^Bea")], now=NOW
    )
    wanted = [
        NewDelivery(target=PACS, kind=INSTANCE, reference=instance, cause="rule:r/1")
        for instance in (1, 2, 4)
    ]
    await ward.deliveries.add(NORTH, wanted, now=NOW)
    before = await everything(ward)
    assert (before["index_document"], before["study"], before["series"], before["delivery"]) == (
        4,
        2,
        3,
        3,
    )
    await delete(ward)
    assert await purge(ward) == 3
    assert await purge(ward) == 0
    after = await everything(ward)
    assert {name: after[name] for name in after if name not in {"index_job", "attempt"}} == {
        "instance": 2,
        "deleted_instance": 0,
        "index_document": 1,
        "study": 1,
        "series": 1,
        "delivery": 1,
        "routing": 1,
    }
    found = await ward.deletions.deletion(NORTH, "d1")
    assert (found.purged, found.state) == (3, DeletionState.PURGED)
    assert await ward.instances.referenced(NORTH, [digest("0")]) == frozenset()
    due = await ward.unreferenced_blobs.due(9, before=NOW)
    assert set(due) == {(NORTH, digest(content)) for content in "012"}
    assert [record.event.type for record in (await ward.audit.records(NORTH)).items].count(
        "deletion.purge"
    ) == 1


async def test_a_purge_of_a_part_keeps_the_study_and_the_series_that_are_left(
    ward: Records,
) -> None:
    await delete(ward, Scope(study="1.2.1", series="1.2.1.1", sop_instance="1.2.0"))
    await delete(ward, Scope(study="1.2.1", series="1.2.1.2"), "d2")
    assert await purge(ward) == 1
    assert (await everything(ward))["series"] == 3
    assert await purge(ward, "d2") == 1
    assert (await everything(ward))["series"] == 2
    (study,) = (await ward.instances.studies(NORTH, StudySearch(uids=("1.2.1",)))).items
    assert (study.instances, study.series) == (1, 1)


async def test_what_is_stored_again_survives_the_purge_and_keeps_its_blob(ward: Records) -> None:
    await delete(ward)
    again = await commit(ward, "1.2.0", "0")
    await ward.index_jobs.settle([indexed(again)], now=NOW)
    assert await purge(ward) == 3
    assert [one.id for one in await ward.instances.copies(NORTH, "1.2.0")] == [again]
    assert await ward.instances.referenced(NORTH, [digest("0")]) == {digest("0")}
    assert (NORTH, digest("0")) not in await ward.unreferenced_blobs.due(9, before=NOW + 99)
    assert [
        one.uid for one in (await ward.instances.studies(NORTH, StudySearch(uids=("1.2.1",)))).items
    ] == ["1.2.1"]


async def test_only_what_has_expired_is_due_for_the_purge(ward: Records) -> None:
    await delete(ward, until=NOW + 100)
    await delete(ward, Scope(study="1.3"), "d2", until=NOW + 50)
    assert await ward.deletions.expired(9, now=NOW + 49) == ()
    assert [(tenant, one.id) for tenant, one in await ward.deletions.expired(9, now=NOW + 100)] == [
        (NORTH, "d2"),
        (NORTH, "d1"),
    ]
    assert [one.id for _, one in await ward.deletions.expired(1, now=NOW + 100)] == ["d2"]
    await restore(ward, "d2")
    await purge(ward)
    assert await ward.deletions.expired(9, now=NOW + 1000) == ()


async def test_what_is_being_delivered_is_purged_later(ward: Records) -> None:
    await ward.deliveries.add(
        NORTH, [NewDelivery(target=PACS, kind=INSTANCE, reference=1, cause="rule:r/1")], now=NOW
    )
    (lease,) = (await ward.deliveries.claim(NORTH, PACS, 1, now=NOW, until=NOW + 25)).leases
    await delete(ward)
    assert await purge(ward, limit=1) == 1
    assert await purge(ward) == 1
    assert await purge(ward) == 0
    done = Settlement(
        tenant=NORTH, delivery=lease.delivery.id, token=lease.token, state=DeliveryState.DELIVERED
    )
    assert await ward.deliveries.settle([done], None, now=NOW)
    assert await purge(ward) == 1
    assert (await ward.deletions.deletion(NORTH, "d1")).state is DeletionState.PURGED


async def test_a_lapsed_lease_holds_up_no_purge_and_settles_nothing_afterwards(
    ward: Records,
) -> None:
    await ward.deliveries.add(
        NORTH, [NewDelivery(target=PACS, kind=INSTANCE, reference=1, cause="rule:r/1")], now=NOW
    )
    (lease,) = (await ward.deliveries.claim(NORTH, PACS, 1, now=NOW, until=NOW + 25)).leases
    await delete(ward)
    assert await purge(ward, now=NOW + 26) == 3
    done = Settlement(
        tenant=NORTH, delivery=lease.delivery.id, token=lease.token, state=DeliveryState.DELIVERED
    )
    assert await ward.deliveries.settle([done], None, now=NOW + 27) == frozenset()
    assert (await ward.deliveries.claim(NORTH, PACS, 9, now=NOW + 99, until=NOW + 199)).leases == ()


async def test_ids_of_purged_instances_are_not_given_again(ward: Records) -> None:
    await delete(ward, Scope(instance=5))
    assert await purge(ward) == 1
    assert await commit(ward, "1.5.1", "new") == 6


async def test_a_limited_purge_takes_its_part_alone(ward: Records) -> None:
    await admitted_link(ward, name="tower-link", facility="tower")
    shared = await commit(ward, "1.2.8", "8", link="tower-link")
    await ward.index_jobs.settle([indexed(shared)], now=NOW)
    await delete(ward)
    assert await purge(ward, facilities=frozenset({"tower"})) == 1
    assert [one.id for one in (await ward.deletions.deleted(NORTH, "d1")).items] == [1, 2, 3]
    with pytest.raises(NotFoundError):
        await purge(ward, facilities=frozenset({"mill"}))
    with pytest.raises(NotFoundError):
        await ward.deletions.purge(SOUTH, "d1", limit=9, now=NOW, event=None)


async def test_blobs_are_noted_once_while_no_row_refers_to_them(ward: Records) -> None:
    port = ward.unreferenced_blobs
    lost, found = digest("lost"), digest("0")
    assert await port.mark(NORTH, [lost, found], now=NOW) == 1
    assert await port.mark(NORTH, [lost], now=NOW + 50) == 0
    assert await port.mark(SOUTH, [found], now=NOW) == 1
    assert await port.due(9, before=NOW - 1) == ()
    both = await port.due(9, before=NOW)
    assert both == ((NORTH, lost), (SOUTH, found))
    assert await port.due(9, before=NOW, after=both[0]) == both[1:]
    assert await port.due(1, before=NOW) == both[:1]
    assert await port.condemn(NORTH, [lost], before=NOW - 1) == frozenset()
    assert await port.condemn(NORTH, [lost, found], before=NOW) == {lost}
    await commit(ward, "1.7.1", "lost")
    assert await port.condemn(NORTH, [lost], before=NOW) == frozenset()
    assert await port.due(9, before=NOW) == both[1:]
    await port.swept(SOUTH, [found], now=NOW, event=EVENT)
    assert await port.due(9, before=NOW) == ()


async def test_a_purge_begins_the_time_of_a_blob_anew(ward: Records) -> None:
    port = ward.unreferenced_blobs
    await port.mark(NORTH, [digest("late")], now=NOW)
    late = await commit(ward, "1.7.1", "late")
    await delete(ward, Scope(instance=late))
    assert await port.condemn(SOUTH, [digest("late")], before=NOW + 99) == frozenset()
    assert await purge(ward, now=NOW + 60) == 1
    assert await port.due(9, before=NOW + 59) == ()
    assert await port.due(9, before=NOW + 60) == ((NORTH, digest("late")),)


async def test_a_commit_that_was_asked_for_before_saves_its_blob_even_if_its_caller_has_gone(
    ward: Records,
) -> None:
    await ward.unreferenced_blobs.mark(NORTH, [digest("late")], now=NOW)
    # no owner in a test
    storing = asyncio.ensure_future(commit(ward, "1.7.1", "late"))  # noqa: TID251
    await asyncio.sleep(0)
    asking = asyncio.ensure_future(  # noqa: TID251
        ward.unreferenced_blobs.condemn(NORTH, [digest("late")], before=NOW)
    )
    await asyncio.sleep(0)
    storing.cancel()
    assert await asking == frozenset()
