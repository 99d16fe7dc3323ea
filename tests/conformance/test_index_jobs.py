import asyncio

import pytest

from swallowtail.cloud.model.imaging import IndexState, InstanceSearch, StudySearch
from swallowtail.cloud.model.indexing import FrameIndex, IndexedDocument, Quarantined
from swallowtail.cloud.model.operations import Condition
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import EVENT, NORTH, NOW, SOUTH, VALUES, admitted_link, arrival, indexed


@pytest.fixture
async def ids(records: Records) -> list[int]:
    await admitted_link(records)
    return [(await records.instances.commit(NORTH, arrival(f"1.2.{n}", str(n)), now=NOW + n)).id for n in range(4)]


async def test_a_claimed_job_is_nobody_elses_until_its_time_is_over(records: Records, ids: list[int]) -> None:
    jobs = records.index_jobs
    first, second = await asyncio.gather(*(jobs.claim(2, now=NOW, until=NOW + 30) for _ in range(2)))
    assert [job.instance for job in (*first, *second)] == ids
    assert (first[0].tenant, first[0].identity, first[0].attempts) == (NORTH, arrival("1.2.0", "0").identity, 0)
    assert await jobs.claim(9, now=NOW + 29, until=NOW + 60) == ()
    again = await jobs.claim(1, now=NOW + 30, until=NOW + 60)
    assert [(job.instance, job.attempts) for job in again] == [(ids[0], 1)]


async def test_a_lease_from_a_clock_that_has_jumped_holds_nobody_up(records: Records, ids: list[int]) -> None:
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
    assert [(job.instance, job.attempts) for job in again] == [(ids[0], 1), (ids[1], 1), (ids[2], 1), (ids[3], 0)]


async def test_settling_ends_the_job_and_keeps_what_was_found(records: Records, ids: list[int]) -> None:
    await records.index_jobs.claim(9, now=NOW, until=NOW + 30)
    await records.index_jobs.settle([indexed(ids[0])], now=NOW)
    assert await records.index_jobs.waiting() == 3
    frames = FrameIndex(spans=((100, 20), (128, 30)), encapsulated=True, values=VALUES)
    found = await records.instances.documents(NORTH, ids)
    assert found == {ids[0]: IndexedDocument(instance=ids[0], document=b"compressed json", frames=frames)}
    assert (await records.instances.instance(NORTH, ids[0])).state is IndexState.INDEXED


async def test_settling_twice_changes_nothing(records: Records, ids: list[int]) -> None:
    outcomes = [indexed(one) for one in ids]
    await records.index_jobs.settle(outcomes, now=NOW)
    before = (await records.instances.studies(NORTH, StudySearch())).items
    await records.index_jobs.settle(outcomes, now=NOW + 9)
    assert (await records.instances.studies(NORTH, StudySearch())).items == before
    assert (before[0].instances, before[0].received, before[0].updated) == (4, NOW, NOW + 3)


async def test_the_first_that_came_names_the_study_whatever_the_order(records: Records, ids: list[int]) -> None:
    await records.index_jobs.settle([indexed(ids[2], name="Heron^A")], now=NOW)
    await records.index_jobs.settle([indexed(ids[1], name="Heron^Ada")], now=NOW)
    await records.index_jobs.settle([indexed(ids[3], name="Heron^Adam")], now=NOW)
    assert (await records.instances.studies(NORTH, StudySearch())).items[0].patient_name == "Heron^Ada"


async def test_quarantine_keeps_the_instance_out_of_studies_and_raises_an_alarm(records: Records, ids: list[int]) -> None:
    await records.index_jobs.settle([indexed(ids[0]), Quarantined(tenant=NORTH, instance=ids[1], problem="ends early")], now=NOW)
    instance = await records.instances.instance(NORTH, ids[1])
    assert (instance.state, instance.problem, instance.study) == (IndexState.QUARANTINED, "ends early", "")
    (alarm,) = (await records.alarms.alarms(NORTH)).items
    assert (alarm.condition, alarm.subject) == (Condition.INSTANCE_QUARANTINED, "1.2.1")
    assert (await records.instances.studies(NORTH, StudySearch())).items[0].instances == 1
    assert len((await records.instances.instances(NORTH, InstanceSearch(state=IndexState.QUARANTINED))).items) == 1


async def test_a_rebuild_gives_every_instance_a_job_and_corrects_the_index(records: Records, ids: list[int]) -> None:
    await records.index_jobs.settle([indexed(one, study="1.7", series="1.7.1", name="Wrong") for one in ids], now=NOW)
    assert await records.index_jobs.rebuild(NORTH, study="1.7", now=NOW, event=EVENT) == 4
    assert await records.index_jobs.rebuild(SOUTH, now=NOW, event=EVENT) == 0
    assert len(await records.index_jobs.claim(9, now=NOW, until=NOW + 1)) == 4
    await records.index_jobs.settle([indexed(one) for one in ids], now=NOW)
    (study,) = (await records.instances.studies(NORTH, StudySearch())).items
    assert (study.uid, study.instances, study.patient_name) == ("1.2.1", 4, "Heron^Ada")
    assert await records.index_jobs.waiting() == 0


async def test_a_rebuild_takes_over_what_waits_or_is_claimed_and_no_other_study(records: Records, ids: list[int]) -> None:
    await records.index_jobs.settle([indexed(ids[0], study="1.7"), indexed(ids[1], study="1.8")], now=NOW)
    await records.index_jobs.claim(9, now=NOW, until=NOW + 60)
    assert await records.index_jobs.rebuild(NORTH, now=NOW, event=EVENT) == 4
    assert [job.attempts for job in await records.index_jobs.claim(9, now=NOW, until=NOW + 1)] == [0] * 4
    await records.index_jobs.settle([indexed(one, study="1.7") for one in ids], now=NOW)
    assert await records.index_jobs.rebuild(NORTH, study="1.8", now=NOW, event=EVENT) == 0
    assert await records.index_jobs.waiting() == 0


async def test_an_outcome_of_another_tenants_instance_is_dropped(records: Records, ids: list[int]) -> None:
    await records.index_jobs.settle([indexed(ids[0], tenant=SOUTH)], now=NOW)
    assert (await records.instances.instance(NORTH, ids[0])).state is IndexState.WAITING
    assert (await records.instances.studies(SOUTH, StudySearch())).items == ()
