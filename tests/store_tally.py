"""Counts of stores, in place of the metrics."""

from collections import Counter

from swallowtail.calls.store import NotStoredReason, Stored


class StoreTally:
    """A meter that counts (`Meter`)."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.bytes = 0
        self.seconds = 0.0

    def stored(self, stored: Stored, length: int, seconds: float) -> None:
        """Count a commit (`Meter`)."""
        self.outcomes[stored] += 1
        self.bytes += length
        self.seconds += seconds

    def refused(self, reason: NotStoredReason) -> None:
        """Count a refusal (`Meter`)."""
        self.outcomes[reason] += 1
