"""How long Link waits before it connects again (wire §9), with the dice as an argument."""

from collections.abc import Callable
from typing import Final

FIRST: Final = 1.0
CEILING: Final = 30.0
LIVED: Final = 60.0
"""A connection that lived so long starts the count anew."""
SPREAD: Final = 0.25


class Backoff:
    """Full jitter over a ceiling that doubles, so that ten thousand Links do not come back at once."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._ceiling = FIRST

    def next_delay(self, lived: float, retry_after: float = 0.0) -> float:
        """Give the seconds to wait after a connection that lived so long; `retry_after` is a floor, spread by up to a quarter."""
        if lived >= LIVED:
            self._ceiling = FIRST
        delay = self._random() * self._ceiling
        self._ceiling = min(CEILING, self._ceiling * 2)
        return max(delay, retry_after * (1 + SPREAD * self._random()))
