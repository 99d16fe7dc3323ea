"""A clock that may be trusted with what cannot be undone.

After a jump of the time of day nothing is purged for a day.
"""

from collections.abc import Callable
from typing import Final

import structlog

from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.tenancy import DAY

TOLERANCE: Final = 300.0
"""Seconds that the time of day may gain between two periodic checks.

A clock that is set right gains less.
"""

log = structlog.get_logger()


class SteadyClock:
    """A comparison of the time of day with the loop's time, which does not jump."""

    def __init__(self, clock: Clock, monotonic: Callable[[], float]) -> None:
        self._clock, self._monotonic = clock, monotonic
        self._last = (clock(), monotonic())
        self._distrusted_until = 0.0

    def now(self) -> float | None:
        """Return the time of day.

        None while it is not to be trusted, since it has jumped forward.
        """
        wall, steady = self._clock(), self._monotonic()
        gained = (wall - self._last[0]) - (steady - self._last[1])
        self._last = (wall, steady)
        if gained > TOLERANCE:
            self._distrusted_until = steady + DAY
            log.warning("purge postponed", seconds=round(gained))
        return None if steady < self._distrusted_until else wall
