import asyncio

import pytest

from swallowtail.cloud.bus.in_process import InProcessBus


async def test_every_subscriber_of_a_topic_wakes_once_for_all_that_came() -> None:
    bus = InProcessBus()
    one, two, other = bus.subscribe("index"), bus.subscribe("index"), bus.subscribe("link/1")
    bus.publish("index")
    bus.publish("index")
    await one.wait()
    await two.wait()
    for quiet in (one, other):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await quiet.wait()


async def test_a_closed_subscription_hears_nothing_and_leaves_nothing() -> None:
    bus = InProcessBus()
    subscription = bus.subscribe("index")
    subscription.close()
    bus.publish("index")
    assert not subscription.news.is_set()
    assert not bus._topics
