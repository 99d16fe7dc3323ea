"""What the dispatch leaves in a delivery's history.

The attempts that began, and nothing that Link gave back untouched.
"""

import asyncio

import msgspec
import pytest

from swallowtail.calls.deliver import DeliveryPhase
from swallowtail.cloud.model.delivery import DeliveryAttempt, DeliveryState, FailureSubject
from swallowtail.cloud.model.link_session import LinkOfflineError
from swallowtail.runtime.tasks import Tasks
from tests.conformance.invented import EXPLICIT, NORTH, NOW
from tests.unit.cloud.dispatch.stage import DESTINATION, DOWN, Stage, delivered

DONE, WAITING = DeliveryState.DELIVERED, DeliveryState.PENDING


async def histories(stage: Stage) -> list[list[DeliveryAttempt]]:
    """Give the attempts of each delivery in turn, the oldest first."""
    pages = [
        await stage.records.deliveries.attempts(NORTH, one.id) for one in await stage.deliveries()
    ]
    return [list(page.items[::-1]) for page in pages]


async def test_each_try_leaves_its_outcome_and_those_behind_a_failure_leave_none(
    stage: Stage, tasks: Tasks
) -> None:
    stage.link.hold = asyncio.Event()
    stage.link.answer = lambda request, body: DOWN if request.attempt == 1 else delivered(body)
    await stage.queue("1.1", "1.2")
    stage.serve(tasks)
    await stage.until(lambda: len(stage.link.opened) == 2)
    stage.now += 3
    stage.link.hold.set()
    await stage.settled(WAITING, WAITING)
    first, second = await histories(stage)
    assert second == [], "Link gave it back untouched"
    (failed,) = first
    assert (failed.number, failed.state, failed.began, failed.ended) == (1, WAITING, NOW, NOW + 3)
    assert (failed.about, failed.phase, failed.detail) == (
        FailureSubject.DESTINATION,
        DeliveryPhase.CONNECT,
        DOWN.detail,
    )
    assert (failed.epoch, failed.configuration, failed.connection, failed.sent_format) == (
        7,
        1,
        0,
        EXPLICIT,
    )
    stage.pass_time(5)
    await stage.settled(DONE, DONE)
    assert [[(one.number, one.state) for one in each] for each in await histories(stage)] == [
        [(1, WAITING), (2, DONE)],
        [(2, DONE)],
    ]


async def test_a_session_that_is_lost_leaves_all_that_may_have_been_begun(
    stage: Stage, tasks: Tasks
) -> None:
    stage.link.hold = asyncio.Event()
    await stage.queue("1.1", "1.2")
    served = stage.serve(tasks)
    await stage.until(lambda: len(stage.link.opened) == 2)
    stage.link.session_ended = True
    served.cancel()
    await stage.settled(WAITING, WAITING)
    (lost,), behind = await histories(stage)
    assert (lost.state, lost.about, lost.phase, lost.status) == (
        WAITING,
        FailureSubject.ROUTE,
        None,
        None,
    )
    assert "cancelled by the Cloud" in lost.detail
    assert [one.state for one in behind] == [WAITING], (
        "the first may have arrived, and its answer been lost"
    )


async def test_one_behind_that_may_have_been_outstanding_too_is_kept(tasks: Tasks) -> None:
    stage = Stage()
    await stage.populate(msgspec.structs.replace(DESTINATION, outstanding=2))
    stage.link.hold = asyncio.Event()
    await stage.queue("1.1", "1.2")
    served = stage.serve(tasks)
    await stage.until(lambda: len(stage.link.opened) == 2)
    served.cancel()
    await stage.settled(WAITING, WAITING)
    assert [len(each) for each in await histories(stage)] == [1, 1]


async def test_one_that_may_have_begun_when_the_session_was_lost_is_kept(
    stage: Stage, tasks: Tasks
) -> None:
    first = asyncio.Event()
    stage.link.hold = first
    await stage.queue("1.1", "1.2")
    served = stage.serve(tasks)
    await stage.until(lambda: len(stage.link.opened) == 2)
    stage.link.hold = asyncio.Event()  # for the second one
    first.set()
    await stage.settled(DONE, DeliveryState.SENDING)
    served.cancel()
    await stage.settled(DONE, WAITING)
    assert [[one.state for one in each] for each in await histories(stage)] == [[DONE], [WAITING]]


async def test_a_link_that_takes_nothing_leaves_no_attempt(
    stage: Stage, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise LinkOfflineError("nothing can be sent to the Link")

    monkeypatch.setattr(stage.link, "deliver", refuse)
    await stage.queue("1.1")
    stage.serve(tasks)
    await stage.until(lambda: _tried(stage))
    assert await histories(stage) == [[]]


async def test_a_fault_of_the_clouds_own_is_kept(
    stage: Stage, tasks: Tasks, monkeypatch: pytest.MonkeyPatch, logged_errors: list[str]
) -> None:
    async def fail(*_: object) -> None:
        raise TypeError

    monkeypatch.setattr(stage.link, "deliver", fail)
    await stage.queue("1.1")
    stage.serve(tasks)
    await stage.until(lambda: _tried(stage))
    ((kept,),) = await histories(stage)
    assert "TypeError" in kept.detail
    assert len(logged_errors) == 1


async def _tried(stage: Stage) -> bool:
    (one,) = await stage.deliveries()
    return one.state is WAITING and one.tries == 1
