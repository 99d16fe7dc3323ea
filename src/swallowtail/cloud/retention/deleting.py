"""Use cases of a person who deletes and restores.

In batches, so that no transaction holds up stores for long.
"""

from collections.abc import Callable
from typing import Final

from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.deletion import Deletion, NewDeletion, Scope, Selection
from swallowtail.cloud.model.environment import Clock, Randomness
from swallowtail.cloud.model.identifiers import new_id
from swallowtail.cloud.model.imaging import Instance
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.ports.deletions import Deletions
from swallowtail.cloud.model.ports.operations import Audit
from swallowtail.cloud.model.ports.tenancy import Organisations
from swallowtail.cloud.model.tenancy import DAY

AT_ONCE: Final = 250
"""Instances of one transaction: 30 ms, in which no store is committed."""


class Deleting:
    """The use cases that delete and restore in a principal's facilities.

    `wake_link` is called with the id of each Link whose queues a deletion has changed.
    """

    def __init__(
        self,
        deletions: Deletions,
        organisations: Organisations,
        audit: Audit,
        *,
        clock: Clock,
        random: Randomness,
        wake_link: Callable[[str], None],
        wake_index: Callable[[], None],
    ) -> None:
        self._deletions, self._organisations, self._audit = deletions, organisations, audit
        self._clock, self._random = clock, random
        self._wake_link, self._wake_index = wake_link, wake_index

    async def delete(self, caller: Caller, scope: Scope, kind: str, *, reason: str) -> Deletion:
        """Delete what the scope names and return the deletion; `kind` is its audit type.

        What is deleted already is no error: its deletion is returned, as long as something of it
        can be restored. NotFoundError: there is no such thing. What arrives meanwhile, or is not
        indexed yet, belongs to no study and stays.
        """
        principal, tenant, deletion = caller.principal, caller.tenant, new_id(self._random)
        event = _deletion_event(caller, deletion, scope, kind, reason)
        now, facilities = self._clock(), principal.facilities
        retention = (await self._organisations.organisation(tenant)).retention_days * DAY
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

    async def delete_study(self, caller: Caller, scope: Scope, reason: str) -> Deletion:
        """Delete what the caller may see of a study."""
        return await self.delete(caller, scope, "study.delete", reason=reason)

    async def delete_series(self, caller: Caller, scope: Scope, reason: str) -> Deletion:
        """Delete what the caller may see of a series."""
        return await self.delete(caller, scope, "series.delete", reason=reason)

    async def delete_instance(self, caller: Caller, scope: Scope, reason: str) -> Deletion:
        """Delete an instance: one copy by its id, or all of a series by UID."""
        return await self.delete(caller, scope, "instance.delete", reason=reason)

    async def deletions(self, caller: Caller, page: PageRequest = FIRST_PAGE) -> Page[Deletion]:
        """Return deletions, newest first."""
        facilities = caller.principal.facilities
        return await self._deletions.deletions(caller.tenant, page, facilities=facilities)

    async def deletion(self, caller: Caller, deletion: str) -> Deletion:
        """Return one deletion."""
        facilities = caller.principal.facilities
        return await self._deletions.deletion(caller.tenant, deletion, facilities=facilities)

    async def deleted(
        self, caller: Caller, deletion: str, page: PageRequest = FIRST_PAGE
    ) -> Page[Instance]:
        """Return the instances of a deletion that can be restored; audited."""
        found = await self._deletions.deleted(
            caller.tenant, deletion, page, facilities=caller.principal.facilities
        )
        event = caller.event(
            EventAction.READ,
            "deletion.look",
            ("deletion", deletion),
            event=EventId.INSTANCES_ACCESSED,
        )
        await self._audit.append(caller.tenant, [event], now=self._clock())
        return found

    async def restore(self, caller: Caller, deletion: str, selection: Selection) -> Deletion:
        """Restore a deletion, or of it what is selected.

        What is restored or stored again already is no error.
        """
        principal, tenant = caller.principal, caller.tenant
        event = caller.event(
            EventAction.CREATE,
            "deletion.restore",
            ("deletion", deletion),
            event=EventId.INSTANCES_ACCESSED,
        )
        first: AuditEvent | None = event
        while await self._deletions.restore(
            tenant, deletion, selection,
            facilities=principal.facilities, limit=AT_ONCE, now=self._clock(), event=first,
        ):  # fmt: skip
            first = None
        self._wake_index()
        return await self._deletions.deletion(tenant, deletion, facilities=principal.facilities)


def _deletion_event(
    caller: Caller, deletion: str, scope: Scope, kind: str, reason: str
) -> AuditEvent:
    """Return the audit event of a deletion; PS3.15 A.5.3.8 of a whole study."""
    row = "" if scope.instance is None else str(scope.instance)
    named = (
        ("study", scope.study),
        ("series", scope.series),
        ("instance", scope.sop_instance),
        ("row", row),
    )
    objects = [("deletion", deletion), *((noun, uid) for noun, uid in named if uid)]
    whole = kind == "study.delete"
    event = EventId.STUDY_DELETED if whole else EventId.INSTANCES_ACCESSED
    return caller.event(EventAction.DELETE, kind, *objects, event=event, detail=reason)
