"""The delay before the next connection (docs/wire.md §9, ADR 0022).

The ceiling of the delay depends on how the last attempt ended.
"""

import enum
from collections.abc import Callable
from typing import Final

from swallowtail.sansio.backoff import Backoff

RETRY: Final = Backoff(first=1.0, last=30.0)
ABSENT_CEILING: Final = 2.0
"""While nothing listens at the Cloud's address: a refused connection costs the Cloud nothing."""
ABSENT_SECONDS: Final = 60.0
"""Seconds after the last session in which this applies; a restart takes seconds."""
ESTABLISHED_SECONDS: Final = 2.0
"""A session of this length ends a series of failures; shorter ones may be a loop of failures."""
FLOOR_JITTER: Final = 0.25


class SessionEnding(enum.Enum):
    """The way in which an attempt at a session ended."""

    ABSENT = "absent"
    """The connection was refused: the Cloud does not run."""
    FAILED = "failed"
    """There was no session for any other reason: no response in time, overload, a refused hello."""
    LOST = "lost"
    """The session ended through no fault of this Link: network, restart of the Cloud."""
    EXPELLED = "expelled"
    """The Cloud ended the session for what this Link did, or for another with its key."""


class ReconnectSchedule:
    """The time of the next attempt, `due`, in seconds on the caller's clock.

    `random` returns a float from 0 to 1, 1 excluded. Call `hello_accepted` and `ended` for each
    attempt.
    """

    def __init__(self, random: Callable[[], float], now: float) -> None:
        self._random = random
        self._failures = 0
        self._accepted_at: float | None = None
        self._offline_since = now
        self.due = now + RETRY.delay(0, random())

    def hello_accepted(self, now: float) -> None:
        """Record that the hello was accepted."""
        self._accepted_at = now

    def ended(self, now: float, ending: SessionEnding, retry_after: float = 0.0) -> float:
        """Record the end of an attempt or of its session; return when the next attempt is due.

        `retry_after`, from the Cloud, is a minimum in seconds.
        """
        if self._accepted_at is not None:
            if ending is SessionEnding.LOST and now - self._accepted_at >= ESTABLISHED_SECONDS:
                self._failures = 0
            self._offline_since = now
        self._accepted_at = None
        floor = retry_after * (1 + FLOOR_JITTER * self._random())
        self.due = now + max(self._random() * self._next_ceiling(now, ending), floor)
        return self.due

    def _next_ceiling(self, now: float, ending: SessionEnding) -> float:
        ceiling = RETRY.ceiling(self._failures)
        if ending is SessionEnding.ABSENT and now - self._offline_since < ABSENT_SECONDS:
            self._failures = max(self._failures, 1)
            return min(ceiling, ABSENT_CEILING)
        if ceiling < RETRY.last:
            self._failures += 1
        return ceiling
