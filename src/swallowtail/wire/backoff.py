"""When to connect again (wire §9): full jitter under a ceiling that doubles, forgotten after a session that lived."""

from collections.abc import Callable
from typing import Final

FIRST_CEILING: Final = 1.0
LAST_CEILING: Final = 30.0
LIVED_SECONDS: Final = 60.0
FLOOR_JITTER: Final = 0.25


class Backoff:
    """Says when the next try is `due`. `random` gives a float from 0 to 1, 1 excluded; tell it what became of each try."""

    def __init__(self, random: Callable[[], float], now: float) -> None:
        self._random = random
        self._failures = 0
        self._welcomed_at: float | None = None
        self.due = now + random() * FIRST_CEILING

    def welcomed(self, now: float) -> None:
        """A session stands."""
        self._welcomed_at = now

    def ended(self, now: float, retry_after: float = 0.0) -> float:
        """The try failed, or its session ended; answers when to try next. `retry_after`, from the Cloud, is a floor in seconds."""
        if self._welcomed_at is not None and now - self._welcomed_at >= LIVED_SECONDS:
            self._failures = 0
        self._welcomed_at = None
        ceiling = min(FIRST_CEILING * 2**self._failures, LAST_CEILING)
        if ceiling < LAST_CEILING:
            self._failures += 1
        floor = retry_after * (1 + FLOOR_JITTER * self._random())
        self.due = now + max(self._random() * ceiling, floor)
        return self.due
