"""The environment of the Cloud: its clock and its random source."""

from typing import Protocol


class Clock(Protocol):
    """The time of day."""

    def __call__(self) -> float:
        """Return UTC seconds."""


class Randomness(Protocol):
    """The random source, like `secrets.token_bytes`."""

    def __call__(self, size: int, /) -> bytes:
        """Return `size` unpredictable bytes."""
