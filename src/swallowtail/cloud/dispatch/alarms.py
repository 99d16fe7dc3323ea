"""The alarm DESTINATION_FAILING.

Raised when a breaker opens, cleared when the destination answers again.

Those of dead letters and stopped lanes are raised and cleared by the records, with the change
itself.
"""

from typing import Final

import structlog

from swallowtail.cloud.dispatch.planner import Plan
from swallowtail.cloud.model.conditions import Condition, Severity
from swallowtail.cloud.model.delivery import BreakerState, Target
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.operations import NewAlarm
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.ports.operations import Alarms
from swallowtail.cloud.model.tenancy import Tenant

log = structlog.get_logger()

MAX_REPORTED: Final = 10_000
"""Destinations whose last result is kept; the alarm of others may be written once more."""


class DestinationAlarm:
    """The last results of destinations, so that only a change costs a write."""

    def __init__(self, alarms: Alarms, *, clock: Clock) -> None:
        self._alarms, self._clock = alarms, clock
        self._well: dict[tuple[Tenant, Target], bool] = {}

    async def report(self, tenant: Tenant, planned: Plan) -> None:
        """Raise or clear the alarm after an attempt."""
        state = planned.state
        well = state.failing_since is None
        if not well and state.breaker is BreakerState.CLOSED:
            return  # a few failures in a row are no outage yet
        if self._well.get((tenant, state.target)) is well:
            return
        try:
            if well:
                await self._alarms.clear(
                    tenant, Condition.DESTINATION_FAILING, state.target.subject, now=self._clock()
                )
            else:
                await self._alarms.raise_alarm(
                    tenant, _alarm(state.target, state.detail), now=self._clock()
                )
        except StorageUnavailableError:
            log.warning("destination alarm not stored", destination=state.target.destination)
            return
        if len(self._well) >= MAX_REPORTED:
            self._well.clear()
        self._well[tenant, state.target] = well


def _alarm(target: Target, detail: str) -> NewAlarm:
    return NewAlarm(
        condition=Condition.DESTINATION_FAILING,
        subject=target.subject,
        severity=Severity.MAJOR,
        detail=f"deliveries to {target.destination} wait: {detail}",
    )
