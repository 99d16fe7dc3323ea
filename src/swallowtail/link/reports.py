"""What Link has seen and the Cloud has not heard yet: bounded, repeats counted instead of kept, overflow counted instead of hidden.

Reports may be lost, so nothing here carries the truth about an instance (`calls.report`).
"""

from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from swallowtail.calls.report import AssociationEnded, Endpoints, Observation, Report, UnknownDevice

MAX_UNKNOWN: Final = 256
MAX_ENDED: Final = 1024
MAX_BATCH: Final = 128
"""Observations in one report: at most some 40 KiB, so that a report is one message (wire §2)."""
COALESCE: Final = 10.0
"""Seconds that a further sight of the same unknown device waits for more of its kind."""


class Reports:
    """The buffer between what happens on the listeners and the uplink."""

    def __init__(self) -> None:
        self.on_news: Callable[[], None] = lambda: None
        """Called when something was noted."""
        self._endpoints: Endpoints | None = None
        self._ended: deque[AssociationEnded] = deque()
        self._unknown: dict[tuple[str, str, str, str, str], UnknownDevice] = {}
        self._told: dict[tuple[str, str, str, str, str], float] = {}
        self._dropped = 0

    def endpoints(self, seen: Endpoints) -> None:
        """Note how the endpoints are; only the newest word counts."""
        self._endpoints = seen
        self.on_news()

    def ended(self, seen: AssociationEnded) -> None:
        """Note that an association is over."""
        if len(self._ended) >= MAX_ENDED:
            self._ended.popleft()
            self._dropped += 1
        self._ended.append(seen)
        self.on_news()

    def unknown(self, seen: UnknownDevice) -> None:
        """Note an unknown device; the same one again raises a count."""
        key = (seen.listener, seen.address, seen.calling_ae, seen.called_ae, seen.reason)
        if (before := self._unknown.get(key)) is not None:
            self._unknown[key] = msgspec.structs.replace(before, count=before.count + seen.count, last=seen.last)
        elif len(self._unknown) < MAX_UNKNOWN:
            self._unknown[key] = seen
        else:
            self._dropped += seen.count
        self.on_news()

    def next_due(self, now: float) -> float | None:
        """Say when there is something to send: `now`, later for repeats alone, None when there is nothing."""
        if self._endpoints is not None or self._ended or self._dropped:
            return now
        return min((max(now, self._told.get(key, -COALESCE) + COALESCE) for key in self._unknown), default=None)

    def take(self, now: float) -> Report | None:
        """Give the next batch, which the caller sends or gives back with `restore`; None when nothing is due."""
        due = self.next_due(now)
        if due is None or due > now:
            return None
        batch: list[Observation] = []
        if self._endpoints is not None:
            batch.append(self._endpoints)
            self._endpoints = None
        while self._ended and len(batch) < MAX_BATCH:
            batch.append(self._ended.popleft())
        self._told = {key: told for key, told in self._told.items() if now - told < COALESCE}
        for key in list(self._unknown)[: MAX_BATCH - len(batch)]:
            batch.append(self._unknown.pop(key))
            self._told[key] = now
        dropped, self._dropped = self._dropped, 0
        return Report(observations=tuple(batch), dropped=dropped)

    def restore(self, report: Report) -> None:
        """Take back a batch that did not arrive; what is newer stays newer."""
        self._dropped += report.dropped
        for seen in reversed(report.observations):
            match seen:
                case Endpoints():
                    self._endpoints = self._endpoints or seen
                case UnknownDevice():
                    self._merge_older(seen)
                case AssociationEnded() if len(self._ended) < MAX_ENDED:
                    self._ended.appendleft(seen)
                case AssociationEnded():
                    self._dropped += 1

    def _merge_older(self, seen: UnknownDevice) -> None:
        key = (seen.listener, seen.address, seen.calling_ae, seen.called_ae, seen.reason)
        newer = self._unknown.pop(key, None)
        if newer is not None:
            seen = msgspec.structs.replace(newer, count=seen.count + newer.count, first=seen.first)
        self.unknown(seen)
