"""Exponential backoff with jitter as a value: failures and a random number in, seconds out."""

from dataclasses import dataclass
from typing import Final

MAX_DOUBLINGS: Final = 64
"""Enough for every ceiling, and 2.0 ** 64 is still far from the largest float."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """A ceiling that doubles with each failure, from `first` to `last` seconds."""

    first: float
    last: float

    def ceiling(self, failures: int) -> float:
        """Return the longest delay when `failures` others preceded the latest failure."""
        return min(self.first * 2.0 ** min(max(failures, 0), MAX_DOUBLINGS), self.last)

    def delay(self, failures: int, random: float) -> float:
        """Return the delay with full jitter; `random` is from 0 to 1, 1 excluded."""
        return random * self.ceiling(failures)
