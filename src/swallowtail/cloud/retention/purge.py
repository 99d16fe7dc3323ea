"""The purge.

What was deleted is removed permanently when its retention ends, or earlier by an administrator.
"""

from typing import Final

import structlog

from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.deletion import Deletion, Scope
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.port_errors import ConflictError
from swallowtail.cloud.model.ports.deletions import Deletions, Retentions
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.retention.clock import SteadyClock
from swallowtail.cloud.retention.deleting import AT_ONCE

DELETIONS: Final = 20
"""Deletions that one periodic check purges; the next periodic check goes on."""

log = structlog.get_logger()


class Purge:
    """The purge; `steady` checks `clock` before anything is purged by time."""

    def __init__(
        self, deletions: Deletions, retentions: Retentions, *, clock: Clock, steady: SteadyClock
    ) -> None:
        self._deletions, self._retentions = deletions, retentions
        self._clock, self._steady = clock, steady

    async def look(self) -> None:
        """Purge what has expired (periodic check)."""
        now = self._steady.now()
        if now is None:
            return
        for tenant, deletion in await self._deletions.expired(DELETIONS, now=now):
            try:
                count = await self._all(tenant, deletion, None, purged(deletion, actor="cloud"))
            except (
                ConflictError
            ):  # locked since it was found; the next periodic check leaves it out
                continue
            if count:
                log.info("deletion purged", tenant=tenant, count=count)
        for tenant in await self._retentions.ended(1, now=now):
            await self._end(tenant)

    async def _end(self, tenant: Tenant) -> None:
        """Purge a removed organisation."""
        event = AuditEvent(
            event=EventId.APPLICATION_ACTIVITY,
            action=EventAction.DELETE,
            type="organisation.purge",
            actor="cloud",
            objects=(("organisation", tenant),),
        )
        total = 0
        while count := await self._retentions.purge(
            tenant, limit=AT_ONCE, now=self._clock(), event=event
        ):
            total += count
        log.info("organisation purged", tenant=tenant, count=total)

    async def purge(self, caller: Caller, deletion: str, confirmed: str) -> Deletion:
        """Purge a deletion before its retention ends.

        ConflictError: `confirmed` is not what the deletion is about, in its narrowest term, or a
        retention lock keeps the study.
        """
        principal, tenant = caller.principal, caller.tenant
        facilities = principal.facilities
        found = await self._deletions.deletion(tenant, deletion, facilities=facilities)
        if confirmed != subject_of(found.scope):
            raise ConflictError(
                "the confirmation does not name what was deleted; compare it with the deletion"
            )
        event = purged(found, actor=principal.id, role=principal.role, address=caller.address)
        await self._all(tenant, found, facilities, event)
        return await self._deletions.deletion(tenant, deletion, facilities=facilities)

    async def _all(
        self,
        tenant: Tenant,
        deletion: Deletion,
        facilities: frozenset[str] | None,
        event: AuditEvent,
    ) -> int:
        total, first = 0, True
        while count := await self._deletions.purge(
            tenant, deletion.id,
            facilities=facilities, limit=AT_ONCE, now=self._clock(), event=event if first else None,
        ):  # fmt: skip
            total, first = total + count, False
        return total


def subject_of(scope: Scope) -> str:
    """Return the narrowest term of a scope, with which a purge is confirmed."""
    return scope.sop_instance or scope.series or scope.study or str(scope.instance)


def purged(deletion: Deletion, *, actor: str, role: str = "", address: str = "") -> AuditEvent:
    """Return the audit event of a purge.

    DICOM Study Deleted (PS3.15 A.5.3.8) if it was a whole study.
    """
    scope = deletion.scope
    whole = bool(scope.study) and not scope.series and not scope.sop_instance
    named = (("study", scope.study), ("series", scope.series), ("instance", scope.sop_instance))
    return AuditEvent(
        event=EventId.STUDY_DELETED if whole else EventId.INSTANCES_ACCESSED,
        action=EventAction.DELETE,
        type="deletion.purge",
        actor=actor,
        role=role,
        address=address,
        objects=(("deletion", deletion.id), *((kind, uid) for kind, uid in named if uid)),
        detail=deletion.reason,
    )
