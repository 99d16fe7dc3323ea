"""The one loop of all periodic checks of alarms.

Each check is on its own: one that fails, or takes longer than CHECK_LIMIT, is logged and repeated
at the next interval; the others go on.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

import structlog

from swallowtail.cloud.alarms.check import AlarmCheck, CheckSources
from swallowtail.cloud.alarms.table import CHECKS
from swallowtail.cloud.model.paging import walk
from swallowtail.cloud.model.port_errors import StorageUnavailableError

log = structlog.get_logger()

CHECK_LIMIT: Final = 120.0
"""Seconds for one check of all organisations."""


class AlarmLoop:
    """Examines every condition that has a periodic check, and keeps its alarms."""

    def __init__(
        self, sources: CheckSources, checks: Iterable[type[AlarmCheck]] = (*CHECKS.values(),)
    ) -> None:
        self._sources = sources
        self._checks = [check(sources) for check in checks]

    async def examine(self) -> None:
        """Run every check once, one after the other."""
        for check in self._checks:
            try:
                async with asyncio.timeout(CHECK_LIMIT):
                    await self._run(check)
            except (StorageUnavailableError, TimeoutError):
                log.warning("periodic check deferred", kind=check.condition.value)
            except Exception:  # a fault in one check must not end the others
                log.exception("periodic check failed", kind=check.condition.value)

    async def _run(self, check: AlarmCheck) -> None:
        await check.begin()
        async for organisation in walk(self._sources.organisations.organisations):
            now = self._sources.clock()
            raised = await check.alarms(organisation.id, now)
            await self._sources.alarms.keep(organisation.id, check.condition, raised, now=now)
        await check.end()
