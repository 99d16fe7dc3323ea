"""The check of LINK_OFFLINE: raised once, cleared once; ends of sessions are recorded."""

import pytest

from swallowtail.cloud.alarms.link_offline import OFFLINE_AFTER, LinkOffline
from swallowtail.cloud.model.conditions import Condition
from swallowtail.cloud.model.link_session import LinkSession
from swallowtail.cloud.model.operations import Running
from tests.unit.cloud.alarms.examination import loop_of
from tests.unit.cloud.links.test_authentication import EVENT, HERON, NOW, Place
from tests.unit.cloud.web.conftest import Sessions


class Watch:
    """One bound Link, watched on a clock that the test turns."""

    def __init__(self, place: Place) -> None:
        self.place, self.sessions, self.now = place, Sessions(), NOW
        self.loop = loop_of(LinkOffline, place.records, lambda: self.now, sessions=self.sessions)

    def connect(self) -> None:
        self.sessions.live[HERON, "l"] = LinkSession(
            since=self.now, proven=self.now, address="", release="", epoch=1
        )

    async def after(self, seconds: float) -> list[tuple[Condition, int]]:
        """Advance the clock, examine, and return the alarms that are raised."""
        self.now += seconds
        await self.loop.examine()
        found = await self.place.records.alarms.alarms(HERON)
        return [(alarm.condition, alarm.count) for alarm in found.items]


@pytest.fixture
async def watch() -> Watch:
    place = Place()
    await place.populate()
    await place.judge(place.code)
    return Watch(place)


async def test_an_absence_is_alarmed_once_and_cleared_when_it_ends(watch: Watch) -> None:
    watch.connect()
    assert await watch.after(0) == []
    running = Running(link="l", connected=False, since=NOW, seen=NOW, epoch=1)
    watch.sessions.live.clear()
    await watch.place.records.configuration.note_running(HERON, running)
    assert await watch.after(OFFLINE_AFTER - 1) == []
    assert await watch.after(1) == [(Condition.LINK_OFFLINE, 1)]
    assert await watch.after(600) == [(Condition.LINK_OFFLINE, 1)]
    watch.connect()
    assert await watch.after(1) == []


async def test_a_session_that_a_dead_cloud_had_is_noted_as_ended(watch: Watch) -> None:
    kept = Running(link="l", connected=True, since=NOW - 5000, seen=NOW - 4000, epoch=1)
    await watch.place.records.configuration.note_running(HERON, kept)
    assert await watch.after(1) == [], "it has had no time to come back"
    running = (await watch.place.records.configuration.running(HERON, ["l"]))["l"]
    assert (running.connected, running.since) == (False, NOW + 1)
    assert await watch.after(OFFLINE_AFTER) == [(Condition.LINK_OFFLINE, 1)]


async def test_a_link_that_is_not_expected_is_not_missed(watch: Watch) -> None:
    assert await watch.after(OFFLINE_AFTER) == [(Condition.LINK_OFFLINE, 1)]
    await watch.place.records.links.revoke(HERON, "l", now=NOW, event=EVENT)
    assert await watch.after(1) == []
