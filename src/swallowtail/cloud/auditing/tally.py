"""Audit events that anybody on a network can cause.

Counted first, so that a flood of them is a few records.

Like events of the same minute become one record with their number. A tenant gets at most MOST
records a minute; what exceeds them is counted together. What was counted within the last minute is
lost when the process crashes.
"""

import datetime as dt
from typing import Final

import msgspec

from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.ports.operations import Audit
from swallowtail.cloud.model.tenancy import Tenant

FLUSH_EVERY: Final = 60.0
MOST: Final = 64
"""Different events of a tenant between two flushes; the rest of a kind is one more."""
MAX_TEXT: Final = 64
"""Characters of what a peer states of itself; an AE title has 16."""
OTHERS: Final = "(others)"


class _Count(msgspec.Struct):
    number: int
    first: float
    last: float

    def add(self, number: int, first: float, last: float) -> None:
        self.number, self.first, self.last = (
            self.number + number,
            min(self.first, first),
            max(self.last, last),
        )


class AuditTally:
    """Counts events until `flush` appends them to their chains."""

    def __init__(self, audit: Audit, clock: Clock) -> None:
        self._audit, self._clock = audit, clock
        self._counts: dict[Tenant, dict[AuditEvent, _Count]] = {}

    def note(
        self,
        tenant: Tenant,
        event: AuditEvent,
        number: int = 1,
        *,
        first: float | None = None,
        last: float | None = None,
    ) -> None:
        """Count an event; `first` and `last` default to now."""
        now = self._clock()
        self._add(tenant, event, _Count(max(1, number), first or now, last or now))

    async def flush(self) -> None:
        """Append what was counted.

        Raises StorageUnavailableError, and keeps what could not be appended.
        """
        counts, self._counts = self._counts, {}
        while counts:
            tenant, events = counts.popitem()
            try:
                await self._audit.append(
                    tenant,
                    [_record(event, count) for event, count in events.items()],
                    now=self._clock(),
                )
            except BaseException:
                counts[tenant] = events
                for kept_for, kept in counts.items():
                    for event, count in kept.items():
                        self._add(kept_for, event, count)
                raise

    def _add(self, tenant: Tenant, event: AuditEvent, count: _Count) -> None:
        events = self._counts.setdefault(tenant, {})
        if event not in events and len(events) >= MOST:
            event = msgspec.structs.replace(event, actor=OTHERS, address="", objects=(), detail="")
        if (known := events.get(event)) is None:
            events[event] = count
        else:
            known.add(count.number, count.first, count.last)


def _record(event: AuditEvent, count: _Count) -> AuditEvent:
    if count.number == 1:
        return event
    times = f"{count.number} times from {_moment(count.first)} to {_moment(count.last)}"
    return msgspec.structs.replace(
        event, detail=f"{event.detail}; {times}" if event.detail else times
    )


def _moment(seconds: float) -> str:
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):  # what a Link states
        return "an unknown time"
