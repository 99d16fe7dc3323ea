"""A token bucket; the time is an argument."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate: `per_second` on average, `burst` at once."""

    per_second: float
    burst: float

    @property
    def refill(self) -> float:
        """Return the seconds in which an empty bucket becomes full."""
        return self.burst / self.per_second


class TokenBucket:
    """A bucket that fills at `rate`; `now` is in seconds on any clock that does not go back."""

    __slots__ = ("_level", "_rate", "_since")

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._level = rate.burst
        self._since = now

    def wait(self, now: float) -> float:
        """Return the seconds until one may be taken; 0: at once."""
        self._fill(now)
        return 0.0 if self._level >= 1.0 else (1.0 - self._level) / self._rate.per_second

    def take(self, now: float) -> float:
        """Take one and return 0, or take nothing and return the seconds until one may be taken."""
        if not (wait := self.wait(now)):
            self._level -= 1.0
        return wait

    def is_full(self, now: float) -> bool:
        """Return whether the bucket is full."""
        self._fill(now)
        return self._level >= self._rate.burst

    def _fill(self, now: float) -> None:
        passed = max(0.0, now - self._since)
        self._level = min(self._rate.burst, self._level + passed * self._rate.per_second)
        self._since = max(now, self._since)
