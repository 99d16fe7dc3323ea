"""Settings of a destination that change while its Link is connected."""

import msgspec

from swallowtail.calls.config import Configuration, Destination, dump
from swallowtail.cloud.model.delivery import DeliveryState
from swallowtail.runtime.tasks import Tasks
from tests.conformance.invented import EVENT, NORTH
from tests.turns import turns
from tests.unit.cloud.dispatch.stage import DESTINATION, REFUSED, Stage

WAITING, DEAD, DONE = DeliveryState.PENDING, DeliveryState.DEAD_LETTER, DeliveryState.DELIVERED


async def configured(stage: Stage, *destinations: Destination) -> None:
    document = dump(Configuration(destinations=destinations))
    await stage.records.configuration.put(
        NORTH, "ward", document, author="test", now=stage.now, event=EVENT
    )
    stage.pass_time(0)


async def test_changed_settings_are_used_for_what_comes_next() -> None:
    stage = Stage()
    await stage.populate()
    async with Tasks("test") as tasks:
        stage.serve(tasks)
        await stage.queue("1.1")
        stage.pass_time(0)
        await stage.settled(DONE)
        await configured(stage, msgspec.structs.replace(DESTINATION, attempts=1))
        stage.link.answer = lambda request, body: REFUSED
        await stage.queue("1.2")
        stage.pass_time(0)
        await stage.settled(DONE, DEAD)  # at the first refusal, not at the second as before
        assert [request.configuration for request in stage.link.opened] == [1, 2]


async def test_nothing_is_sent_to_a_destination_that_was_taken_out_until_it_is_back() -> None:
    stage = Stage()
    await stage.populate()
    async with Tasks("test") as tasks:
        stage.serve(tasks)
        await configured(stage)
        await stage.queue("1.1")
        for _ in range(5):
            stage.pass_time(400)
            await turns()
        assert await stage.states() == [WAITING]
        assert stage.link.opened == []
        await configured(stage, DESTINATION)
        await stage.settled(DONE)
