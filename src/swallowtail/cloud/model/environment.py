"""The environment of the Cloud: its clock and its random source."""

from typing import Protocol


class Clock(Protocol):
    """The time of day."""

    def __call__(self) -> float:
        """Give UTC seconds."""


class Randomness(Protocol):
    """The dice; `secrets.token_bytes` fits."""

    def __call__(self, size: int, /) -> bytes:
        """Give `size` unpredictable bytes."""
