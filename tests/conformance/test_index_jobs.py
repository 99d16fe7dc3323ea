import asyncio

import pytest

from swallowtail.cloud.model.conditions import Condition
from swallowtail.cloud.model.imaging import IndexState, InstanceSearch, StudySearch
from swallowtail.cloud.model.indexing import FrameIndex, IndexedDocument, Quarantined
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import (
    EVENT,
    NORTH,
    NOW,
    SOUTH,
    VALUES,
    admitted_link,
    arrival,
    indexed,
)


@pytest.fixture
async def ids(records: Records) -> list[int]:
    await admitted_link(records)
    return [
        (await records.instances.commit(NORTH, arrival(f"1.2.{n}", str(n)), now=NOW + n)).id
        for n in range(4)
    ]


async def test_a_claimed_job_is_nobody_elses_until_its_time_is_over(
    records: Records, ids: list[int]
) -> None:
    jobs = records.index_jobs
    first, second = await asyncio.gather(
        *(jobs.claim(2, now=NOW, until=NOW + 30) for _ in range(2))
    )
    assert [job.instance for job in (*first, *second)] == ids
    assert (first[0].tenant, first[0].identity) == (NORTH, arrival("1.2.0", "0").identity)
    assert await jobs.claim(9, now=NOW + 29, until=NOW + 60) == ()
    again = await jobs.claim(1, now=NOW + 30, until=NOW + 60)
    assert [job.instance for job in again] == [ids[0]]


async def test_a_lease_from_a_clock_that_has_jumped_holds_nobody_up(
    records: Records, ids: list[int]
) -> None:
    year = 365 * 86_400.0
    await records.index_jobs.claim(9, now=NOW + year, until=NOW + year + 30)
    assert len(await records.index_jobs.claim(9, now=NOW, until=NOW + 30)) == len(ids)
    assert await records.index_jobs.claim(9, now=NOW - 5, until=NOW + 25) == ()


async def test_released_claims_are_free_at_once(records: Records, ids: list[int]) -> None:
    jobs = records.index_jobs
    await jobs.claim(3, now=NOW, until=NOW + 300)
    assert await jobs.release() == 3
    assert await jobs.release() == 0
    again = await jobs.claim(9, now=NOW, until=NOW + 300)
    assert [job.instance for job in again] == ids


async def test_settling_ends_the_job_and_keeps_what_was_found(
    records: Records, ids: list[int]
) -> None:
    await records.index_jobs.claim(9, now=NOW, until=NOW + 30)
    await records.index_jobs.settle([indexed(ids[0])], now=NOW)
    assert (await records.inventory.index(NORTH)).waiting == 3
    frames = FrameIndex(spans=((100, 20), (128, 30)), encapsulated=True, values=VALUES)
    found = await records.instances.documents(NORTH, ids)
    assert found == {
        ids[0]: IndexedDocument(instance=ids[0], document=b"compressed json", frames=frames)
    }
    assert (await records.instances.instance(NORTH, ids[0])).state is IndexState.INDEXED


async def test_settling_twice_changes_nothing(records: Records, ids: list[int]) -> None:
    outcomes = [indexed(one) for one in ids]
    await records.index_jobs.settle(outcomes, now=NOW)
    before = (await records.instances.studies(NORTH, StudySearch())).items
    await records.index_jobs.settle(outcomes, now=NOW + 9)
    assert (await records.instances.studies(NORTH, StudySearch())).items == before
    assert (before[0].instances, before[0].received, before[0].updated) == (4, NOW, NOW + 3)


async def test_the_first_that_came_names_the_study_whatever_the_order(
    records: Records, ids: list[int]
) -> None:
    await records.index_jobs.settle([indexed(ids[2], name="Heron^A")], now=NOW)
    await records.index_jobs.settle([indexed(ids[1], name="Heron^Ada")], now=NOW)
    await records.index_jobs.settle([indexed(ids[3], name="Heron^Adam")], now=NOW)
    assert (await records.instances.studies(NORTH, StudySearch())).items[
        0
    ].patient_name == "Heron^Ada"


async def test_quarantine_keeps_the_instance_out_of_studies_and_raises_an_alarm(
    records: Records, ids: list[int]
) -> None:
    await records.index_jobs.settle(
        [indexed(ids[0]), Quarantined(tenant=NORTH, instance=ids[1], problem="ends early")], now=NOW
    )
    instance = await records.instances.instance(NORTH, ids[1])
    assert (instance.state, instance.problem, instance.study) == (
        IndexState.QUARANTINED,
        "ends early",
        "",
    )
    (alarm,) = (await records.alarms.alarms(NORTH)).items
    assert (alarm.condition, alarm.subject) == (Condition.INSTANCE_QUARANTINED, "1.2.1")
    assert (await records.instances.studies(NORTH, StudySearch())).items[0].instances == 1
    assert (
        len(
            (
                await records.instances.instances(
                    NORTH, InstanceSearch(state=IndexState.QUARANTINED)
                )
            ).items
        )
        == 1
    )


async def test_what_is_not_indexed_is_found_in_the_order_of_arrival(
    records: Records, ids: list[int]
) -> None:
    await records.index_jobs.settle(
        [indexed(ids[0]), Quarantined(tenant=NORTH, instance=ids[2], problem="x")], now=NOW
    )
    found = await records.instances.instances(NORTH, InstanceSearch(unindexed=True, hidden=True))
    states = [IndexState.WAITING, IndexState.QUARANTINED, IndexState.WAITING]
    assert [(one.id, one.state) for one in found.items] == list(zip(ids[1:], states, strict=True))
    assert await records.instances.count(NORTH, InstanceSearch(unindexed=True), 9) == 3
    elsewhere = InstanceSearch(unindexed=True, facilities=frozenset({"elsewhere"}))
    assert (await records.instances.instances(NORTH, elsewhere)).items == ()
    assert (await records.instances.instances(SOUTH, InstanceSearch(unindexed=True))).items == ()


async def test_what_is_quarantined_waits_again_and_its_alarm_is_cleared_when_it_is_read(
    records: Records, ids: list[int]
) -> None:
    jobs = records.index_jobs
    await jobs.settle([indexed(ids[0])], now=NOW)
    bad = [Quarantined(tenant=NORTH, instance=one, problem="ends early") for one in ids[1:3]]
    await jobs.claim(9, now=NOW, until=NOW + 60)
    await jobs.settle(bad, now=NOW)
    assert await jobs.requeue(SOUTH, None, now=NOW, event=EVENT) == 0
    assert await jobs.requeue(NORTH, None, now=NOW, event=EVENT) == 2
    again = await records.instances.instance(NORTH, ids[1])
    assert (again.state, again.problem) == (IndexState.WAITING, "")
    assert [job.instance for job in await jobs.claim(9, now=NOW, until=NOW + 60)] == ids[1:3]
    assert len((await records.alarms.alarms(NORTH)).items) == 2, "nothing is known yet"
    await jobs.settle([indexed(ids[1]), bad[1]], now=NOW + 5)
    (alarm,) = (await records.alarms.alarms(NORTH)).items
    assert (alarm.subject, alarm.count) == ("1.2.2", 2)
    assert "/unindexed-instances" in alarm.detail
    assert (await records.instances.instance(NORTH, ids[1])).state is IndexState.INDEXED


async def test_named_instances_are_queued_again_unless_they_are_indexed_or_elsewhere(
    records: Records, ids: list[int]
) -> None:
    jobs = records.index_jobs
    await jobs.settle(
        [indexed(ids[0]), Quarantined(tenant=NORTH, instance=ids[1], problem="x")], now=NOW
    )
    await jobs.claim(9, now=NOW, until=NOW + 60)
    facility = (await records.instances.instance(NORTH, ids[1])).origin.facility
    named = {"now": NOW, "event": EVENT}
    assert await jobs.requeue(NORTH, ids[:2], facilities=frozenset({"elsewhere"}), **named) == 0
    assert await jobs.requeue(NORTH, ids[:2], facilities=frozenset(), **named) == 0
    assert await jobs.requeue(NORTH, [ids[0], 999], **named) == 0
    assert (
        await jobs.requeue(NORTH, [ids[1], ids[3]], facilities=frozenset({facility}), **named) == 2
    )
    assert [job.instance for job in await jobs.claim(9, now=NOW, until=NOW + 60)] == [
        ids[1],
        ids[3],
    ]


async def test_the_alarm_of_a_uid_stays_while_another_copy_is_quarantined(
    records: Records, ids: list[int]
) -> None:
    jobs = records.index_jobs
    copy = (await records.instances.commit(NORTH, arrival("1.2.1", "other"), now=NOW)).id
    await jobs.settle(
        [Quarantined(tenant=NORTH, instance=one, problem="x") for one in (ids[1], copy)], now=NOW
    )

    async def raised() -> bool:
        alarms = (await records.alarms.alarms(NORTH)).items
        return any(one.condition is Condition.INSTANCE_QUARANTINED for one in alarms)

    await jobs.settle([indexed(copy)], now=NOW)
    assert await raised()
    await jobs.settle([indexed(ids[1])], now=NOW)
    assert not await raised()


async def test_a_rebuild_gives_every_instance_a_job_and_corrects_the_index(
    records: Records, ids: list[int]
) -> None:
    await records.index_jobs.settle(
        [indexed(one, study="1.7", series="1.7.1", name="Wrong") for one in ids], now=NOW
    )
    assert await records.index_jobs.rebuild(NORTH, study="1.7", now=NOW, event=EVENT) == 4
    assert await records.index_jobs.rebuild(SOUTH, now=NOW, event=EVENT) == 0
    assert len(await records.index_jobs.claim(9, now=NOW, until=NOW + 1)) == 4
    await records.index_jobs.settle([indexed(one) for one in ids], now=NOW)
    (study,) = (await records.instances.studies(NORTH, StudySearch())).items
    assert (study.uid, study.instances, study.patient_name) == ("1.2.1", 4, "Heron^Ada")
    assert (await records.inventory.index(NORTH)).waiting == 0


async def test_a_rebuild_takes_over_what_waits_or_is_claimed_and_no_other_study(
    records: Records, ids: list[int]
) -> None:
    await records.index_jobs.settle(
        [indexed(ids[0], study="1.7"), indexed(ids[1], study="1.8")], now=NOW
    )
    await records.index_jobs.claim(9, now=NOW, until=NOW + 60)
    assert await records.index_jobs.rebuild(NORTH, now=NOW, event=EVENT) == 4
    assert len(await records.index_jobs.claim(9, now=NOW, until=NOW + 1)) == 4
    await records.index_jobs.settle([indexed(one, study="1.7") for one in ids], now=NOW)
    assert await records.index_jobs.rebuild(NORTH, study="1.8", now=NOW, event=EVENT) == 0
    assert (await records.inventory.index(NORTH)).waiting == 0


async def test_an_outcome_of_another_tenants_instance_is_dropped(
    records: Records, ids: list[int]
) -> None:
    await records.index_jobs.settle([indexed(ids[0], tenant=SOUTH)], now=NOW)
    assert (await records.instances.instance(NORTH, ids[0])).state is IndexState.WAITING
    assert (await records.instances.studies(SOUTH, StudySearch())).items == ()
