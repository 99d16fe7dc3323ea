"""Observations of Link that the Cloud has not received yet.

Bounded, repeats counted instead of kept, overflow counted instead of hidden.

Reports may be lost, so nothing here carries the truth about an instance (`calls.report`).
"""

from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from swallowtail.calls.report import (
    AssociationEnded,
    EndpointStates,
    Observation,
    ObservationReport,
    UnmatchedDevice,
)

MAX_COUNTED: Final = 256
MAX_ENDED: Final = 1024
MAX_BATCH: Final = 128
"""Observations in one report: at most some 40 KiB, so that a report is one message (wire §2)."""
COALESCE: Final = 10.0
"""Seconds that a further rejection of the same device waits for more of its kind."""

Counted = UnmatchedDevice | AssociationEnded
"""What is rejected, whoever it is: repeats are counted."""
Key = tuple[str, str, str, str, str, str]
REJECTED: Final = "rejected"


class ObservationBuffer:
    """The buffer between the listeners and the uplink."""

    def __init__(self) -> None:
        self.on_news: Callable[[], None] = lambda: None
        """Called when an observation was added."""
        self._endpoints: EndpointStates | None = None
        self._ended: deque[AssociationEnded] = deque()
        self._counted: dict[Key, Counted] = {}
        self._reported: dict[Key, float] = {}
        self._dropped = 0

    def endpoints(self, seen: EndpointStates) -> None:
        """Add the states of the endpoints, which replace earlier ones."""
        self._endpoints = seen
        self.on_news()

    def ended(self, seen: AssociationEnded) -> None:
        """Add the end of an association; a rejected one like an earlier one raises a count."""
        if seen.outcome == REJECTED:
            self._count(seen)
            return
        if len(self._ended) >= MAX_ENDED:
            self._ended.popleft()
            self._dropped += 1
        self._ended.append(seen)
        self.on_news()

    def unknown(self, seen: UnmatchedDevice) -> None:
        """Add an unknown device; the same one again raises a count."""
        self._count(seen)

    def _count(self, seen: Counted) -> None:
        key = _key(seen)
        if (before := self._counted.get(key)) is not None:
            self._counted[key] = _sum(before, seen)
        elif len(self._counted) < MAX_COUNTED:
            self._counted[key] = seen
        else:
            self._dropped += seen.count
        self.on_news()

    def next_due(self, now: float) -> float | None:
        """Return when there is something to send: `now`, or later when there are only repeats.

        None when there is nothing.
        """
        if self._endpoints is not None or self._ended or self._dropped:
            return now
        return min(
            (max(now, self._last_reported(key) + COALESCE) for key in self._counted), default=None
        )

    def _last_reported(self, key: Key) -> float:
        """Return when this was reported last.

        When many were reported just now (a scan), a new one waits like a repeat.
        """
        last = self._reported.get(key, -COALESCE)
        return last if len(self._reported) < MAX_COUNTED else max(self._reported.values())

    def take(self, now: float) -> ObservationReport | None:
        """Return the next batch, which the caller sends or returns with `restore`.

        None when nothing is due.
        """
        due = self.next_due(now)
        if due is None or due > now:
            return None
        batch: list[Observation] = []
        if self._endpoints is not None:
            batch.append(self._endpoints)
            self._endpoints = None
        while self._ended and len(batch) < MAX_BATCH:
            batch.append(self._ended.popleft())
        self._reported = {
            key: last for key, last in self._reported.items() if now - last < COALESCE
        }
        for key in list(self._counted)[: MAX_BATCH - len(batch)]:
            batch.append(self._counted.pop(key))
            self._reported[key] = now
        dropped, self._dropped = self._dropped, 0
        return ObservationReport(observations=tuple(batch), dropped=dropped)

    def restore(self, report: ObservationReport) -> None:
        """Add a batch again that did not arrive; newer observations stay newer."""
        self._dropped += report.dropped
        for seen in reversed(report.observations):
            match seen:
                case EndpointStates():
                    self._endpoints = self._endpoints or seen
                case UnmatchedDevice() | AssociationEnded(outcome="rejected"):
                    self._merge_older(seen)
                case AssociationEnded() if len(self._ended) < MAX_ENDED:
                    self._ended.appendleft(seen)
                case AssociationEnded():
                    self._dropped += 1

    def _merge_older(self, seen: Counted) -> None:
        newer = self._counted.pop(_key(seen), None)
        self._count(seen if newer is None else _sum(seen, newer))


def _key(seen: Counted) -> Key:
    return (
        type(seen).__name__,
        seen.listener,
        seen.address,
        seen.calling_ae,
        seen.called_ae,
        seen.reason,
    )


def _sum(older: Counted, newer: Counted) -> Counted:
    """Return the newer one with the count of both, and the older one's beginning."""
    count = older.count + newer.count
    if isinstance(older, UnmatchedDevice):
        return msgspec.structs.replace(newer, count=count, first=older.first)
    return msgspec.structs.replace(newer, count=count)
