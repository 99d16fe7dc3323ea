"""Use cases of a person who deletes and restores.

In batches, so that no transaction holds up stores for long.
"""

from collections.abc import Callable
from typing import Final

from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.deletion import Deletion, NewDeletion, Scope, Selection
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.imaging import Instance
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.ports.deletions import Deletions
from swallowtail.cloud.model.ports.tenancy import People
from swallowtail.cloud.model.tenancy import DAY, Principal, Tenant

AT_ONCE: Final = 250
"""Instances of one transaction: 30 ms, in which no store is committed."""


class Deleting:
    """Deletes and restores what a principal's facilities allow.

    `wake_link` is called with the id of each Link whose queues a deletion has changed.
    """

    def __init__(
        self,
        deletions: Deletions,
        people: People,
        *,
        clock: Clock,
        wake_link: Callable[[str], None],
        wake_index: Callable[[], None],
    ) -> None:
        self._deletions, self._people, self._clock = deletions, people, clock
        self._wake_link, self._wake_index = wake_link, wake_index

    async def delete(
        self,
        principal: Principal,
        tenant: Tenant,
        deletion: str,
        scope: Scope,
        *,
        reason: str,
        event: AuditEvent,
    ) -> Deletion:
        """Delete what the scope names and return the deletion, which has the id `deletion`.

        What is deleted already is no error: its deletion is returned, as long as something of it
        can be restored. NotFoundError: there is no such thing. What arrives meanwhile, or is not
        indexed yet, belongs to no study and stays.
        """
        now, facilities = self._clock(), principal.facilities
        retention = (await self._people.organisation(tenant)).retention_days * DAY
        new = NewDeletion(
            id=deletion,
            scope=scope,
            facilities=facilities,
            reason=reason,
            deleted=now,
            deleted_by=principal.id,
            until=now + retention,
        )
        try:
            batch = await self._deletions.delete(tenant, new, limit=AT_ONCE, now=now, event=event)
        except NotFoundError:
            known = await self._deletions.latest(tenant, scope, facilities=facilities)
            if known is None:
                raise
            return known
        while batch.count:
            for link in batch.links:
                self._wake_link(link)
            batch = await self._deletions.delete(
                tenant, new, last=batch.last, limit=AT_ONCE, now=self._clock(), event=event
            )
        self._wake_index()
        return await self._deletions.deletion(tenant, deletion, facilities=facilities)

    async def deletions(
        self, principal: Principal, tenant: Tenant, page: PageRequest = FIRST_PAGE
    ) -> Page[Deletion]:
        """List deletions, the newest first."""
        return await self._deletions.deletions(tenant, page, facilities=principal.facilities)

    async def deletion(self, principal: Principal, tenant: Tenant, deletion: str) -> Deletion:
        """Return one deletion."""
        return await self._deletions.deletion(tenant, deletion, facilities=principal.facilities)

    async def deleted(
        self, principal: Principal, tenant: Tenant, deletion: str, page: PageRequest = FIRST_PAGE
    ) -> Page[Instance]:
        """List the instances of a deletion that can be restored."""
        return await self._deletions.deleted(
            tenant, deletion, page, facilities=principal.facilities
        )

    async def restore(
        self,
        principal: Principal,
        tenant: Tenant,
        deletion: str,
        selection: Selection,
        *,
        event: AuditEvent,
    ) -> Deletion:
        """Restore a deletion, or of it what is selected.

        What is restored or stored again already is no error.
        """
        first: AuditEvent | None = event
        while await self._deletions.restore(
            tenant, deletion, selection,
            facilities=principal.facilities, limit=AT_ONCE, now=self._clock(), event=first,
        ):  # fmt: skip
            first = None
        self._wake_index()
        return await self._deletions.deletion(tenant, deletion, facilities=principal.facilities)
