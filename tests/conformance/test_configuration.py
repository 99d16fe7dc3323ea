import asyncio

import pytest

from swallowtail.cloud.model.operations import ConfigurationVersion, Running, UnknownDevice
from swallowtail.cloud.model.paging import PageRequest
from swallowtail.cloud.model.port_errors import ConflictError, NotFoundError
from swallowtail.cloud.records.configuration import MAX_UNKNOWN
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import EVENT, NORTH, NOW, SOUTH, admitted_link


@pytest.fixture
async def ward(records: Records) -> Records:
    await admitted_link(records)
    return records


async def put(records: Records, document: bytes, **more: object) -> ConfigurationVersion:
    return await records.configuration.put(
        NORTH, "ward", document, author="ada", now=NOW, event=EVENT, **more
    )


async def test_versions_count_from_one_and_the_same_bytes_are_no_new_one(ward: Records) -> None:
    assert await ward.configuration.desired(NORTH, "ward") is None
    first, same, second = (
        await put(ward, b"{}"),
        await put(ward, b"{}"),
        await put(ward, b'{"a":1}', comment="listener"),
    )
    assert (first.version, same, second.version) == (1, first, 2)
    assert await ward.configuration.desired(NORTH, "ward") == second
    assert await ward.configuration.version(NORTH, "ward", 1) == first


async def test_an_expected_version_guards_against_a_lost_update(ward: Records) -> None:
    await put(ward, b"1", expected=0)
    with pytest.raises(ConflictError):
        await put(ward, b"2", expected=0)
    results = await asyncio.gather(
        put(ward, b"3", expected=1), put(ward, b"4", expected=1), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == [
        "ConfigurationVersion",
        "ConflictError",
    ]


async def test_history_is_newest_first_without_documents_and_tells_of_rollbacks(
    ward: Records,
) -> None:
    for document in (b"1", b"2"):
        await put(ward, document)
    await put(ward, b"1", restored_from=1)
    page = await ward.configuration.history(NORTH, "ward", PageRequest(2))
    assert [(one.version, one.document, one.restored_from) for one in page.items] == [
        (3, b"", 1),
        (2, b"", None),
    ]
    rest = await ward.configuration.history(NORTH, "ward", PageRequest(2, page.next))
    assert [one.version for one in rest.items] == [1]


async def test_another_tenants_link_has_no_configuration(ward: Records) -> None:
    await put(ward, b"1")
    assert await ward.configuration.desired(SOUTH, "ward") is None
    with pytest.raises(NotFoundError):
        await ward.configuration.version(SOUTH, "ward", 1)
    with pytest.raises(NotFoundError):
        await ward.configuration.put(SOUTH, "ward", b"2", author="eve", now=NOW, event=EVENT)


async def test_what_runs_is_kept_per_link_and_an_older_epoch_is_ignored(ward: Records) -> None:
    running = Running(
        link="ward",
        connected=True,
        since=NOW,
        seen=NOW,
        epoch=4,
        version=2,
        report=b"r",
        problems=(("$.a", "bad"),),
    )
    await ward.configuration.note_running(NORTH, running)
    stale = Running(link="ward", connected=False, since=NOW + 1, seen=NOW + 1, epoch=3)
    await ward.configuration.note_running(NORTH, stale)
    assert await ward.configuration.running(NORTH, ["ward", "attic"]) == {"ward": running}
    session_ended = Running(link="ward", connected=False, since=NOW + 1, seen=NOW + 1, epoch=4)
    await ward.configuration.note_running(NORTH, session_ended)
    assert await ward.configuration.running(NORTH, ["ward"]) == {"ward": session_ended}
    assert await ward.configuration.running(SOUTH, ["ward"]) == {}


def device(
    address: str = "192.0.2.7", count: int = 1, first: float = NOW, last: float = NOW
) -> UnknownDevice:
    return UnknownDevice(
        link="ward",
        listener="us",
        address=address,
        calling_ae="NEW",
        called_ae="SWALLOW",
        reason="calling-ae",
        count=count,
        first=first,
        last=last,
    )


async def test_unknown_devices_add_up_and_are_forgotten_when_configured(ward: Records) -> None:
    port = ward.configuration
    await port.note_unknown(
        NORTH, [device(count=2, first=NOW, last=NOW + 5), device("192.0.2.8", last=NOW + 9)]
    )
    await port.note_unknown(NORTH, [device(count=3, first=NOW + 6, last=NOW + 7)])
    assert (await port.unknown_devices(NORTH)).items == (
        device("192.0.2.8", last=NOW + 9),
        device(count=5, first=NOW, last=NOW + 7),
    )
    assert (await port.unknown_devices(SOUTH)).items == ()
    await port.delete_unknown(NORTH, "ward", "192.0.2.8", "NEW")
    assert [one.address for one in (await port.unknown_devices(NORTH, link="ward")).items] == [
        "192.0.2.7"
    ]
    assert (await port.unknown_devices(NORTH, link="attic")).items == ()


async def test_a_scanner_cannot_fill_the_table_of_unknown_devices(ward: Records) -> None:
    many = [
        device(f"10.0.{number // 250}.{number % 250}", last=NOW + number)
        for number in range(MAX_UNKNOWN + 5)
    ]
    await ward.configuration.note_unknown(NORTH, many)
    kept = (await ward.configuration.unknown_devices(NORTH, PageRequest(MAX_UNKNOWN))).items
    assert len(kept) == MAX_UNKNOWN
    assert kept[-1].last == NOW + 5
