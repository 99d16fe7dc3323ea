"""Unknown systems that knock.

One alarm for each address, until it is known, dismissed, or long silent.
"""

from typing import Any

import msgspec
import pytest

from swallowtail.calls.config import Configuration, Device, dump
from swallowtail.calls.dicom_listener import DicomListener
from swallowtail.cloud.alarms.unknown_device import FORGOTTEN, MAX_RAISED, UnknownDevices
from swallowtail.cloud.model.conditions import Condition
from swallowtail.cloud.model.operations import Alarm, UnknownDevice
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import EVENT, NORTH, NOW, SOUTH, admitted_link, tenants
from tests.doubles.memory_database import CommittedRows, MemoryDatabase
from tests.unit.cloud.alarms.examination import loop_of

SEEN = UnknownDevice(
    link="ward",
    listener="store",
    address="192.0.2.20",
    calling_ae="SONO1",
    called_ae="SWALLOWTAIL",
    reason="calling-ae",
    count=1,
    first=NOW,
    last=NOW,
)


class Place:
    def __init__(self) -> None:
        self.records = Records(MemoryDatabase(CommittedRows()))
        self.now = NOW
        self.loop = loop_of(UnknownDevices, self.records, lambda: self.now)

    async def knocks(self, **changes: Any) -> None:
        await self.records.configuration.note_unknown(
            NORTH, [msgspec.structs.replace(SEEN, **changes)]
        )

    async def configure(self, **changes: Any) -> None:
        made = {"name": "sono", "ae_title": "SONO1", "addresses": ("192.0.2.0/24",)} | changes
        listeners = (
            DicomListener(name="store", ae_title="SWALLOWTAIL", port=104),
            DicomListener(name="other", ae_title="X", port=1),
        )
        document = dump(Configuration(listeners=listeners, devices=(Device(**made),)))
        await self.records.configuration.put(
            NORTH, "ward", document, author="test", now=self.now, event=EVENT
        )

    async def alarms(self) -> list[Alarm]:
        await self.loop.examine()
        assert (await self.records.alarms.alarms(SOUTH)).items == ()
        return [*(await self.records.alarms.alarms(NORTH)).items]


@pytest.fixture
async def place() -> Place:
    made = Place()
    await tenants(made.records)
    await admitted_link(made.records)
    return made


async def test_an_address_is_alarmed_once_whatever_titles_it_tries(place: Place) -> None:
    assert await place.alarms() == []
    for number in range(5):
        await place.knocks(calling_ae=f"TRY{number}", first=NOW + number, last=NOW + number)
    (alarm,) = await place.alarms()
    assert (alarm.condition, alarm.subject, alarm.count) == (
        Condition.UNKNOWN_DEVICE,
        "ward/192.0.2.20",
        1,
    )
    assert "'TRY0' at 192.0.2.20" in alarm.detail
    await place.knocks()
    assert [one.count for one in await place.alarms()] == [1]
    await place.knocks(address="192.0.2.21")
    assert {one.subject for one in await place.alarms()} == {"ward/192.0.2.20", "ward/192.0.2.21"}


async def test_dismissing_clears_and_the_next_knock_raises_again(place: Place) -> None:
    await place.knocks()
    assert len(await place.alarms()) == 1
    await place.records.configuration.delete_unknown(NORTH, "ward", "192.0.2.20", "SONO1")
    assert await place.alarms() == []
    await place.knocks()
    assert len(await place.alarms()) == 1


@pytest.mark.parametrize(
    ("device", "knock", "known"),
    [
        ({}, {}, True),
        ({"ae_title": "SONO2"}, {}, False),
        ({"addresses": ("198.51.100.1",)}, {}, False),
        ({"listeners": ("other",)}, {}, False),
        ({"listeners": ("store",)}, {}, True),
        ({}, {"reason": "called-ae", "called_ae": "WRONG"}, False),
        ({}, {"address": "no address"}, False),
    ],
)
async def test_configuring_the_device_clears(
    place: Place, device: dict[str, Any], knock: dict[str, Any], known: bool
) -> None:
    await place.knocks(**knock)
    assert len(await place.alarms()) == 1
    await place.configure(**device)
    assert (await place.alarms() == []) is known


async def test_one_that_stays_away_for_a_day_is_forgotten(place: Place) -> None:
    await place.knocks()
    place.now = NOW + FORGOTTEN - 1
    assert len(await place.alarms()) == 1
    place.now += 1
    assert await place.alarms() == []


async def test_a_scan_of_the_network_raises_so_many_and_they_stay_the_same(place: Place) -> None:
    for number in range(MAX_RAISED + 30):
        await place.knocks(address=f"192.0.2.{number}", first=NOW + number, last=NOW + number)
    before = {one.id for one in await place.alarms()}
    assert len(before) == MAX_RAISED
    await place.knocks(address="198.51.100.1", first=NOW + 500, last=NOW + 500)
    assert {one.id for one in await place.alarms()} == before
