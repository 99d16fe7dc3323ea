"""When to connect again (wire §9).

Full jitter under a ceiling that depends on how the last try ended.
"""

import enum
from collections.abc import Callable
from typing import Final

FIRST_CEILING: Final = 1.0
LAST_CEILING: Final = 30.0
ABSENT_CEILING: Final = 2.0
"""While nothing listens at the Cloud's address: a refused connection costs the Cloud nothing."""
ABSENT_SECONDS: Final = 60.0
"""How long after the last session this holds; a restart takes seconds."""
ESTABLISHED_SECONDS: Final = 2.0
"""A session of this length ends a series of failures; shorter ones may be a loop of failures."""
FLOOR_JITTER: Final = 0.25


class Ending(enum.Enum):
    """How a try to have a session ended."""

    ABSENT = "absent"
    """The connection was refused: the Cloud does not run."""
    FAILED = "failed"
    """There was no session for any other reason: no answer in time, overload, a refused hello."""
    LOST = "lost"
    """The session ended through no fault of this Link: network, restart of the Cloud."""
    EXPELLED = "expelled"
    """The Cloud ended the session for what this Link did, or for another with its key."""


class Backoff:
    """Computes when the next try is `due`, in seconds on the caller's clock.

    `random` returns a float from 0 to 1, 1 excluded. Call `welcomed` and `ended` for each try.
    """

    def __init__(self, random: Callable[[], float], now: float) -> None:
        self._random = random
        self._failures = 0
        self._welcomed_at: float | None = None
        self._offline_since = now
        self.due = now + random() * FIRST_CEILING

    def welcomed(self, now: float) -> None:
        """Note that the hello was accepted."""
        self._welcomed_at = now

    def ended(self, now: float, ending: Ending, retry_after: float = 0.0) -> float:
        """Note the end of a try or of its session; returns when the next try is due.

        `retry_after`, from the Cloud, is a floor in seconds.
        """
        if self._welcomed_at is not None:
            if ending is Ending.LOST and now - self._welcomed_at >= ESTABLISHED_SECONDS:
                self._failures = 0
            self._offline_since = now
        self._welcomed_at = None
        floor = retry_after * (1 + FLOOR_JITTER * self._random())
        self.due = now + max(self._random() * self._next_ceiling(now, ending), floor)
        return self.due

    def _next_ceiling(self, now: float, ending: Ending) -> float:
        ceiling = min(FIRST_CEILING * 2.0**self._failures, LAST_CEILING)
        if ending is Ending.ABSENT and now - self._offline_since < ABSENT_SECONDS:
            self._failures = max(self._failures, 1)
            return min(ceiling, ABSENT_CEILING)
        if ceiling < LAST_CEILING:
            self._failures += 1
        return ceiling
