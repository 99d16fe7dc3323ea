import asyncio
from datetime import date

import msgspec
import pytest

from swallowtail.calls.store import Stored
from swallowtail.cloud.model.audit import EventId
from swallowtail.cloud.model.conditions import Condition
from swallowtail.cloud.model.imaging import (
    IndexState,
    InstanceSearch,
    Origin,
    SeriesSearch,
    StudySearch,
    Way,
)
from swallowtail.cloud.model.paging import PageRequest
from swallowtail.cloud.model.port_errors import FencedError, NotFoundError
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

HIDDEN = InstanceSearch(hidden=True)


@pytest.fixture
async def ward(records: Records) -> Records:
    assert await admitted_link(records) == 1
    return records


async def commit(records: Records, *values: object, **more: object) -> int:
    return (await records.instances.commit(NORTH, arrival(*values, **more), now=NOW)).id


async def test_a_new_instance_gets_a_row_a_job_and_an_audit_record(ward: Records) -> None:
    before = (await ward.audit.verify(NORTH)).records
    receipt = await ward.instances.commit(NORTH, arrival(), now=NOW)
    assert receipt.stored is Stored.NEW
    instance = await ward.instances.instance(NORTH, receipt.id)
    assert (instance.identity, instance.visible, instance.state) == (
        arrival().identity,
        True,
        IndexState.WAITING,
    )
    assert (instance.origin.link, instance.origin.facility, instance.received) == (
        "ward",
        "clinic",
        NOW,
    )
    assert (await ward.inventory.index(NORTH)).waiting == 1
    record = (await ward.audit.records(NORTH)).items[0]
    assert (record.event.event, record.event.type) == (
        EventId.INSTANCES_TRANSFERRED,
        "instance.new",
    )
    assert (await ward.audit.verify(NORTH)).records == before + 1


@pytest.mark.parametrize(
    ("origin", "way"),
    [
        (
            Origin(
                link="ward",
                epoch=1,
                listener="store",
                device="us-1",
                peer="192.0.2.20",
                calling_ae="SONO1",
                called_ae="SWALLOWTAIL",
                association=b"a" * 16,
            ),
            Way.DEVICE,
        ),
        (
            Origin(
                link="ward", epoch=1, peer="192.0.2.30", calling_ae="ARCHIVE", association=b"b" * 16
            ),
            Way.RETRIEVE,
        ),
        (Origin(link=None, facility="clinic", actor="token-1", peer="192.0.2.40"), Way.API),
    ],
)
async def test_an_instance_remembers_how_it_came(ward: Records, origin: Origin, way: Way) -> None:
    receipt = await ward.instances.commit(
        NORTH, msgspec.structs.replace(arrival(), origin=origin), now=NOW
    )
    kept = (await ward.instances.instance(NORTH, receipt.id)).origin
    assert kept == msgspec.structs.replace(origin, facility="clinic", epoch=kept.epoch)
    assert kept.way is way
    (listed,) = (await ward.instances.instances(NORTH, HIDDEN)).items
    assert listed.origin == kept


async def test_the_same_again_is_a_success_without_a_new_row(ward: Records) -> None:
    first = await commit(ward)
    again = await ward.instances.commit(NORTH, arrival(), now=NOW + 1)
    assert (again.id, again.stored) == (first, Stored.SAME)
    assert len((await ward.instances.instances(NORTH, HIDDEN)).items) == 1
    assert (await ward.inventory.index(NORTH)).waiting == 1
    assert (await ward.audit.records(NORTH)).items[0].event.type == "instance.same"
    assert (await ward.alarms.alarms(NORTH)).items == ()


async def test_another_syntax_is_kept_and_noted_and_the_first_stays_visible(ward: Records) -> None:
    first = await commit(ward)
    other = await ward.instances.commit(NORTH, arrival(content="recoded", syntax=IMPLICIT), now=NOW)
    assert other.stored is Stored.OTHER_SYNTAX
    assert [(one.id, one.visible) for one in await ward.instances.copies(NORTH, "1.2.3")] == [
        (first, True),
        (other.id, False),
    ]
    assert (await ward.alarms.alarms(NORTH)).items == ()


async def test_other_bytes_are_kept_with_an_alarm_and_the_first_stays_visible(
    ward: Records,
) -> None:
    first = await commit(ward)
    other = await ward.instances.commit(NORTH, arrival(content="other pixels"), now=NOW)
    assert other.stored is Stored.CONFLICT
    (alarm,) = (await ward.alarms.alarms(NORTH)).items
    assert (alarm.condition, alarm.subject) == (Condition.INSTANCE_CONFLICT, "1.2.3")
    assert [one.id for one in (await ward.instances.instances(NORTH, InstanceSearch())).items] == [
        first
    ]
    assert [one.id for one in (await ward.instances.instances(NORTH, HIDDEN)).items] == [
        first,
        other.id,
    ]
    assert (
        await ward.instances.commit(NORTH, arrival(content="other pixels"), now=NOW)
    ).stored is Stored.SAME


async def test_choosing_a_copy_clears_the_alarm_of_the_conflict(ward: Records) -> None:
    first = await commit(ward)
    await ward.instances.commit(NORTH, arrival(content="other pixels"), now=NOW)
    assert len((await ward.alarms.alarms(NORTH)).items) == 1
    await ward.instances.choose(NORTH, first, now=NOW, event=EVENT)
    assert (await ward.alarms.alarms(NORTH)).items == ()
    await ward.instances.commit(NORTH, arrival(content="third pixels"), now=NOW)
    assert len((await ward.alarms.alarms(NORTH)).items) == 1, "a new conflict raises it again"


async def test_an_old_epoch_is_fenced_and_leaves_nothing(ward: Records) -> None:
    await ward.links.admit(digest("north/ward"), b"k" * 32, address="", now=NOW)
    before = (await ward.audit.verify(NORTH)).records
    with pytest.raises(FencedError):
        await ward.instances.commit(NORTH, arrival(epoch=1), now=NOW)
    with pytest.raises(FencedError):
        await ward.instances.commit(SOUTH, arrival(epoch=2), now=NOW)
    assert await ward.instances.copies(NORTH, "1.2.3") == ()
    assert (await ward.audit.verify(NORTH)).records == before


async def test_two_that_race_are_one_and_a_failing_one_fails_alone(ward: Records) -> None:
    arrivals = [arrival("1.2.4"), arrival("1.2.4"), arrival("1.2.4", epoch=9), arrival("1.2.5")]
    results = await asyncio.gather(
        *(ward.instances.commit(NORTH, one, now=NOW) for one in arrivals), return_exceptions=True
    )
    assert [
        type(result).__name__ if isinstance(result, Exception) else str(result.stored)
        for result in results
    ] == [
        "new",
        "same",
        "FencedError",
        "new",
    ]


async def test_the_same_uid_in_two_tenants_is_two_instances(ward: Records) -> None:
    await admitted_link(ward, SOUTH)
    mine = await commit(ward)
    theirs = await ward.instances.commit(SOUTH, arrival(content="theirs"), now=NOW)
    assert theirs.stored is Stored.NEW
    with pytest.raises(NotFoundError):
        await ward.instances.instance(SOUTH, mine)
    assert [one.id for one in await ward.instances.copies(SOUTH, "1.2.3")] == [theirs.id]
    assert await ward.instances.referenced(SOUTH, [digest("theirs"), digest("pixels")]) == {
        digest("theirs")
    }
    assert await ward.instances.documents(SOUTH, [mine]) == {}
    with pytest.raises(NotFoundError):
        await ward.instances.choose(SOUTH, mine, now=NOW, event=EVENT)


async def test_an_upload_is_bound_to_no_epoch_and_names_its_facility(records: Records) -> None:
    receipt = await records.instances.commit(NORTH, arrival(link=None, facility="clinic"), now=NOW)
    assert (await records.instances.instance(NORTH, receipt.id)).origin.facility == "clinic"


async def test_choosing_makes_one_copy_visible_and_counts_follow(ward: Records) -> None:
    first, other = await commit(ward), await commit(ward, content="other")
    await ward.index_jobs.settle(
        [indexed(first, study="1.5"), indexed(other, study="1.6")], now=NOW
    )
    assert [one.uid for one in (await ward.instances.studies(NORTH, StudySearch())).items] == [
        "1.5"
    ]
    assert (await ward.instances.choose(NORTH, other, now=NOW, event=EVENT)).visible
    assert [(one.id, one.visible) for one in await ward.instances.copies(NORTH, "1.2.3")] == [
        (other, True),
        (first, False),
    ]
    assert [one.uid for one in (await ward.instances.studies(NORTH, StudySearch())).items] == [
        "1.6"
    ]


@pytest.fixture
async def shared(ward: Records) -> Records:
    """One study UID in two facilities.

    Ada's two instances in the clinic, then another patient's one in the tower.
    """
    await admitted_link(ward, name="tower-link", facility="tower")
    ids = [await commit(ward, f"1.2.{number}", str(number)) for number in range(2)]
    ids.append(await commit(ward, "1.2.9", "9", link="tower-link"))
    tower = indexed(
        ids[2],
        modality="CT",
        name="Crane^Cora",
        patient_id="C-1",
        accession="A9",
        description="Knee",
    )
    await ward.index_jobs.settle(
        [indexed(ids[0]), indexed(ids[1], series="1.2.1.2", modality="SR"), tower], now=NOW
    )
    return ward


CLINIC, TOWER = frozenset({"clinic"}), frozenset({"tower"})


async def test_a_shared_study_uid_is_a_study_of_each_facility(shared: Records) -> None:
    port = shared.instances
    (clinic,) = (await port.studies(NORTH, StudySearch(facilities=CLINIC))).items
    (tower,) = (await port.studies(NORTH, StudySearch(facilities=TOWER))).items
    assert (clinic.patient_name, clinic.instances, clinic.series, clinic.modalities) == (
        "Heron^Ada",
        2,
        2,
        ("SR", "US"),
    )
    assert (tower.patient_name, tower.instances, tower.series, tower.modalities) == (
        "Crane^Cora",
        1,
        1,
        ("CT",),
    )
    assert {one.facility for one in (await port.studies(NORTH, StudySearch())).items} == {
        "clinic",
        "tower",
    }
    series = (await port.series(NORTH, SeriesSearch(study="1.2.1", facilities=TOWER))).items
    assert [(one.uid, one.modality, one.instances) for one in series] == [("1.2.1.1", "CT", 1)]
    pages = [await port.studies(NORTH, StudySearch(), PageRequest(1))]
    pages.append(await port.studies(NORTH, StudySearch(), PageRequest(1, pages[0].next)))
    assert {page.items[0].facility for page in pages} == {"clinic", "tower"}
    assert pages[1].next is None


@pytest.mark.parametrize(
    "theirs",
    [
        StudySearch(patient_name="Heron*"),
        StudySearch(patient_id="H-1"),
        StudySearch(accession="A1"),
        StudySearch(description="Abdomen"),
        StudySearch(modalities=("SR",)),
        StudySearch(modalities=("US",)),
    ],
)
async def test_no_search_says_what_another_facility_holds_under_the_same_uid(
    shared: Records, theirs: StudySearch
) -> None:
    port = shared.instances
    for search in (
        msgspec.structs.replace(theirs, facilities=TOWER),
        SeriesSearch(studies=theirs, facilities=TOWER),
        InstanceSearch(of_studies=theirs, facilities=TOWER),
    ):
        assert await port.count(NORTH, search, 9) == 0, search
    of_series = SeriesSearch(modalities=theirs.modalities or ("US",))
    assert await port.count(NORTH, InstanceSearch(of_series=of_series, facilities=TOWER), 9) == 0
    assert await port.count(NORTH, InstanceSearch(of_studies=theirs, facilities=CLINIC), 9) == 2


@pytest.mark.parametrize("content", ["pixels", "other pixels"])
async def test_the_same_instance_uid_in_two_facilities_is_two_visible_instances(
    ward: Records, content: str
) -> None:
    await admitted_link(ward, name="tower-link", facility="tower")
    first = await commit(ward)
    receipt = await ward.instances.commit(
        NORTH, arrival(content=content, link="tower-link"), now=NOW
    )
    assert receipt.stored is Stored.NEW
    kept = {one.id: one for one in await ward.instances.copies(NORTH, "1.2.3")}
    assert [(kept[key].visible, kept[key].stored) for key in (first, receipt.id)] == [
        (True, Stored.NEW)
    ] * 2
    again = await ward.instances.commit(NORTH, arrival(content=content, link="tower-link"), now=NOW)
    assert (again.id, again.stored) == (receipt.id, Stored.SAME)
    conditions = [one.condition for one in (await ward.alarms.alarms(NORTH)).items]
    assert conditions == ([Condition.INSTANCE_CONFLICT] if content != "pixels" else []), (
        "the organisation learns it"
    )


async def test_choosing_in_one_facility_leaves_the_others_as_they_are(ward: Records) -> None:
    await admitted_link(ward, name="tower-link", facility="tower")
    mine = [await commit(ward), await commit(ward, content="other")]
    theirs = [await commit(ward, content=one, link="tower-link") for one in ("other", "third")]
    outcomes = [indexed(one, study="1.5", series=f"1.5.{one}") for one in (*mine, *theirs)]
    await ward.index_jobs.settle(outcomes, now=NOW)
    before = (await ward.instances.studies(NORTH, StudySearch(facilities=TOWER))).items
    await ward.instances.choose(NORTH, mine[1], now=NOW, event=EVENT)
    visible = {one.id for one in await ward.instances.copies(NORTH, "1.2.3") if one.visible}
    assert visible == {mine[1], theirs[0]}
    assert (await ward.instances.studies(NORTH, StudySearch(facilities=TOWER))).items == before


async def test_a_facilitys_first_instance_names_its_study_whoever_came_before(
    shared: Records,
) -> None:
    await shared.index_jobs.rebuild(NORTH, study="1.2.1", now=NOW, event=EVENT)
    ids = [one.id for one in (await shared.instances.instances(NORTH, HIDDEN)).items]
    found = [
        indexed(ids[2], name="Crane^Cora", modality="CT"),
        indexed(ids[1], name="B"),
        indexed(ids[0], name="A"),
    ]
    await shared.index_jobs.settle(found, now=NOW)
    names = {
        one.facility: one.patient_name
        for one in (await shared.instances.studies(NORTH, StudySearch())).items
    }
    assert names == {"clinic": "A", "tower": "Crane^Cora"}


@pytest.fixture
async def indexed_ward(ward: Records) -> Records:
    """Three studies: of Ada in the clinic, of Béa in the clinic, of a third in the tower."""
    await admitted_link(ward, name="tower-link", facility="tower")
    ids = [await commit(ward, f"1.2.{number}", str(number)) for number in range(3)]
    ids.append(await commit(ward, "1.2.9", "9", link="tower-link"))
    outcomes = [
        indexed(ids[0]),
        indexed(ids[1], series="1.2.1.2", modality="SR"),
        indexed(
            ids[2],
            study="1.3",
            series="1.3.1",
            name="Bittern^Béa=鷺^美",
            patient_id="H_2",
            accession="A%",
            study_date=date(2026, 4, 1),
        ),
        indexed(
            ids[3],
            study="1.4",
            series="1.4.1",
            name="Crane^Cora Ann",
            patient_id="h_2",
            description="Knee 50%",
        ),
    ]
    await ward.index_jobs.settle(outcomes, now=NOW)
    return ward


@pytest.mark.parametrize(
    ("search", "found"),
    [
        (StudySearch(), {"1.2.1", "1.3", "1.4"}),
        (StudySearch(patient_name="heron^ada"), {"1.2.1"}),
        (StudySearch(patient_name="HERON*"), {"1.2.1"}),
        (StudySearch(patient_name="Heron"), set()),
        (StudySearch(patient_name="bittern^bea"), {"1.3"}),
        (StudySearch(patient_name="鷺*"), {"1.3"}),
        (StudySearch(patient_name="?eron^*"), {"1.2.1"}),
        (StudySearch(patient_name="*"), {"1.2.1", "1.3", "1.4"}),
        (StudySearch(patient_name="ann cra", fuzzy=True), {"1.4"}),
        (StudySearch(patient_name="ran", fuzzy=True), set()),
        (StudySearch(patient_id="H_2"), {"1.3"}),
        (StudySearch(patient_id="H_*"), {"1.3"}),
        (StudySearch(patient_id="?_2"), {"1.3", "1.4"}),
        (StudySearch(accession="A%"), {"1.3"}),
        (StudySearch(accession="A?"), {"1.2.1", "1.3", "1.4"}),
        (StudySearch(description="knee 50%*"), {"1.4"}),
        (StudySearch(modalities=("SR",)), {"1.2.1"}),
        (StudySearch(modalities=("S?", "CT")), {"1.2.1"}),
        (StudySearch(modalities=("CT", "MG")), set()),
        (StudySearch(date_from=date(2026, 3, 2)), {"1.3"}),
        (StudySearch(date_to=date(2026, 3, 31)), {"1.2.1", "1.4"}),
        (
            StudySearch(
                date_from=date(2026, 3, 1), date_to=date(2026, 3, 1), patient_name="Crane*"
            ),
            {"1.4"},
        ),
        (StudySearch(uids=("1.3", "1.4", "1.99")), {"1.3", "1.4"}),
        (StudySearch(received_since=NOW), {"1.2.1", "1.3", "1.4"}),
        (StudySearch(received_since=NOW + 1), set()),
        (StudySearch(facilities=frozenset({"tower"})), {"1.4"}),
        (StudySearch(facilities=frozenset()), set()),
    ],
)
async def test_studies_are_found(
    indexed_ward: Records, search: StudySearch, found: set[str]
) -> None:
    page = await indexed_ward.instances.studies(NORTH, search)
    assert {one.uid for one in page.items} == found
    assert (await indexed_ward.instances.studies(SOUTH, search)).items == ()


async def test_studies_carry_their_counts_and_page(indexed_ward: Records) -> None:
    page = await indexed_ward.instances.studies(NORTH, StudySearch(), PageRequest(2))
    rest = await indexed_ward.instances.studies(NORTH, StudySearch(), PageRequest(2, page.next))
    assert [one.uid for one in (*page.items, *rest.items)] == ["1.4", "1.3", "1.2.1"]
    ada = rest.items[0]
    assert (ada.series, ada.instances, ada.modalities, ada.patient_name) == (
        2,
        2,
        ("SR", "US"),
        "Heron^Ada",
    )
    assert (ada.received, ada.updated, ada.study_date) == (NOW, NOW, date(2026, 3, 1))


async def test_series_and_instances_are_found(indexed_ward: Records) -> None:
    port = indexed_ward.instances
    found = (await port.series(NORTH, SeriesSearch(study="1.2.1"))).items
    assert [(one.uid, one.modality, one.instances) for one in found] == [
        ("1.2.1.1", "US", 1),
        ("1.2.1.2", "SR", 1),
    ]
    assert [
        one.uid for one in (await port.series(NORTH, SeriesSearch(modalities=("S?", "CT")))).items
    ] == ["1.2.1.2"]
    assert [
        one.uid
        for one in (await port.series(NORTH, SeriesSearch(facilities=frozenset({"tower"})))).items
    ] == ["1.4.1"]
    assert (await port.series(SOUTH, SeriesSearch())).items == ()
    (instance,) = (
        await port.instances(NORTH, InstanceSearch(study="1.2.1", series="1.2.1.2"))
    ).items
    assert (instance.number, instance.rows, instance.columns, instance.frames) == (1, 240, 320, 2)
    tower = InstanceSearch(facilities=frozenset({"tower"}))
    assert [one.identity.sop_instance for one in (await port.instances(NORTH, tower)).items] == [
        "1.2.9"
    ]
    chosen = InstanceSearch(
        sop_instances=("1.2.0", "1.2.9"), state=IndexState.INDEXED, received_since=NOW
    )
    page = await port.instances(NORTH, chosen, PageRequest(1))
    rest = await port.instances(NORTH, chosen, PageRequest(1, page.next))
    assert [one.identity.sop_instance for one in (*page.items, *rest.items)] == ["1.2.0", "1.2.9"]
