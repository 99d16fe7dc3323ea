"""A document whose listeners use a second protocol, on its way to the session of a Link."""

import asyncio

import pytest

from swallowtail.calls.config import CONFIGURE, Configuration, dump
from swallowtail.cloud.model.conditions import Condition
from swallowtail.cloud.model.operations import Alarm
from swallowtail.cloud.model.paging import PageRequest
from swallowtail.runtime.tasks import Tasks
from tests.line_echo import LineEchoListener, registered
from tests.link_calls import CALLS
from tests.unit.cloud.links.test_authentication import EVENT, HERON, NOW, Place
from tests.unit.cloud.links.test_link_endpoint import World

DOCUMENT = dump(Configuration(listeners=(LineEchoListener(name="echo", port=7777, prefix="> "),)))


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    registered(monkeypatch)


@pytest.fixture
async def world():
    place = Place()
    await place.populate()
    await place.records.configuration.put(
        HERON, "l", DOCUMENT, author="admin", now=NOW, event=EVENT
    )
    async with Tasks("test") as tasks:
        yield World(place, tasks)


async def test_a_link_without_the_protocol_gets_no_document_and_an_alarm_says_why(world: World):
    async with world.connected(), asyncio.timeout(5):
        alarms: tuple[Alarm, ...] = ()
        while not alarms:
            await asyncio.sleep(0)
            alarms = tuple((await world.place.records.alarms.alarms(HERON, PageRequest())).items)
        (alarm,) = alarms
        assert alarm.condition is Condition.CONFIGURATION_REFUSED
        assert "does not support protocol line-echo; update Link" in alarm.detail
        running = (await world.place.records.configuration.running(HERON, ["l"]))["l"]
        assert [field for field, _ in running.problems] == ["$.listeners"]


async def test_a_link_with_the_protocol_gets_the_document_without_defaults(world: World):
    async with (
        world.connected(capabilities=("listener:dicom", "listener:line-echo", *CALLS)) as session,
        asyncio.timeout(5),
    ):
        async for channel in session.opened():
            if channel.opening.call == CONFIGURE:
                listener = b'{"name":"echo","port":7777,"prefix":"> ","protocol":"line-echo"}'
                assert b'{"listeners":[' + listener + b"]}" in channel.opening.body
                break
