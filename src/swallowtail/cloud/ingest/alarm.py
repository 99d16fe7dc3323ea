"""The alarm STORAGE.

Raised when a tenant's store fails because of disk or database, cleared by the next one that
succeeds.

The database that should keep the alarm may be what is down. Then the next store that fails tries
again, and a disk that is full while the database still writes, which is the common case, is seen at
once.
"""

import asyncio
from collections.abc import Awaitable
from typing import Final

import structlog

from swallowtail.cloud.model.conditions import Condition, Severity
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.operations import NewAlarm
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.ports.operations import Alarms
from swallowtail.cloud.model.tenancy import Tenant

PATIENCE: Final = 1.0
"""Seconds that a sender may wait longer for its answer because of the alarm.

Its deadline is 25 s.
"""
_SUBJECT: Final = "storage"

log = structlog.get_logger()


class StorageAlarm:
    """The result of each tenant's last store, so that only a change costs a write."""

    def __init__(self, alarms: Alarms, *, clock: Clock) -> None:
        self._alarms = alarms
        self._clock = clock
        self._well: dict[
            Tenant, bool
        ] = {}  # a tenant that is not in it may have an alarm from before this process

    async def failed(self, tenant: Tenant, detail: str) -> None:
        """Raise the alarm after a store that failed.

        `detail` names the error of disk or database, and what to do.
        """
        if self._well.get(tenant, True):
            alarm = NewAlarm(
                condition=Condition.STORAGE,
                subject=_SUBJECT,
                severity=Severity.CRITICAL,
                detail=detail,
            )
            if await self._kept(self._alarms.raise_alarm(tenant, alarm, now=self._clock())):
                self._well[tenant] = False

    async def succeeded(self, tenant: Tenant) -> None:
        """Clear the alarm after a store that succeeded."""
        if not self._well.get(tenant, False):
            cleared = self._alarms.clear(tenant, Condition.STORAGE, _SUBJECT, now=self._clock())
            if await self._kept(cleared):
                self._well[tenant] = True

    async def _kept(self, change: Awaitable[object]) -> bool:
        try:
            async with asyncio.timeout(PATIENCE):
                await change
        except (StorageUnavailableError, TimeoutError) as error:
            log.warning("storage alarm not stored", reason=type(error).__name__)
            return False
        return True
