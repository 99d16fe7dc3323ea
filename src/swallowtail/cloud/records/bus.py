"""The bus of one process: the port `Bus` where there is nobody else to wake."""

import asyncio


class LocalBus:
    """Wakes subscribers on the same loop (`Bus`)."""

    def __init__(self) -> None:
        self._topics: dict[str, set[LocalSubscription]] = {}

    def publish(self, topic: str) -> None:
        """Wake every subscriber of the topic (`Bus`)."""
        for subscription in self._topics.get(topic, ()):
            subscription.wake()

    def subscribe(self, topic: str) -> "LocalSubscription":
        """Hear the topic (`Bus`)."""
        subscription = LocalSubscription(self, topic)
        self._topics.setdefault(topic, set()).add(subscription)
        return subscription

    def forget(self, topic: str, subscription: "LocalSubscription") -> None:
        """Drop a subscription."""
        subscribers = self._topics.get(topic, set())
        subscribers.discard(subscription)
        if not subscribers:
            self._topics.pop(topic, None)


class LocalSubscription:
    """Wake-ups of one topic (`Subscription`)."""

    def __init__(self, bus: LocalBus, topic: str) -> None:
        self._bus = bus
        self._topic = topic
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Something was published."""
        self._woken.set()

    async def wait(self) -> None:
        """Return when something was published since the last return (`Subscription`)."""
        await self._woken.wait()
        self._woken.clear()

    def close(self) -> None:
        """Hear nothing more (`Subscription`)."""
        self._bus.forget(self._topic, self)
