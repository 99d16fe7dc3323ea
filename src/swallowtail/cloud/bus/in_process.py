"""The bus of a Cloud that is one process (model.ports.Bus): an event for each subscription."""

import asyncio
from collections import defaultdict


class InProcessBus:
    """A bus that notifies subscribers on the loop's own thread."""

    def __init__(self) -> None:
        self._topics: defaultdict[str, dict[InProcessSubscription, None]] = defaultdict(dict)

    def publish(self, topic: str) -> None:
        """Wake every subscriber of the topic."""
        for subscription in self._topics.get(topic, ()):
            subscription.news.set()

    def subscribe(self, topic: str) -> "InProcessSubscription":
        """Handle the topic from now on; close the subscription when done."""
        subscription = InProcessSubscription(self, topic)
        self._topics[topic][subscription] = None  # in the order in which they came
        return subscription

    def drop(self, topic: str, subscription: "InProcessSubscription") -> None:
        """Drop a subscription."""
        self._topics[topic].pop(subscription, None)
        if not self._topics[topic]:
            del self._topics[topic]


class InProcessSubscription:
    """Wake-ups of one topic; those that came since the last `wait` are one."""

    def __init__(self, bus: InProcessBus, topic: str) -> None:
        self._bus, self._topic = bus, topic
        self.news = asyncio.Event()

    async def wait(self) -> None:
        """Wait until something was published since the last return."""
        await self.news.wait()
        self.news.clear()

    def close(self) -> None:
        """Handle nothing more."""
        self._bus.drop(self._topic, self)
