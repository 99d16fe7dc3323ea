"""The periodic check of QUEUE_OLD: deliveries that wait too long.

It also makes dead letters of deliveries to removed destinations, and measures the queues.
"""

import hashlib
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import ClassVar, Final

import structlog
from prometheus_client import Gauge

from swallowtail.cloud.alarms.check import AlarmCheck, CheckSources
from swallowtail.cloud.dispatch.sites import Sites
from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId, EventOutcome
from swallowtail.cloud.model.conditions import Condition, Severity
from swallowtail.cloud.model.delivery import (
    OPEN_STATES,
    BreakerState,
    DeliverySearch,
    DeliveryState,
    DestinationState,
    Target,
)
from swallowtail.cloud.model.operations import NewAlarm
from swallowtail.cloud.model.tenancy import Tenant

log = structlog.get_logger()

OLD: Final = 3600.0
"""Seconds that a delivery may wait before a person should see it."""
MAX_MEASURED: Final = 2_000
"""Destinations with figures of their own, those with the longest queues."""

DEPTH: Final = Gauge(
    "swallowtail_queue_depth",
    "Deliveries that wait or are under way, by destination",
    ["destination"],
)
AGE: Final = Gauge(
    "swallowtail_queue_oldest_seconds",
    "Age of the oldest of these, by destination",
    ["destination"],
)
TOTAL: Final = Gauge(
    "swallowtail_queues_depth", "Deliveries that wait or are under way at all destinations"
)
PARKED_REASON: Final = Gauge(
    "swallowtail_queues_aside", "Deliveries that are parked or dead letters, at all destinations"
)


class QueueOld(AlarmCheck):
    """Every queue of every organisation; also ends and measures them."""

    condition: ClassVar[Condition] = Condition.QUEUE_OLD

    def __init__(self, sources: CheckSources) -> None:
        super().__init__(sources)
        self._removed: set[tuple[Tenant, Target]] = set()
        """Destinations that are no longer configured, whose alarm was cleared."""
        self._states: list[DestinationState] = []

    async def begin(self) -> None:
        self._states = []

    async def alarms(self, tenant: Tenant, now: float) -> Collection[NewAlarm]:
        found = await self.sources.deliveries.destinations(tenant, None, now=now)
        states = await self._end_removed(tenant, found, now)
        self._states += states.values()
        return [_old(state) for state in states.values() if _age(state, now) >= OLD]

    async def end(self) -> None:
        measure(self._states, self.sources.clock())

    async def _end_removed(
        self, tenant: Tenant, states: Mapping[Target, DestinationState], now: float
    ) -> Mapping[Target, DestinationState]:
        """Make dead letters of deliveries to destinations that are no longer configured.

        Return the states afterwards.
        """
        sites = await self.sources.configurations.sites(tenant, [target.link for target in states])
        absent = {target for target in states if is_removed(target, sites)}
        self._removed -= {(tenant, target) for target in states if target not in absent}
        removed = [target for target in absent if _depth(states[target])]
        for target in removed:
            await self._end(tenant, target, now)
        for target in absent:
            if (tenant, target) not in self._removed:  # no attempt will clear it
                await self.sources.alarms.clear(
                    tenant, Condition.DESTINATION_FAILING, target.subject, now=now
                )
                self._removed.add((tenant, target))
        return (
            {**states, **await self.sources.deliveries.destinations(tenant, removed, now=now)}
            if removed
            else states
        )

    async def _end(self, tenant: Tenant, target: Target, now: float) -> None:
        reason = (
            f"{target.destination} is no longer in the configuration of its Link; put it back and"
            " resend, or skip"
        )
        event = AuditEvent(
            event=EventId.APPLICATION_ACTIVITY,
            action=EventAction.UPDATE,
            outcome=EventOutcome.MINOR_FAILURE,
            type="deliveries.destination-gone",
            actor="cloud",
            objects=(("link", target.link), ("destination", target.destination)),
        )
        search = DeliverySearch(link=target.link, destination=target.destination)
        count = await self.sources.deliveries.act(
            tenant, search, (), DeliveryState.DEAD_LETTER, reason=reason, now=now, event=event
        )
        log.warning(
            "deliveries of removed destination parked",
            destination=target.destination,
            count=count,
        )


def is_removed(target: Target, sites: Sites) -> bool:
    """Return whether a destination is configured no more, as far as the documents can be read."""
    return target not in sites.destinations and target.link not in sites.unreadable


def measure(states: list[DestinationState], now: float) -> None:
    """Set the gauges.

    `/metrics` needs no token, so a destination is named by its Link's id and a digest of its name.
    """
    DEPTH.clear()
    AGE.clear()
    TOTAL.set(sum(map(_depth, states)))
    PARKED_REASON.set(
        sum(
            state.counts.get(kind, 0)
            for state in states
            for kind in (DeliveryState.PARKED, DeliveryState.DEAD_LETTER)
        )
    )
    for state in sorted(states, key=_depth, reverse=True)[:MAX_MEASURED]:
        label = label_of(state.target)
        DEPTH.labels(label).set(_depth(state))
        AGE.labels(label).set(_age(state, now))


def label_of(target: Target) -> str:
    """Return a destination's label.

    Its Link's id, and the first eight hexadecimal digits of the SHA-256 of its name.
    """
    return f"{target.link}:{hashlib.sha256(target.destination.encode()).hexdigest()[:8]}"


def _depth(state: DestinationState) -> int:
    return sum(state.counts.get(kind, 0) for kind in OPEN_STATES)


def _age(state: DestinationState, now: float) -> float:
    return 0.0 if state.oldest is None else max(0.0, now - state.oldest)


def _old(state: DestinationState) -> NewAlarm:
    since = datetime.fromtimestamp(state.oldest or 0.0, UTC).strftime("%Y-%m-%d %H:%M UTC")
    detail = f"a delivery to {state.target.destination} waits since {since}: {_why(state)}"
    return NewAlarm(
        condition=Condition.QUEUE_OLD,
        subject=state.target.subject,
        severity=Severity.WARNING,
        detail=detail,
    )


def _why(state: DestinationState) -> str:
    if state.paused:
        return "the destination is paused; resume it"
    if state.counts.get(DeliveryState.STOPPED):
        return "a lane has stopped at an instance that was refused; retry, park or skip that one"
    if state.breaker is not BreakerState.CLOSED:
        return state.detail
    return "check whether its Link is online, and the state of its queue"
