"""Who may see what, and that every look leaves a trace."""

from collections.abc import AsyncIterator

import pytest

from swallowtail.cloud.model.audit import EventId
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.imaging import InstanceSearch, SeriesSearch, StudySearch
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.tenancy import OPERATOR, Principal, Role, Tenant
from swallowtail.cloud.query.part10 import header
from swallowtail.cloud.query.search import Query
from tests.conformance.invented import NORTH, NOW, SOUTH, admitted_link, indexed
from tests.unit.cloud.ingest.test_store_instance import DATA_SET, Cloud, body, cloud

__all__ = ["cloud"]


def caller(
    role: Role = Role.CLINICIAN, tenant: Tenant | None = NORTH, facilities: set[str] | None = None
) -> Caller:
    limit = None if facilities is None else frozenset(facilities)
    principal = Principal(id="t1", name="ada", role=role, tenant=tenant, facilities=limit)
    return Caller(principal, tenant or OPERATOR, "192.0.2.40")


@pytest.fixture
async def query(cloud: Cloud) -> AsyncIterator[Query]:
    await admitted_link(cloud.records, SOUTH)
    await cloud.store(body())
    await cloud.records.index_jobs.settle([indexed(1)], now=NOW)
    return Query(cloud.records.instances, cloud.blobs, cloud.records.audit, clock=lambda: NOW)


@pytest.mark.parametrize(
    ("who", "sees"),
    [
        (caller(), True),
        (caller(facilities={"clinic", "tower"}), True),
        (caller(facilities={"tower"}), False),
        (caller(facilities=set()), False),
        (caller(tenant=SOUTH), False),
    ],
)
async def test_tenant_and_facilities_bound_what_is_seen(
    query: Query, who: Caller, sees: bool
) -> None:
    assert bool((await query.studies(who, StudySearch())).items) == sees
    assert (
        bool((await query.series(who, SeriesSearch(facilities=frozenset({"clinic"})))).items)
        == sees
    )
    assert bool((await query.instances(who, InstanceSearch())).items) == sees
    assert bool(await query.copies(who, "1.2.3")) == sees
    instance = await query.instance(caller(), "1.2.3")
    assert bool(await query.documents(who, (instance,))) == sees
    if not sees:
        for refused in (
            query.instance(who, "1.2.3"),
            query.file(who, instance),
        ):
            with pytest.raises(NotFoundError):
                await refused


@pytest.mark.parametrize("who", [caller(Role.OPERATOR, None), caller(Role.AUDITOR)])
async def test_the_operator_and_the_auditor_see_no_patient_data(query: Query, who: Caller) -> None:
    with pytest.raises(NotFoundError):
        await query.studies(who, StudySearch())


async def test_a_file_is_the_header_and_the_bytes_as_received(query: Query) -> None:
    instance = await query.instance(caller(), "1.2.3", study="1.2.1", series="1.2.1.1")
    fetched = await query.file(caller(), instance)
    content = b"".join([piece async for piece in fetched.pieces()])
    expected = header(
        instance.sop_class,
        "1.2.3",
        instance.identity.transfer_syntax,
        sending_ae="SONO1",
        receiving_ae="SWALLOW",
    )
    assert content == expected + DATA_SET
    assert fetched.length == len(content)
    data_set = await query.data_set(caller(), instance)
    assert b"".join([piece async for piece in data_set.read(0, 10**9)]) == DATA_SET
    assert b"".join([piece async for piece in data_set.read(4, 5)]) == DATA_SET[4:9]


async def test_another_study_or_series_does_not_hold_the_instance(query: Query) -> None:
    for place in ({"study": "1.9"}, {"series": "1.9"}):
        with pytest.raises(NotFoundError):
            await query.instance(caller(), "1.2.3", **place)


async def test_searching_and_fetching_are_audited(query: Query, cloud: Cloud) -> None:
    await query.studies(caller(), StudySearch(patient_name="Heron*"))
    await query.file(caller(), await query.instance(caller(), "1.2.3"))
    fetched, searched = (
        record.event for record in (await cloud.records.audit.records(NORTH)).items[:2]
    )
    assert (searched.event, searched.actor, searched.address) == (EventId.QUERY, "t1", "192.0.2.40")
    assert "Heron*" in searched.detail
    assert (fetched.event, dict(fetched.objects)["instance"]) == (
        EventId.INSTANCES_ACCESSED,
        "1.2.3",
    )


async def test_a_blob_that_is_missing_is_said(query: Query, cloud: Cloud) -> None:
    instance = await query.instance(caller(), "1.2.3")
    cloud.platter.root.entries["blobs"].entries.clear()
    with pytest.raises(NotFoundError, match="backup"):
        await query.file(caller(), instance)
