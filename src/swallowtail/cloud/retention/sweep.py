"""The sweep.

Blobs that no row refers to are noted, kept for QUARANTINE, and removed if still no row refers to
them.

A purge notes what it leaves over; what a store left whose commit failed is found by a walk, once a
day. A blob that is stored again meanwhile is noted no more. `model.ports.Blobs.remove` states why a
store that runs beside the removal loses nothing.
"""

from collections.abc import Awaitable, Callable
from itertools import groupby
from typing import Final

import structlog

from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.ports.blobs import Blobs
from swallowtail.cloud.model.ports.deletions import UnreferencedBlobs
from swallowtail.cloud.model.ports.instances import Instances
from swallowtail.cloud.model.tenancy import DAY, Tenant
from swallowtail.cloud.retention.clock import SteadyClock
from swallowtail.cloud.retention.orphans import orphans

QUARANTINE: Final = 7 * DAY
BATCH: Final = 200
SWEEP_EVERY: Final = 3600.0
WALK_EVERY: Final = DAY
FIRST_WALK: Final = 3600.0
"""Seconds from the start to the first walk.

A Cloud that has just started has other things to read.
"""
YOUNG: Final = 3600.0
"""Seconds for which a blob without a row is on its way to one."""
Tenants = Callable[[], Awaitable[tuple[tuple[Tenant, str], ...]]]

log = structlog.get_logger()


class BlobSweep:
    """The sweep that removes blobs without a row; one for each data folder."""

    def __init__(
        self,
        blobs: Blobs,
        unreferenced: UnreferencedBlobs,
        instances: Instances,
        tenants: Tenants,
        *,
        clock: Clock,
        steady: SteadyClock,
    ) -> None:
        self._blobs, self._unreferenced, self._instances, self._tenants = (
            blobs,
            unreferenced,
            instances,
            tenants,
        )
        self._clock, self._steady = clock, steady
        self._walk_at = clock() + FIRST_WALK

    async def look(self) -> None:
        """Remove what has been without a row for long enough.

        Once a day look for more (periodic check).
        """
        now = self._steady.now()
        if now is None:
            return
        if now >= self._walk_at:
            self._walk_at = now + WALK_EVERY
            await self.walk()
        await self.sweep(before=now - QUARANTINE)

    async def walk(self) -> int:
        """Note every blob without a row; returns how many are new."""
        count = 0
        for tenant, _ in await self._tenants():
            batch: list[bytes] = []
            async for orphan in orphans(
                self._blobs, self._instances, tenant, before=self._clock() - YOUNG
            ):
                batch.append(orphan.sha256)
                if len(batch) == BATCH:
                    count += await self._unreferenced.mark(tenant, batch, now=self._clock())
                    batch = []
            if batch:
                count += await self._unreferenced.mark(tenant, batch, now=self._clock())
        return count

    async def sweep(self, *, before: float) -> int:
        """Remove what was noted before a moment, unless a row refers to it by now.

        Returns how many blobs that was.
        """
        count, after = 0, None
        while due := await self._unreferenced.due(BATCH, before=before, after=after):
            after = due[-1]
            for tenant, found in groupby(due, lambda one: one[0]):
                count += await self._remove(tenant, [digest for _, digest in found], before)
        if count:
            log.info("unreferenced blobs removed", count=count)
        return count

    async def _remove(self, tenant: Tenant, digests: list[bytes], before: float) -> int:
        async def confirm(condemned: frozenset[bytes]) -> frozenset[bytes]:
            return await self._unreferenced.condemn(tenant, condemned, before=before)

        removed = await self._blobs.remove(tenant, digests, confirm)
        if removed:
            event = AuditEvent(
                event=EventId.APPLICATION_ACTIVITY,
                action=EventAction.DELETE,
                type="blobs.sweep",
                actor="cloud",
                detail=f"{len(removed)} blobs",
            )
            await self._unreferenced.swept(tenant, removed, now=self._clock(), event=event)
        return len(removed)
