import asyncio

import pytest

from swallowtail.cloud.bus.in_process import InProcessBus


@pytest.fixture
def bus() -> InProcessBus:
    return InProcessBus()


async def test_a_wake_up_is_kept_until_it_is_waited_for_and_several_are_one(
    bus: InProcessBus,
) -> None:
    subscription = bus.subscribe("index")
    bus.publish("index")
    bus.publish("index")
    await subscription.wait()
    waiting = asyncio.ensure_future(subscription.wait())  # noqa: TID251 - no owner in a test
    await asyncio.sleep(0)
    assert not waiting.done()
    bus.publish("index")
    await waiting


async def test_every_subscriber_of_the_topic_wakes_and_no_other(bus: InProcessBus) -> None:
    first, second, other = bus.subscribe("link/a"), bus.subscribe("link/a"), bus.subscribe("link/b")
    bus.publish("link/a")
    await asyncio.gather(first.wait(), second.wait())
    waiting = asyncio.ensure_future(other.wait())  # noqa: TID251
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_a_closed_subscription_hears_nothing(bus: InProcessBus) -> None:
    subscription, stays = bus.subscribe("index"), bus.subscribe("index")
    subscription.close()
    subscription.close()
    bus.publish("index")
    await stays.wait()
    waiting = asyncio.ensure_future(subscription.wait())  # noqa: TID251
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
