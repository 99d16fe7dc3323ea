"""Deliveries over a session that a test plays.

Order, the next while the last awaits its response, failures, cuts, transcoding.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from swallowtail.calls.config import Configuration, DestinationTimeouts, dump
from swallowtail.calls.deliver import (
    About,
    DeliverAnswer,
    DeliverRequest,
    DeliveryPhase,
    NotDelivered,
)
from swallowtail.cloud.dispatch import connection
from swallowtail.cloud.dispatch.connection import LEASE
from swallowtail.cloud.dispatch.planner import CUTS_PER_ATTEMPT, MAX_SUSPECTED, OPEN_AFTER
from swallowtail.cloud.model.conditions import Condition
from swallowtail.cloud.model.delivery import (
    INSTANCE,
    BreakerState,
    Claim,
    DeliveryState,
    FailureSubject,
    NewDelivery,
    Target,
)
from swallowtail.runtime.tasks import Tasks
from tests.conformance.invented import EVENT, EXPLICIT, NORTH
from tests.turns import turns
from tests.unit.cloud.dispatch.stage import (
    ABORTED,
    DESTINATION,
    DOWN,
    OUT_OF_RESOURCES,
    PACS,
    REFUSED,
    SUCCESS,
    Stage,
    delivered,
)

DONE, WAITING, DEAD = DeliveryState.DELIVERED, DeliveryState.PENDING, DeliveryState.DEAD_LETTER
UIDS = ("1.1", "1.2", "1.3", "1.4")


async def test_what_waits_is_sent_in_order_byte_by_byte(stage: Stage, tasks: Tasks) -> None:
    await stage.queue(*UIDS)
    stage.serve(tasks)
    await stage.settled(DONE, DONE, DONE, DONE)
    assert stage.link.uids == list(UIDS)
    assert [body.decode() for _, body in stage.link.got] == list(UIDS)
    (first, _) = stage.link.got[0]
    assert (first.configuration, first.attempt, first.transfer_syntax, first.length) == (
        1,
        1,
        EXPLICIT,
        3,
    )
    assert first.expected[0].transfer_syntaxes == (EXPLICIT,)
    assert {one.sent_format for one in await stage.deliveries()} == {EXPLICIT}


async def test_what_is_queued_later_is_sent_when_the_bus_tells(stage: Stage, tasks: Tasks) -> None:
    stage.serve(tasks)
    await asyncio.sleep(0)
    await stage.queue("1.1")
    stage.pass_time(0)
    await stage.settled(DONE)


async def test_the_next_is_opened_while_the_last_awaits_its_response_and_no_more_than_that(
    stage: Stage, tasks: Tasks
) -> None:
    stage.link.hold = asyncio.Event()
    await stage.queue(*UIDS)
    stage.serve(tasks)
    await stage.until(lambda: len(stage.link.opened) == 2)
    assert await stage.states() == [DeliveryState.SENDING, DeliveryState.SENDING, WAITING, WAITING]
    first, second = stage.link.opened
    assert (first.behind, second.behind) == (0, first.delivery)
    stage.link.hold.set()
    await stage.settled(DONE, DONE, DONE, DONE)
    assert stage.link.uids == list(UIDS)


async def test_the_next_but_one_is_claimed_while_an_outcome_is_kept_and_begun_no_earlier(
    stage: Stage, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.link.hold, kept = asyncio.Event(), asyncio.Event()
    settle = stage.records.deliveries.settle

    async def slow(*arguments: Any, **more: Any) -> frozenset[int]:
        settled = await settle(*arguments, **more)
        await kept.wait()
        return settled

    monkeypatch.setattr(stage.records.deliveries, "settle", slow)
    await stage.queue(*UIDS)
    stage.serve(tasks)
    await stage.until(lambda: len(stage.link.opened) == 2)
    stage.link.hold.set()
    await stage.until(
        lambda: _states_are(stage, DONE, DeliveryState.SENDING, DeliveryState.SENDING, WAITING)
    )
    assert len(stage.link.opened) == 2
    kept.set()
    await stage.settled(DONE, DONE, DONE, DONE)
    assert stage.link.uids == list(UIDS)
    assert {one.tries for one in await stage.deliveries()} == {1}


async def test_the_next_is_begun_beside_the_commit_that_keeps_the_last_one(
    stage: Stage, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.link.hold, kept, calls = asyncio.Event(), asyncio.Event(), 0
    settle = stage.records.deliveries.settle

    async def slow(*arguments: Any, **more: Any) -> frozenset[int]:
        nonlocal calls
        calls += 1
        settled = await settle(*arguments, **more)
        if calls == 1:
            await stage.until(
                lambda: len(stage.link.got) == 2
            )  # so the second has arrived before its turn comes to be kept
        else:
            await kept.wait()
        return settled

    monkeypatch.setattr(stage.records.deliveries, "settle", slow)
    await stage.queue(*UIDS)
    stage.serve(tasks)
    await stage.until(lambda: len(stage.link.opened) == 2)
    stage.link.hold.set()
    await stage.until(lambda: len(stage.link.opened) == 3)
    assert calls == 2
    kept.set()
    await stage.settled(DONE, DONE, DONE, DONE)
    assert stage.link.uids == list(UIDS)
    assert {one.tries for one in await stage.deliveries()} == {1}


async def _states_are(stage: Stage, *states: DeliveryState) -> bool:
    return await stage.states() == list(states)


async def test_what_was_claimed_ahead_goes_back_when_the_one_before_it_fails(
    stage: Stage, tasks: Tasks
) -> None:
    stage.link.answer = lambda request, body: (
        DOWN if request.sop_instance == "1.2" else delivered(body)
    )
    await stage.queue(*UIDS)
    stage.serve(tasks)
    await stage.settled(DONE, WAITING, WAITING, WAITING)
    assert stage.link.uids == ["1.1"]
    stage.link.answer = SUCCESS
    await _time_until(stage, DONE, DONE, DONE, DONE)
    assert stage.link.uids == list(UIDS)


@pytest.mark.parametrize("failure", [DOWN, OUT_OF_RESOURCES], ids=["connect", "A700"])
async def test_a_destination_that_fails_is_tried_for_ever_and_nothing_overtakes(
    stage: Stage, tasks: Tasks, failure: NotDelivered
) -> None:
    stage.link.answer = lambda request, body: failure
    await stage.queue(*UIDS[:3])
    stage.serve(tasks)
    for tries in range(1, 8):
        await stage.until(
            lambda at=tries: sum(one.sop_instance == "1.1" for one in stage.link.opened) == at
        )
        await stage.settled(WAITING, WAITING, WAITING)
        stage.pass_time(400)
    stage.link.answer = SUCCESS
    await stage.until(lambda: _one_more(stage))
    assert stage.link.uids == list(UIDS[:3])
    assert {one.refusals for one in await stage.deliveries()} == {0}


async def _one_more(stage: Stage) -> bool:
    stage.pass_time(400)
    return await stage.states() == [DONE] * 3


async def test_the_breaker_opens_with_an_alarm_and_closes_with_the_first_success(
    stage: Stage, tasks: Tasks
) -> None:
    stage.link.answer = lambda request, body: DOWN
    await stage.queue("1.1")
    stage.serve(tasks)
    for failures in range(1, OPEN_AFTER + 1):
        await stage.until(lambda at=failures: _failures(stage, at))
        stage.pass_time(0 if failures == OPEN_AFTER else 5)
    state = (await stage.records.deliveries.destinations(NORTH, [PACS], now=stage.now))[PACS]
    assert (state.breaker, state.detail) == (BreakerState.OPEN, DOWN.detail)
    await stage.until(lambda: _alarms(stage, 1))
    (alarm,) = (await stage.records.alarms.alarms(NORTH)).items
    assert (alarm.condition, alarm.subject, alarm.count) == (
        Condition.DESTINATION_FAILING,
        "ward/pacs",
        1,
    )
    stage.link.answer = SUCCESS
    stage.pass_time(400)
    await stage.settled(DONE)
    await stage.until(lambda: _alarms(stage, 0))
    state = (await stage.records.deliveries.destinations(NORTH, [PACS], now=stage.now))[PACS]
    assert (state.breaker, state.failures, state.failing_since) == (BreakerState.CLOSED, 0, None)


async def _failures(stage: Stage, number: int) -> bool:
    return (await stage.records.deliveries.destinations(NORTH, [PACS], now=stage.now))[
        PACS
    ].failures == number


async def _alarms(stage: Stage, number: int) -> bool:
    """Return whether so many destinations are failing."""
    found = (await stage.records.alarms.alarms(NORTH)).items
    return sum(one.condition is Condition.DESTINATION_FAILING for one in found) == number


async def test_a_new_target_that_has_to_wait_is_tried_when_the_link_says_without_breaker_or_alarm(
    stage: Stage, tasks: Tasks
) -> None:
    later = NotDelivered(
        about=About.LINK, phase=DeliveryPhase.LIMIT, detail="too many new targets", after=40.0
    )
    stage.link.answer = lambda *_: later
    await stage.queue(*UIDS[:2])
    stage.serve(tasks)
    for count in range(1, OPEN_AFTER + 2):
        await stage.until(
            lambda count=count: (
                len([one for one in stage.link.opened if one.sop_instance == "1.1"]) == count
            )
        )
        await stage.settled(WAITING, WAITING)
        stage.pass_time(39.0)
        await turns()
        assert len([one for one in stage.link.opened if one.sop_instance == "1.1"]) == count
        stage.pass_time(2.0)
    state = (await stage.records.deliveries.destinations(NORTH, [PACS], now=stage.now))[PACS]
    assert (state.breaker, state.failures, state.failing_since) == (BreakerState.CLOSED, 0, None)
    assert not (await stage.records.alarms.alarms(NORTH)).items
    for one in await stage.deliveries():
        assert not (await stage.records.deliveries.attempts(NORTH, one.id)).items, (
            "nothing was begun"
        )
    stage.link.answer = SUCCESS
    stage.pass_time(42.0)
    await stage.settled(DONE, DONE)


async def test_an_instance_that_is_refused_is_parked_by_the_cap_and_its_lane_goes_on(
    stage: Stage, tasks: Tasks
) -> None:
    stage.link.answer = lambda request, body: (
        REFUSED if request.sop_instance == "1.1" else delivered(body)
    )
    await stage.queue(*UIDS[:2])
    stage.serve(tasks)
    await stage.settled(WAITING, WAITING)
    stage.pass_time(400)
    await stage.until(lambda: _moved_on(stage))
    refused = (await stage.deliveries())[0]
    assert (refused.refusals, refused.status, refused.about, refused.detail) == (
        2,
        0xA900,
        FailureSubject.PAYLOAD,
        REFUSED.detail,
    )


async def _moved_on(stage: Stage) -> bool:
    stage.pass_time(5)
    return await stage.states() == [DEAD, DONE]


async def _time_until(stage: Stage, *states: DeliveryState) -> None:
    async def holds() -> bool:
        stage.pass_time(400)
        return await stage.states() == list(states)

    await stage.until(holds)


async def test_an_instance_that_makes_the_destination_abort_is_set_aside_in_the_end(
    stage: Stage, tasks: Tasks
) -> None:
    stage.link.answer = lambda request, body: (
        ABORTED if request.sop_instance == "1.2" else delivered(body)
    )
    await stage.queue(*UIDS[:3])
    stage.serve(tasks)
    await _time_until(stage, DONE, DEAD, DONE)
    poison = (await stage.deliveries())[1]
    assert (
        sum(one.sop_instance == "1.2" for one in stage.link.opened)
        == CUTS_PER_ATTEMPT * DESTINATION.attempts
        == poison.cuts
    )
    assert (poison.about, poison.phase, stage.link.echoed) == (
        FailureSubject.PAYLOAD,
        DeliveryPhase.RESPONSE,
        ["pacs"],
    )
    assert "4 times in a row" in poison.detail
    assert ABORTED.detail in poison.detail


async def test_a_destination_that_aborts_everything_is_not_believed_its_echo(
    stage: Stage, tasks: Tasks
) -> None:
    stage.link.answer = lambda request, body: ABORTED
    await stage.queue(*UIDS, "1.5")
    stage.serve(tasks)
    await _time_until(stage, *[DEAD] * MAX_SUSPECTED, WAITING, WAITING)
    tried = len(stage.link.opened)
    await _time_until_tried(stage, tried + 6)
    await stage.settled(*[DEAD] * MAX_SUSPECTED, WAITING, WAITING)
    assert len(stage.link.echoed) == MAX_SUSPECTED
    await stage.until(lambda: _alarms(stage, 1))
    stage.link.answer = SUCCESS
    await _time_until(stage, *[DEAD] * MAX_SUSPECTED, DONE, DONE)


async def _time_until_tried(stage: Stage, count: int) -> None:
    def holds() -> bool:
        stage.pass_time(400)
        return len(stage.link.opened) >= count

    await stage.until(holds)


async def test_a_destination_that_does_not_echo_is_to_blame_itself(
    stage: Stage, tasks: Tasks
) -> None:
    stage.link.well = False
    stage.link.answer = lambda request, body: ABORTED
    await stage.queue("1.1")
    stage.serve(tasks)
    await _time_until_tried(stage, 3 * CUTS_PER_ATTEMPT * DESTINATION.attempts)
    await stage.settled(WAITING)
    assert len(stage.link.echoed) > 1
    assert (await stage.deliveries())[0].refusals == 0


async def test_an_outcome_waits_for_the_storage_as_long_as_it_takes(
    stage: Stage, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SETTLE_PAUSE", 0.0)
    stage.link.hold, refused, run, deliver = asyncio.Event(), [], stage.rows.run, stage.link.deliver

    def counted(intents: list[Any]) -> list[Any]:
        refused.extend(intents if stage.rows.unavailable else ())
        return run(intents)

    async def delivered_in_an_outage(request: DeliverRequest, *more: Any) -> DeliverAnswer:
        stage.rows.unavailable = True  # before the next is claimed
        return await deliver(request, *more)

    monkeypatch.setattr(stage.rows, "run", counted)
    monkeypatch.setattr(stage.link, "deliver", delivered_in_an_outage)
    await stage.queue(*UIDS[:2])
    stage.serve(tasks)
    await stage.until(lambda: refused)
    stage.link.hold.set()
    await stage.until(lambda: len(refused) > 100)
    assert stage.link.uids == ["1.1"]
    monkeypatch.setattr(stage.link, "deliver", deliver)
    stage.rows.unavailable = False
    await stage.settled(DONE, DONE)
    assert stage.link.uids == list(UIDS[:2])


async def test_a_delivery_that_takes_long_keeps_its_lease(
    stage: Stage, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "EXTEND_EVERY", 0.005)
    stage.link.hold = asyncio.Event()
    await stage.queue(*UIDS[:3])
    stage.serve(tasks)
    await stage.until(lambda: len(stage.link.opened) == 2)
    for _ in range(4):  # four times as long as a lease
        stage.now += LEASE - 1
        await stage.until(lambda: _kept(stage))
        assert (
            await stage.records.deliveries.claim(NORTH, PACS, 9, now=stage.now, until=stage.now + 9)
        ).leases == ()
    stage.link.hold.set()
    await stage.settled(DONE, DONE, DONE)
    assert stage.link.uids == list(UIDS[:3])
    assert {one.tries for one in await stage.deliveries()} == {1}


async def _kept(stage: Stage) -> bool:
    leased = [one for one in await stage.deliveries() if one.state is DeliveryState.SENDING]
    return len(leased) == 2 and all(one.until == stage.now + LEASE for one in leased)


async def test_a_link_that_says_nothing_beyond_every_deadline_is_not_waited_for(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "EXTEND_EVERY", 0.005)
    monkeypatch.setattr(connection, "MARGIN", 0.02)
    stage = Stage()
    at_once = DestinationTimeouts(connect=0.001, associate=0.001, response=0.001)
    await stage.populate(msgspec.structs.replace(DESTINATION, timeouts=at_once))
    stage.link.hold = asyncio.Event()
    await stage.queue(*UIDS[:2])
    stage.serve(tasks)
    await stage.until(lambda: _given_up(stage))
    first = (await stage.deliveries())[0]
    assert (first.about, first.refusals, "cancelled by the Cloud" in first.detail) == (
        FailureSubject.ROUTE,
        0,
        True,
    )
    assert (await stage.records.deliveries.destinations(NORTH, [PACS], now=stage.now))[
        PACS
    ].failures == 0
    stage.link.hold.set()
    await _time_until(stage, DONE, DONE)
    assert stage.link.uids == list(UIDS[:2])


async def _given_up(stage: Stage) -> bool:
    return (await stage.deliveries())[0].detail != ""


async def test_a_warning_is_a_delivery_with_a_word(stage: Stage, tasks: Tasks) -> None:
    stage.link.answer = lambda request, body: msgspec.structs.replace(
        delivered(body, 0xB007), comment="does not match"
    )
    await stage.queue("1.1")
    stage.serve(tasks)
    await stage.settled(DeliveryState.WARNED)
    (one,) = await stage.deliveries()
    assert (one.status, one.detail) == (0xB007, "does not match")


@pytest.mark.parametrize("bad", ["pacs", "archive"])
async def test_one_bad_destination_stalls_only_itself(tasks: Tasks, bad: str) -> None:
    archive = msgspec.structs.replace(DESTINATION, name="archive")
    stage = Stage()
    await stage.populate(DESTINATION, archive)
    held = asyncio.Event()
    real = stage.link.deliver

    async def deliver(
        request: DeliverRequest, pieces: AsyncIterator[bytes], progress: object
    ) -> DeliverAnswer:
        if request.destination == bad:
            await held.wait()
        return await real(request, pieces, progress)  # type: ignore[arg-type]

    stage.link.deliver = deliver  # type: ignore[method-assign,assignment]
    other = Target(link="ward", destination="archive")
    await stage.queue("1.1", "1.2")
    wanted = [
        NewDelivery(
            target=other, kind=INSTANCE, reference=await stage.instance(uid), cause="rule:r/1"
        )
        for uid in ("2.1", "2.2")
    ]
    await stage.records.deliveries.add(NORTH, wanted, now=stage.now)
    stage.serve(tasks)
    stalled, well = (PACS, other) if bad == "pacs" else (other, PACS)
    await stage.settled(DONE, DONE, target=well)
    assert DONE not in await stage.states(stalled)


async def test_several_connections_keep_the_order_of_each_patient(tasks: Tasks) -> None:
    stage = Stage()
    await stage.populate(msgspec.structs.replace(DESTINATION, connections=3))
    for number in range(4):
        for patient in ("A", "B", "C"):
            await stage.queue(f"{ord(patient)}.{number}", lane=patient)
    stage.serve(tasks)
    await stage.settled(*[DONE] * 12)
    for patient in ("A", "B", "C"):
        mine = [uid for uid in stage.link.uids if uid.startswith(f"{ord(patient)}.")]
        assert mine == [f"{ord(patient)}.{number}" for number in range(4)]
    assert len({request.connection for request, _ in stage.link.got}) > 1


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1)])
async def test_connections_can_change_while_deliveries_wait(
    tasks: Tasks, before: int, after: int
) -> None:
    stage = Stage()
    await stage.populate(msgspec.structs.replace(DESTINATION, connections=before))
    stage.link.hold = asyncio.Event()
    await _queue_patients(stage, range(4), lanes=before > 1)
    stage.serve(tasks)
    await stage.until(lambda: len(stage.link.opened) >= 2 * before)
    changed = dump(
        Configuration(destinations=(msgspec.structs.replace(DESTINATION, connections=after),))
    )
    await stage.records.configuration.put(
        NORTH, "ward", changed, author="test", now=stage.now, event=EVENT
    )
    await _queue_patients(stage, range(4, 8), lanes=after > 1)
    stage.pass_time(0)
    for _ in range(50):
        await asyncio.sleep(0)
    under_way = len(stage.link.opened)
    stage.link.hold.set()
    await stage.until(lambda: len(stage.link.got) == 24)
    for patient in ("A", "B", "C"):
        assert [uid for uid in stage.link.uids if uid.startswith(patient)] == [
            f"{patient}.{n}" for n in range(8)
        ]
    assert {request.connection for request in stage.link.opened[under_way:]} <= set(range(after))
    assert {request.configuration for request in stage.link.opened[under_way:]} == {2}


async def _queue_patients(stage: Stage, numbers: range, *, lanes: bool) -> None:
    for number in numbers:
        for patient in ("A", "B", "C"):
            await stage.queue(f"{patient}.{number}", lane=patient if lanes else "")


async def test_a_session_that_ends_gives_its_leases_back_and_the_next_one_sends_again(
    stage: Stage, tasks: Tasks
) -> None:
    stage.link.hold = asyncio.Event()
    await stage.queue(*UIDS[:2])
    serving = stage.serve(tasks)
    await stage.until(lambda: len(stage.link.opened) == 2)
    stage.link.session_ended = True
    serving.cancel()
    await asyncio.wait([serving])
    assert await stage.states() == [WAITING, WAITING]
    stage.link.session_ended, stage.link.hold = False, None
    stage.serve(tasks)
    await stage.settled(DONE, DONE)
    assert stage.link.uids == list(UIDS[:2])


async def test_a_claim_that_a_session_does_not_outlive_is_given_back(
    stage: Stage, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed, answered = asyncio.Event(), asyncio.Event()
    claim = stage.records.deliveries.claim

    async def slow(*arguments: Any, **more: Any) -> Claim:
        made = await claim(*arguments, **more)
        committed.set()
        await answered.wait()
        return made

    monkeypatch.setattr(stage.records.deliveries, "claim", slow)
    await stage.queue(*UIDS[:2])
    serving = stage.serve(tasks)
    await committed.wait()
    assert await stage.states() == [DeliveryState.SENDING, WAITING]
    serving.cancel()
    await asyncio.sleep(0)
    answered.set()
    await asyncio.wait([serving])
    assert await stage.states() == [WAITING, WAITING]
    assert stage.link.opened == []
    stage.serve(tasks)
    await stage.settled(DONE, DONE)


async def test_a_killed_node_loses_nothing_its_leases_lapse(stage: Stage, tasks: Tasks) -> None:
    await stage.queue(*UIDS[:2])
    await stage.records.deliveries.claim(NORTH, PACS, 1, now=stage.now, until=stage.now + LEASE)
    stage.serve(tasks)
    await turns()
    assert stage.link.opened == []
    stage.pass_time(LEASE)
    await stage.settled(DONE, DONE)


async def test_a_paused_destination_waits_until_it_is_resumed(stage: Stage, tasks: Tasks) -> None:
    await stage.records.deliveries.pause(NORTH, PACS, paused=True, now=stage.now, event=EVENT)
    await stage.queue("1.1")
    stage.serve(tasks)
    await turns()
    assert stage.link.opened == []
    await stage.records.deliveries.pause(NORTH, PACS, paused=False, now=stage.now, event=EVENT)
    stage.pass_time(0)
    await stage.settled(DONE)
