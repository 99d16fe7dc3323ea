"""The port of the bus."""

from typing import Protocol


class Subscription(Protocol):
    """Wake-ups of one topic. Those that came since the last `wait` are one."""

    async def wait(self) -> None:
        """Wait until something was published since the last return; at once if it was already."""

    def close(self) -> None:
        """Stop receiving."""


class Bus(Protocol):
    """Wake-ups between parts and nodes.

    They may be lost or doubled: the truth is in the store, so look there now and then too.
    """

    def publish(self, topic: str) -> None:
        """Wake every subscriber of the topic.

        Topics are `index`, `link/<id>` and the like, and hold no patient data.
        """

    def subscribe(self, topic: str) -> Subscription:
        """Return a subscription to the topic; close it when done."""
