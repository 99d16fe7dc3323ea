"""What a failure counts against.

The destination, which is tried for ever, or the instance, whose attempts are counted.
"""

import msgspec
import pytest

from swallowtail.calls.config import AtCap
from swallowtail.calls.deliver import About, DeliveryPhase, NotDelivered
from swallowtail.cloud.dispatch.planner import OPEN_AFTER
from swallowtail.cloud.model.conditions import Condition
from swallowtail.cloud.model.delivery import (
    BreakerState,
    DeliverySearch,
    DeliveryState,
    DestinationState,
)
from swallowtail.cloud.model.operations import AlarmSearch
from swallowtail.runtime.tasks import Tasks
from tests.conformance.invented import EVENT, NORTH
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

REJECTED = NotDelivered(
    about=About.DESTINATION, phase=DeliveryPhase.ASSOCIATE, detail="it rejects the association"
)
NOT_UNDERSTOOD = NotDelivered(
    about=About.INSTANCE, phase=DeliveryPhase.RESPONSE, detail="it cannot understand", status=0xC000
)
DUPLICATE = NotDelivered(
    about=About.INSTANCE, phase=DeliveryPhase.RESPONSE, detail="it has one already", status=0x0111
)
NO_CONTEXT = NotDelivered(
    about=About.INSTANCE, phase=DeliveryPhase.CONTEXT, detail="it does not take the SOP class"
)
WAITING, STOPPED, DEAD, DONE = (
    DeliveryState.PENDING,
    DeliveryState.STOPPED,
    DeliveryState.DEAD_LETTER,
    DeliveryState.DELIVERED,
)
MANY = 4 * DESTINATION.attempts + OPEN_AFTER


async def state_of(stage: Stage) -> DestinationState:
    return (await stage.records.deliveries.destinations(NORTH, [PACS], now=stage.now))[PACS]


async def tried(stage: Stage, times: int) -> None:
    """Let time pass until the first instance was tried so often and waits again."""

    async def holds() -> bool:
        first = (await stage.deliveries())[0]
        if first.tries < times:
            stage.pass_time(400)
        return first.tries >= times and first.state is not DeliveryState.SENDING

    await stage.until(holds)


@pytest.mark.parametrize(
    "failure",
    [DOWN, REJECTED, ABORTED, OUT_OF_RESOURCES],
    ids=["connect", "associate", "abort", "out of resources"],
)
async def test_a_failure_of_the_destination_is_tried_beyond_every_cap_and_opens_its_breaker(
    stage: Stage, tasks: Tasks, failure: NotDelivered
) -> None:
    stage.link.well = False  # for the one that aborts: it answers no C-ECHO either
    stage.link.answer = lambda request, body: failure
    await stage.queue("1.1", "1.2")
    stage.serve(tasks)
    await tried(stage, MANY)
    first, second = await stage.deliveries()
    assert (first.state, first.refusals, second.state, second.refusals) == (WAITING, 0, WAITING, 0)
    state = await state_of(stage)
    assert state.breaker is not BreakerState.CLOSED
    assert state.failures >= OPEN_AFTER
    assert state.detail == failure.detail
    (alarm,) = (await stage.records.alarms.alarms(NORTH)).items
    assert (alarm.condition, alarm.count) == (
        Condition.DESTINATION_FAILING,
        1,
    )  # once, however often it fails
    stage.link.answer = SUCCESS
    await stage.until(lambda: _done(stage))
    assert stage.link.uids == ["1.1", "1.2"]
    assert (await state_of(stage)).breaker is BreakerState.CLOSED


async def _done(stage: Stage) -> bool:
    stage.pass_time(400)
    return await stage.states() == [DONE, DONE]


async def test_failures_that_open_no_breaker_alarm_nobody(stage: Stage, tasks: Tasks) -> None:
    stage.link.answer = lambda request, body: DOWN
    await stage.queue("1.1", "1.2")
    stage.serve(tasks)
    await tried(stage, OPEN_AFTER - 1)
    stage.link.answer = SUCCESS
    await stage.until(lambda: _done(stage))
    assert (await stage.records.alarms.alarms(NORTH, search=AlarmSearch(cleared=None))).items == ()


@pytest.mark.parametrize(
    "refusal",
    [REFUSED, NOT_UNDERSTOOD, DUPLICATE, NO_CONTEXT],
    ids=["A900", "C000", "0111", "presentation context"],
)
async def test_a_refusal_of_the_instance_counts_towards_its_cap_and_never_opens_the_breaker(
    stage: Stage, tasks: Tasks, refusal: NotDelivered
) -> None:
    stage.link.answer = lambda request, body: refusal
    await stage.queue(
        "1.1", "1.2", "1.3", "1.4"
    )  # more refusals in a row than failures that open a breaker
    stage.serve(tasks)

    async def all_dead() -> bool:
        stage.pass_time(400)
        assert (await state_of(stage)).breaker is BreakerState.CLOSED
        return await stage.states() == [DEAD] * 4

    await stage.until(all_dead)
    assert {(one.refusals, one.status, one.detail) for one in await stage.deliveries()} == {
        (DESTINATION.attempts, refusal.status, refusal.detail)
    }
    assert Condition.DESTINATION_FAILING not in {
        one.condition for one in (await stage.records.alarms.alarms(NORTH)).items
    }


@pytest.mark.parametrize("act", [DeliveryState.SKIPPED, DeliveryState.PARKED])
async def test_a_lane_that_stops_at_a_refused_instance_goes_on_when_a_person_has_decided(
    tasks: Tasks, act: DeliveryState
) -> None:
    stage = Stage()
    await stage.populate(msgspec.structs.replace(DESTINATION, at_cap=AtCap.STOP))
    stage.link.answer = lambda request, body: (
        REFUSED if request.sop_instance == "1.1" else delivered(body)
    )
    await stage.queue("1.1", "1.2")
    stage.serve(tasks)
    await tried(stage, DESTINATION.attempts)
    await stage.settled(STOPPED, WAITING)
    for _ in range(5):
        stage.pass_time(400)
        await turns()
    assert await stage.states() == [STOPPED, WAITING]
    assert (await state_of(stage)).breaker is BreakerState.CLOSED
    (first, _) = await stage.deliveries()
    assert (first.refusals, first.tries) == (DESTINATION.attempts, DESTINATION.attempts)
    await stage.records.deliveries.act(
        NORTH, DeliverySearch(), [first.id], act, reason="seen", now=stage.now, event=EVENT
    )
    stage.pass_time(1)
    await stage.settled(act, DONE)
