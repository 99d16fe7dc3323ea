"""From the index to the queues.

What the rules want is queued once, woken by what happens, whatever fails in between.
"""

import json
import zlib
from typing import Any

import msgspec
import pytest

from swallowtail.calls.config import Configuration, dump
from swallowtail.cloud.dispatch import delivery_creation as routing
from swallowtail.cloud.dispatch.delivery_creation import IDLE, POSTPONED, Router
from swallowtail.cloud.dispatch.rule_editing import Rulebook
from swallowtail.cloud.dispatch.rule_matching import LOOK_EVERY, LOST_REPORT
from swallowtail.cloud.dispatch.runner import topic
from swallowtail.cloud.dispatch.sites import ConfigurationCache
from swallowtail.cloud.model.delivery import Rule, RuleAction, RuleCondition
from swallowtail.runtime.tasks import Tasks
from tests.conformance.invented import EVENT, NORTH, SOUTH, admitted_link, arrival, indexed
from tests.unit.cloud.dispatch.stage import DESTINATION, PACS, Stage

ALL = Rule(
    id="r1", name="all", position=1, action=RuleAction(targets=(PACS,)), created=0.0, changed=0.0
)
WHEN_COMPLETE = msgspec.structs.replace(ALL, when_complete=True, quiet=30.0)


class Desk:
    """A stage with a router and a rulebook."""

    def __init__(self) -> None:
        self.stage = Stage()
        records = self.stage.records
        sites = ConfigurationCache(records.links, records.configuration)
        self.router = Router(records.rules, sites, self.stage.bus, clock=self.clock)
        self.book = Rulebook(records.rules, sites, records.archives, clock=self.clock)

    def clock(self) -> float:
        return self.stage.now

    async def acquire(self, *uids: str, **more: Any) -> None:
        for uid in uids:
            await self.stage.instance(uid, listener="store", **more)

    async def queued(self) -> list[str]:
        return [one.payload.identifier for one in await self.stage.deliveries()]


@pytest.fixture
async def desk() -> Desk:
    made = Desk()
    await made.stage.populate()
    return made


async def test_what_is_indexed_is_queued_once_in_order_and_its_queue_is_woken(desk: Desk) -> None:
    await desk.book.put(NORTH, ALL, event=EVENT)
    await desk.acquire("1.1", "1.2", "1.3")
    woken = desk.stage.bus.subscribe(topic("ward"))
    assert await desk.router.step() == 3
    await woken.wait()
    assert await desk.queued() == ["1.1", "1.2", "1.3"]
    assert await desk.router.step() == 0


async def test_a_backlog_from_before_the_rule_is_history(desk: Desk) -> None:
    await desk.acquire("1.1")
    desk.stage.now += 60
    await desk.book.put(NORTH, ALL, event=EVENT)
    await desk.acquire("1.2")
    desk.stage.now += 60
    await desk.book.put(NORTH, msgspec.structs.replace(ALL, position=2), event=EVENT)
    assert await desk.router.step() == 2
    assert await desk.queued() == ["1.2"]
    assert await desk.router.step() == 0


async def test_without_rules_nothing_waits_for_one(desk: Desk) -> None:
    await desk.acquire("1.1")
    assert await desk.router.step() == 1
    await desk.book.put(NORTH, ALL, event=EVENT)
    assert await desk.router.step() == 0


async def test_tenants_are_judged_by_their_own_rules(desk: Desk) -> None:
    records = desk.stage.records
    epoch = await admitted_link(records, SOUTH)
    await records.configuration.put(
        SOUTH,
        "ward",
        dump(Configuration(destinations=(DESTINATION,))),
        author="t",
        now=desk.stage.now,
        event=EVENT,
    )
    await desk.book.put(SOUTH, ALL, event=EVENT)
    await desk.acquire("1.1")
    theirs = arrival("1.9", epoch=epoch)
    theirs = msgspec.structs.replace(
        theirs, origin=msgspec.structs.replace(theirs.origin, listener="store")
    )
    kept = await records.instances.commit(SOUTH, theirs, now=desk.stage.now)
    await records.index_jobs.settle([indexed(kept.id, tenant=SOUTH)], now=desk.stage.now)
    assert await desk.router.step() == 2
    assert await desk.queued() == []
    (due,) = await records.deliveries.due(SOUTH, "ward")
    assert due.target == PACS


async def test_conditions_on_keywords_are_read_from_the_index(desk: Desk) -> None:
    rule = msgspec.structs.replace(
        ALL, condition=RuleCondition(tags=(("StudyDescription", "Abd*"),))
    )
    await desk.book.put(NORTH, rule, event=EVENT)
    records = desk.stage.records
    for uid, text in (("1.1", "Abdomen"), ("1.2", "Thorax")):
        made = arrival(uid, uid, epoch=desk.stage.epoch)
        made = msgspec.structs.replace(
            made, origin=msgspec.structs.replace(made.origin, listener="store")
        )
        kept = await records.instances.commit(NORTH, made, now=desk.stage.now)
        document = zlib.compress(json.dumps({"00081030": {"vr": "LO", "Value": [text]}}).encode())
        await records.index_jobs.settle(
            [msgspec.structs.replace(indexed(kept.id), document=document)], now=desk.stage.now
        )
    assert await desk.router.step() == 2
    assert await desk.queued() == ["1.1"]


async def test_a_complete_study_is_sent_when_its_association_has_ended_and_it_was_quiet(
    desk: Desk,
) -> None:
    await desk.book.put(NORTH, WHEN_COMPLETE, event=EVENT)
    await desk.acquire("1.1", "1.2")
    assert await desk.router.step() == 2
    desk.stage.now += 31
    assert await desk.router.step() == 2
    assert await desk.queued() == []  # its association may go on
    await desk.router.ended(NORTH, "ward", [b"a" * 16])
    desk.stage.now += 29
    assert await desk.router.step() == 2
    assert await desk.queued() == []  # quiet since the end
    desk.stage.now += 1
    assert await desk.router.step() == 2
    assert await desk.queued() == ["1.1", "1.2"]


async def test_a_late_instance_of_the_study_makes_it_wait_longer(desk: Desk) -> None:
    await desk.book.put(NORTH, WHEN_COMPLETE, event=EVENT)
    await desk.acquire("1.1")
    await desk.router.ended(NORTH, "ward", [b"a" * 16])
    desk.stage.now += 20
    await desk.acquire("1.2")
    desk.stage.now += 20
    await desk.router.step()
    assert await desk.queued() == []
    desk.stage.now += 10
    await desk.router.step()
    assert await desk.queued() == ["1.1", "1.2"]


async def test_a_report_that_was_lost_delays_a_study_and_no_more(desk: Desk) -> None:
    await desk.book.put(NORTH, WHEN_COMPLETE, event=EVENT)
    await desk.acquire("1.1")
    await desk.router.step()
    desk.stage.now += LOST_REPORT
    await desk.router.step()
    assert await desk.queued() == ["1.1"]


async def test_the_storage_may_fail_and_nothing_is_lost_or_doubled(desk: Desk) -> None:
    await desk.book.put(NORTH, ALL, event=EVENT)
    await desk.acquire("1.1")
    desk.stage.rows.unavailable = True
    assert await desk.router._step_safely() == 0
    desk.stage.rows.unavailable = False
    assert await desk.router._step_safely() == 1
    assert await desk.queued() == ["1.1"]


async def test_an_instance_that_cannot_be_judged_is_tried_later_and_holds_up_nobody(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, logged_errors: list[str]
) -> None:
    real = routing.decide

    def decide(one: Any, *rest: Any, **more: Any) -> Any:
        if one.instance.identity.sop_instance == "1.1":
            raise ZeroDivisionError
        return real(one, *rest, **more)

    await desk.book.put(NORTH, ALL, event=EVENT)
    await desk.acquire("1.1", "1.2")
    monkeypatch.setattr(routing, "decide", decide)
    assert await desk.router.step() == 2
    assert await desk.queued() == ["1.2"]
    monkeypatch.undo()
    assert len(logged_errors) == 1
    assert await desk.router.step() == 0
    desk.stage.now += POSTPONED
    assert await desk.router.step() == 1
    assert await desk.queued() == ["1.2", "1.1"]


async def test_it_runs_when_something_is_indexed_and_when_a_quiet_time_is_over(desk: Desk) -> None:
    async with Tasks("test") as tasks:
        tasks.spawn(desk.router.run(), name="router")
        await desk.book.put(NORTH, msgspec.structs.replace(WHEN_COMPLETE, quiet=0.05), event=EVENT)
        await desk.acquire("1.1")
        desk.router.wake()
        await desk.stage.until(lambda: bool(desk.router._later))
        assert desk.router._pause() <= LOOK_EVERY < IDLE
        await desk.router.ended(NORTH, "ward", [b"a" * 16])
        desk.stage.now += LOOK_EVERY

        async def sent() -> bool:
            desk.router.wake()
            return await desk.queued() == ["1.1"]

        await desk.stage.until(sent)
    assert topic("ward") not in desk.stage.bus._topics
