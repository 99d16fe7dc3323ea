"""Deletions on every adapter.

What is deleted is found nowhere, what comes again is new, what is restored is as it was.
"""

import asyncio
from typing import Any

import pytest

from swallowtail.calls.store import Stored
from swallowtail.cloud.model.audit import EventId
from swallowtail.cloud.model.deletion import DeletionState, Scope, Selection
from swallowtail.cloud.model.delivery import (
    INSTANCE,
    DeliverySearch,
    DeliveryState,
    NewDelivery,
    Routed,
    Settlement,
)
from swallowtail.cloud.model.imaging import (
    Arrival,
    IndexState,
    InstanceSearch,
    SeriesSearch,
    StudySearch,
)
from swallowtail.cloud.model.paging import PageRequest
from swallowtail.cloud.model.port_errors import DeletionRunningError, NotFoundError
from swallowtail.cloud.records.records import Records
from tests.conformance.deletions import (
    ALL,
    DELETED,
    PACS,
    STUDY,
    commit,
    delete,
    deletion,
    restore,
    visible,
)
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


async def test_a_deleted_study_is_found_nowhere_and_its_blobs_are_kept(ward: Records) -> None:
    assert await delete(ward) == 3
    port = ward.instances
    assert [one.uid for one in (await port.studies(NORTH, StudySearch())).items] == ["1.3"]
    assert [one.uid for one in (await port.series(NORTH, SeriesSearch())).items] == ["1.3.1"]
    assert [one.id for one in (await port.instances(NORTH, ALL)).items] == [4, 5]
    assert await port.copies(NORTH, "1.2.0") == ()
    assert await port.documents(NORTH, [1, 2, 3]) == {}
    with pytest.raises(NotFoundError):
        await port.instance(NORTH, 1)
    assert (await ward.rules.stored(NORTH, "1.2.1")).items == ()
    assert {routing.instance.id for routing in await ward.rules.unrouted(10, now=NOW)} == {4}
    assert await port.referenced(NORTH, [digest("0"), digest("9")]) == {digest("0")}
    record = (await ward.audit.records(NORTH)).items[0]
    assert (record.event.event, record.event.type) == (EventId.STUDY_DELETED, "study.delete")


async def test_a_deletion_tells_what_it_took_and_until_when(ward: Records) -> None:
    await delete(ward)
    await delete(ward, Scope(study="1.3"), "d2", deleted=NOW + 1)
    found = (await ward.deletions.deletions(NORTH)).items
    assert [(one.id, one.instances, one.restored, one.purged) for one in found] == [
        ("d2", 1, 0, 0),
        ("d1", 3, 0, 0),
    ]
    one = found[1]
    assert (one.scope, one.reason, one.deleted, one.deleted_by, one.until) == (
        STUDY,
        "wrong patient",
        NOW,
        "admin",
        NOW + 100,
    )
    assert one.state is DeletionState.DELETED
    first = await ward.deletions.deletions(NORTH, PageRequest(1))
    rest = await ward.deletions.deletions(NORTH, PageRequest(1, first.next))
    assert [*first.items, *rest.items] == [*found]
    assert [one.id for one in (await ward.deletions.deleted(NORTH, "d1")).items] == [1, 2, 3]
    assert (await ward.deletions.latest(NORTH, STUDY)) == one
    assert await ward.deletions.latest(NORTH, Scope(study="1.2.1", series="1.2.1.1")) is None


@pytest.mark.parametrize(
    ("scope", "removed"),
    [
        (Scope(study="1.2.1"), {"1.2.0", "1.2.1", "1.2.2"}),
        (Scope(study="1.2.1", series="1.2.1.1"), {"1.2.0", "1.2.1"}),
        (Scope(study="1.2.1", series="1.2.1.1", sop_instance="1.2.1"), {"1.2.1"}),
        (Scope(instance=3), {"1.2.2"}),
        (Scope(instance=5), {"1.2.4"}),
    ],
)
@pytest.mark.parametrize("limit", [1, 100])
async def test_a_scope_is_deleted_and_nothing_else(
    ward: Records, scope: Scope, removed: set[str], limit: int
) -> None:
    before = set(await visible(ward))
    assert await delete(ward, scope, limit=limit) == len(removed)
    assert before - set(await visible(ward)) == removed
    assert (await ward.deletions.deletion(NORTH, "d1")).instances == len(removed)
    assert await restore(ward) == len(removed)
    assert set(await visible(ward)) == before


def test_a_scope_names_something() -> None:
    with pytest.raises(ValueError, match="names"):
        Scope(series="1.2")


async def test_counts_and_attributes_follow_what_is_left(ward: Records) -> None:
    await delete(ward, Scope(study="1.2.1", series="1.2.1.1"))
    (study,) = (await ward.instances.studies(NORTH, StudySearch(uids=("1.2.1",)))).items
    assert (study.series, study.instances, study.modalities) == (1, 1, ("SR",))
    (job,) = await ward.index_jobs.claim(
        10, now=NOW, until=NOW + 9
    )  # the first came from what is deleted
    assert job.instance == 3
    await ward.index_jobs.settle(
        [indexed(3, series="1.2.1.2", modality="SR", description="of the report")], now=NOW
    )
    (study,) = (await ward.instances.studies(NORTH, StudySearch(uids=("1.2.1",)))).items
    assert study.description == "of the report"


async def test_what_is_not_there_cannot_be_deleted_and_leaves_no_deletion(ward: Records) -> None:
    before = (await ward.audit.verify(NORTH)).records
    for scope in (Scope(study="9.9"), Scope(study="1.2.1", series="1.3.1"), Scope(instance=99)):
        with pytest.raises(NotFoundError):
            await delete(ward, scope)
    assert (await ward.deletions.deletions(NORTH)).items == ()
    assert (await ward.audit.verify(NORTH)).records == before


async def test_another_tenant_deletes_sees_and_restores_nothing(ward: Records) -> None:
    await admitted_link(ward, SOUTH)
    with pytest.raises(NotFoundError):
        await ward.deletions.delete(
            SOUTH, deletion(Scope(instance=1)), limit=9, now=NOW, event=DELETED
        )
    await delete(ward)
    assert (await ward.deletions.deletions(SOUTH)).items == ()
    for call in (
        ward.deletions.deletion(SOUTH, "d1"),
        ward.deletions.deleted(SOUTH, "d1"),
        ward.deletions.restore(SOUTH, "d1", Selection(), limit=9, now=NOW, event=None),
    ):
        with pytest.raises(NotFoundError):
            await call


async def test_an_instance_that_comes_again_is_new_and_has_an_id_of_its_own(ward: Records) -> None:
    await delete(ward, Scope(instance=5))
    again = await ward.instances.commit(NORTH, arrival("1.2.4", "4"), now=NOW)
    assert (again.id, again.stored) == (6, Stored.NEW)
    assert (await ward.inventory.index(NORTH)).waiting == 1
    assert (await ward.instances.instance(NORTH, 6)).visible
    assert (await ward.deletions.deletion(NORTH, "d1")).state is DeletionState.DELETED


async def test_ids_are_given_once_even_if_the_newest_are_deleted(ward: Records) -> None:
    await delete(ward, Scope(instance=5))
    await delete(ward, Scope(instance=4), "d2")
    assert await commit(ward, "1.5.1", "new") == 6
    assert await restore(ward, "d1") == await restore(ward, "d2") == 1
    assert await commit(ward, "1.5.2", "newer") == 7


async def test_what_arrives_while_a_study_is_deleted_is_none_of_it(ward: Records) -> None:
    new = deletion()
    batch = await ward.deletions.delete(NORTH, new, limit=1, now=NOW, event=DELETED)
    late = await commit(ward, "1.2.7", "late")
    await ward.index_jobs.settle([indexed(late)], now=NOW)
    while batch.count:
        batch = await ward.deletions.delete(
            NORTH, new, last=batch.last, limit=1, now=NOW, event=DELETED
        )
    assert {"1.2.7", "1.2.3", "1.2.4"} == set(await visible(ward))
    assert (await ward.deletions.deletion(NORTH, "d1")).instances == 3


async def test_a_commit_and_a_deletion_that_race_leave_what_was_acknowledged_last(
    ward: Records,
) -> None:
    for turn in range(20):
        scope = Scope(study="1.2.1", series="1.2.1.1", sop_instance="1.2.0")
        store = ward.instances.commit(NORTH, arrival("1.2.0", "0"), now=NOW)
        remove = ward.deletions.delete(
            NORTH, deletion(scope, f"d{turn}"), limit=9, now=NOW, event=DELETED
        )
        if turn % 2:
            receipt, _ = await asyncio.gather(store, remove)
        else:
            _, receipt = await asyncio.gather(remove, store)
        copies = await ward.instances.copies(NORTH, "1.2.0")
        assert [one.id for one in copies] == ([] if receipt.stored is Stored.SAME else [receipt.id])
        await ward.index_jobs.settle([indexed(one.id) for one in copies], now=NOW)
        if not copies:
            await restore(ward, f"d{turn}")


async def test_restoring_brings_everything_back_as_it_was(ward: Records) -> None:
    port = ward.instances
    before = (
        await port.studies(NORTH, StudySearch()),
        await port.series(NORTH, SeriesSearch()),
        await port.instances(NORTH, ALL),
    )
    documents = await port.documents(NORTH, [1, 2, 3])
    await delete(ward)
    assert await restore(ward) == 3
    assert await restore(ward) == 0
    after = (
        await port.studies(NORTH, StudySearch()),
        await port.series(NORTH, SeriesSearch()),
        await port.instances(NORTH, ALL),
    )
    assert after == before
    assert await port.documents(NORTH, [1, 2, 3]) == documents
    assert (await ward.deletions.deletion(NORTH, "d1")).state is DeletionState.RESTORED
    assert await ward.deletions.latest(NORTH, STUDY) is None
    types = [record.event.type for record in (await ward.audit.records(NORTH)).items]
    assert types[:2] == ["deletion.restore", "study.delete"]


async def test_a_part_is_restored(ward: Records) -> None:
    await delete(ward)
    assert await restore(ward, selection=Selection(series=("1.2.1.2",))) == 1
    assert await restore(ward, selection=Selection(instances=(1, 4))) == 1
    assert set(await visible(ward)) == {"1.2.0", "1.2.2", "1.2.3", "1.2.4"}
    found = await ward.deletions.deletion(NORTH, "d1")
    assert (found.restored, found.state) == (2, DeletionState.DELETED)
    assert [one.id for one in (await ward.deletions.deleted(NORTH, "d1")).items] == [2]


async def test_restored_instances_are_indexed_again_and_rules_do_not_act_twice(
    ward: Records,
) -> None:
    pending = await ward.rules.unrouted(10, now=NOW)
    await ward.rules.routed(
        NORTH, [Routed(instance=one.instance.id) for one in pending], [], now=NOW
    )
    await delete(ward)
    await restore(ward)
    assert {job.instance for job in await ward.index_jobs.claim(10, now=NOW, until=NOW + 9)} == {
        1,
        2,
        3,
    }
    await ward.index_jobs.settle([indexed(1), indexed(2), indexed(3, series="1.2.1.2")], now=NOW)
    assert await ward.rules.unrouted(10, now=NOW) == ()


async def test_what_was_stored_again_stays_in_the_deletion(ward: Records) -> None:
    await delete(ward)
    again = await commit(ward, "1.2.0", "0")
    assert await restore(ward) == 2
    assert await restore(ward) == 0
    assert [one.id for one in await ward.instances.copies(NORTH, "1.2.0")] == [again]
    assert [one.id for one in (await ward.deletions.deleted(NORTH, "d1")).items] == [1]


async def test_a_restored_copy_does_not_take_the_place_of_one_that_came_since(
    ward: Records,
) -> None:
    await delete(ward)
    other = await commit(ward, "1.2.0", "corrected")
    await restore(ward)
    assert [(one.id, one.visible) for one in await ward.instances.copies(NORTH, "1.2.0")] == [
        (other, True),
        (1, False),
    ]


async def test_all_copies_go_and_come_together_and_the_chosen_one_is_shown(ward: Records) -> None:
    recoded = await commit(ward, "1.2.0", "recoded", syntax=IMPLICIT)
    await ward.index_jobs.settle([indexed(recoded)], now=NOW)
    await ward.instances.choose(NORTH, recoded, now=NOW, event=EVENT)
    assert await delete(ward, limit=1) == 4
    assert await restore(ward, limit=1) == 1
    while await restore(ward, limit=1):
        pass
    assert [(one.id, one.visible) for one in await ward.instances.copies(NORTH, "1.2.0")] == [
        (recoded, True),
        (1, False),
    ]


async def test_a_deletion_that_runs_beside_a_restoration_can_be_restored(ward: Records) -> None:
    """It takes what the other has just restored.

    The same instance twice, and two copies that were visible in turn.
    """
    once, whole = (
        Scope(study="1.2.1", series="1.2.1.1", sop_instance="1.2.0"),
        deletion(STUDY, "whole"),
    )
    await delete(ward, once)
    for content in ("0", "other"):
        again = await commit(ward, "1.2.0", content)
        await ward.index_jobs.settle([indexed(again)], now=NOW)
        await delete(ward, Scope(instance=again), content)
    final = await commit(ward, "1.2.0", "0")
    await ward.index_jobs.settle([indexed(final)], now=NOW)
    batch = await ward.deletions.delete(NORTH, whole, limit=99, now=NOW, event=DELETED)
    for name in ("d1", "other"):
        assert await restore(ward, name) == 1
        await ward.deletions.delete(NORTH, whole, last=batch.last, limit=99, now=NOW, event=DELETED)
    while await restore(ward, "whole"):
        pass
    copies = await ward.instances.copies(NORTH, "1.2.0")
    assert ([one.visible for one in copies], len({one.identity.sha256 for one in copies})) == (
        [True, False],
        2,
    )


async def test_without_its_visible_copy_a_uid_shows_the_first_that_is_left_and_the_alarm_ends(
    ward: Records,
) -> None:
    other = await commit(ward, "1.2.0", "other")
    assert [alarm.subject for alarm in (await ward.alarms.alarms(NORTH)).items] == [
        "1.2.0",
        "1.2.4",
    ]
    await delete(ward, Scope(instance=1))
    assert [(one.id, one.visible) for one in await ward.instances.copies(NORTH, "1.2.0")] == [
        (other, True)
    ]
    assert [alarm.subject for alarm in (await ward.alarms.alarms(NORTH)).items] == ["1.2.4"]
    await delete(ward, Scope(instance=5), "d2")
    assert (await ward.alarms.alarms(NORTH)).items == ()


async def test_facilities_limit_what_is_deleted_seen_and_restored(ward: Records) -> None:
    await admitted_link(ward, name="tower-link", facility="tower")
    shared = await commit(ward, "1.2.8", "8", link="tower-link")
    await ward.index_jobs.settle([indexed(shared)], now=NOW)
    tower, clinic = frozenset({"tower"}), frozenset({"clinic"})
    assert await delete(ward, name="theirs", facilities=tower) == 1
    assert set(await visible(ward)) == {f"1.2.{number}" for number in range(5)}
    assert (await ward.deletions.deletions(NORTH, facilities=clinic)).items == ()
    with pytest.raises(NotFoundError):
        await ward.deletions.deletion(NORTH, "theirs", facilities=clinic)
    with pytest.raises(NotFoundError):
        await restore(ward, "theirs", facilities=clinic)
    await restore(ward, "theirs", facilities=tower)
    assert await delete(ward, name="both", deleted=NOW + 1) == 4
    (seen,) = (await ward.deletions.deletions(NORTH, PageRequest(1), facilities=tower)).items
    assert (seen.id, seen.instances) == ("both", 1)
    assert (await ward.deletions.latest(NORTH, STUDY, facilities=frozenset({"mill"}))) is None
    assert [
        one.id for one in (await ward.deletions.deleted(NORTH, "both", facilities=tower)).items
    ] == [shared]
    assert await restore(ward, "both", facilities=tower) == 1
    assert set(await visible(ward)) == {"1.2.8", "1.2.3", "1.2.4"}


async def test_the_same_uid_in_two_facilities_is_deleted_and_restored_apart(ward: Records) -> None:
    await admitted_link(ward, name="tower-link", facility="tower")
    theirs = await commit(ward, "1.2.0", "0", link="tower-link")
    await ward.index_jobs.settle([indexed(theirs)], now=NOW)
    await delete(ward, facilities=frozenset({"clinic"}))
    assert [(one.id, one.visible) for one in await ward.instances.copies(NORTH, "1.2.0")] == [
        (theirs, True)
    ]
    (study,) = (await ward.instances.studies(NORTH, StudySearch(uids=("1.2.1",)))).items
    assert (study.facility, study.instances) == ("tower", 1)
    assert await restore(ward) == 3
    found = {(one.id, one.visible) for one in await ward.instances.copies(NORTH, "1.2.0")}
    assert found == {(1, True), (theirs, True)}


async def test_what_is_deleted_while_it_is_indexed_appears_nowhere(ward: Records) -> None:
    late = await commit(ward, "1.2.7", "late")
    (job,) = await ward.index_jobs.claim(10, now=NOW, until=NOW + 9)
    assert job.instance == late
    await delete(ward, Scope(instance=late))
    await ward.index_jobs.settle(
        [indexed(late, study="1.7", series="1.7.1"), indexed(4, study="1.3", series="1.3.1")],
        now=NOW,
    )
    assert {one.uid for one in (await ward.instances.studies(NORTH, StudySearch())).items} == {
        "1.2.1",
        "1.3",
    }
    assert (await ward.inventory.index(NORTH)).waiting == 0
    await restore(ward)
    assert (await ward.instances.instance(NORTH, late)).state is IndexState.WAITING
    assert await ward.instances.documents(NORTH, [late]) == {}
    assert (await ward.inventory.index(NORTH)).waiting == 1


async def test_deliveries_that_wait_are_skipped_with_the_reason_and_their_lanes_go_on(
    ward: Records,
) -> None:
    wanted = [
        NewDelivery(target=PACS, kind=INSTANCE, reference=instance, cause="rule:r/1")
        for instance in (1, 2, 4)
    ]
    await ward.deliveries.add(NORTH, wanted, now=NOW)
    new = deletion()
    batch = await ward.deletions.delete(NORTH, new, limit=99, now=NOW, event=DELETED)
    assert batch.links == {"ward"}
    found = (await ward.deliveries.deliveries(NORTH, DeliverySearch())).items
    assert [(one.payload.reference, one.state) for one in found] == [
        (4, DeliveryState.PENDING),
        (2, DeliveryState.SKIPPED),
        (1, DeliveryState.SKIPPED),
    ]
    assert "was deleted" in found[1].detail
    (lease,) = (await ward.deliveries.claim(NORTH, PACS, 9, now=NOW, until=NOW + 9)).leases
    assert lease.delivery.payload.reference == 4


@pytest.mark.parametrize(
    "state", [DeliveryState.PENDING, DeliveryState.STOPPED, DeliveryState.DEAD_LETTER]
)
async def test_a_delivery_under_way_is_kept_if_it_arrives_and_ends_if_it_fails(
    ward: Records, state: DeliveryState
) -> None:
    wanted = [
        NewDelivery(
            target=PACS, kind=INSTANCE, reference=number, lane=f"{number}", cause="rule:r/1"
        )
        for number in (1, 2)
    ]
    await ward.deliveries.add(NORTH, wanted, now=NOW)
    first, second = (await ward.deliveries.claim(NORTH, PACS, 9, now=NOW, until=NOW + 9)).leases
    await delete(ward)
    arrived = Settlement(
        tenant=NORTH, delivery=first.delivery.id, token=first.token, state=DeliveryState.DELIVERED
    )
    failed = Settlement(
        tenant=NORTH,
        delivery=second.delivery.id,
        token=second.token,
        state=state,
        next_at=NOW + 5,
        detail="out of resources",
    )
    assert len(await ward.deliveries.settle([arrived, failed], None, now=NOW)) == 2
    found = {
        one.payload.reference: one
        for one in (await ward.deliveries.deliveries(NORTH, DeliverySearch())).items
    }
    assert (found[1].state, found[2].state) == (DeliveryState.DELIVERED, DeliveryState.SKIPPED)
    assert "was deleted" in found[2].detail
    assert (await ward.deliveries.claim(NORTH, PACS, 9, now=NOW + 99, until=NOW + 199)).leases == ()


async def test_the_alarm_of_a_dead_letter_is_cleared_with_its_instance(ward: Records) -> None:
    await ward.deliveries.add(
        NORTH, [NewDelivery(target=PACS, kind=INSTANCE, reference=1, cause="rule:r/1")], now=NOW
    )
    (lease,) = (await ward.deliveries.claim(NORTH, PACS, 9, now=NOW, until=NOW + 9)).leases
    dead = Settlement(
        tenant=NORTH, delivery=lease.delivery.id, token=lease.token, state=DeliveryState.DEAD_LETTER
    )
    await ward.deliveries.settle([dead], None, now=NOW)
    assert PACS.subject in {one.subject for one in (await ward.alarms.alarms(NORTH)).items}
    await delete(ward)
    assert PACS.subject not in {one.subject for one in (await ward.alarms.alarms(NORTH)).items}


async def test_rules_that_judged_an_instance_before_it_was_deleted_queue_nothing_of_it(
    ward: Records,
) -> None:
    judged = await ward.rules.unrouted(10, now=NOW)
    await delete(ward)
    wanted = [
        NewDelivery(target=PACS, kind=INSTANCE, reference=one.instance.id, cause="rule:r/1")
        for one in judged
    ]
    routed = [Routed(instance=one.instance.id) for one in judged]
    assert await ward.rules.routed(NORTH, routed, wanted, now=NOW) == 1
    (made,) = (await ward.deliveries.deliveries(NORTH, DeliverySearch())).items
    assert made.payload.reference == 4


async def test_a_person_cannot_send_what_is_deleted(ward: Records) -> None:
    await delete(ward)
    with pytest.raises(NotFoundError):
        await ward.deliveries.add(
            NORTH,
            [NewDelivery(target=PACS, kind=INSTANCE, reference=1, cause="person:p/1")],
            now=NOW,
        )


async def test_the_inventory_refers_to_the_blobs_of_what_is_deleted_too(ward: Records) -> None:
    before = await ward.inventory.blobs(NORTH)
    await delete(ward)
    assert await ward.inventory.blobs(NORTH) == before
    halves = await ward.inventory.blobs(NORTH, limit=2)
    assert before == halves + await ward.inventory.blobs(NORTH, after=halves[-1].sha256)


@pytest.mark.parametrize(
    ("scope", "more", "taken"),
    [
        (STUDY, {}, True),
        (Scope(study="1.2.1", series="1.2.1.1"), {}, True),
        (STUDY, {"facilities": frozenset({"clinic"})}, True),
        (Scope(study="1.3"), {}, False),
    ],
)
async def test_what_a_running_deletion_is_about_to_take_is_not_stored_once_more(
    ward: Records, scope: Scope, more: dict[str, Any], taken: bool
) -> None:
    """A repeat between two batches would be answered "stored" and deleted with the rest."""
    new = deletion(scope, **more)
    batch = await ward.deletions.delete(NORTH, new, limit=1, now=NOW, event=DELETED)
    again = await _left(ward)
    if taken:
        with pytest.raises(DeletionRunningError):
            await ward.instances.commit(NORTH, again, now=NOW)
    else:
        assert (await ward.instances.commit(NORTH, again, now=NOW)).stored is Stored.SAME
    while batch.count:
        batch = await ward.deletions.delete(
            NORTH, new, last=batch.last, limit=9, now=NOW, event=DELETED
        )
    stored = (await ward.instances.commit(NORTH, again, now=NOW)).stored
    assert stored is (Stored.NEW if taken else Stored.SAME)


async def test_a_deletion_that_a_crash_ended_holds_no_sender_up(ward: Records) -> None:
    await ward.deletions.delete(NORTH, deletion(), limit=1, now=NOW, event=DELETED)
    again = await _left(ward)
    with pytest.raises(DeletionRunningError):
        await ward.instances.commit(NORTH, again, now=NOW + 59)
    assert (await ward.instances.commit(NORTH, again, now=NOW + 60)).stored is Stored.SAME


async def _left(ward: Records) -> Arrival:
    """The first instance of series 1.2.1.1 that is still stored, as it arrives again."""
    search = InstanceSearch(study="1.2.1", series="1.2.1.1")
    left = (await ward.instances.instances(NORTH, search)).items[0].identity.sop_instance
    return arrival(left, left[-1])
