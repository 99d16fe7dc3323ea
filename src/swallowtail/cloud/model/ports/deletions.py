"""The ports of deletion, retention and blobs without an instance."""

from collections.abc import Collection
from typing import Protocol

from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.deletion import (
    DeletedBatch,
    Deletion,
    NewDeletion,
    RetentionLock,
    Scope,
    Selection,
)
from swallowtail.cloud.model.imaging import Instance
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.tenancy import Organisation, Tenant


class Deletions(Protocol):
    """Deleted instances.

    Changes of many instances come in batches, each of which is one transaction.
    """

    async def delete(
        self,
        tenant: Tenant,
        new: NewDeletion,
        *,
        last: int | None = None,
        limit: int,
        now: float,
        event: AuditEvent,
    ) -> DeletedBatch:
        """Delete the first `limit` SOP Instance UIDs of the scope of `new`.

        Instances up to the id `last` are included; None: all.

        The first batch (`last` is None) keeps the deletion and its audit event; NotFoundError if
        there is nothing to delete. ConflictError: a retention lock keeps one of the studies.
        Deliveries of the instances that are not under way are skipped. Of a UID whose visible copy
        is deleted, the copy that came first among the remaining ones becomes visible. Blobs are not
        touched.
        """

    async def deletions(
        self,
        tenant: Tenant,
        page: PageRequest = FIRST_PAGE,
        *,
        facilities: frozenset[str] | None = None,
    ) -> Page[Deletion]:
        """List deletions, the newest first.

        Those that concern one of `facilities` only if given.
        """

    async def deletion(
        self, tenant: Tenant, deletion: str, *, facilities: frozenset[str] | None = None
    ) -> Deletion:
        """Return one."""

    async def latest(
        self, tenant: Tenant, scope: Scope, *, facilities: frozenset[str] | None = None
    ) -> Deletion | None:
        """Return the newest deletion of exactly this scope that can still be restored, if any."""

    async def deleted(
        self,
        tenant: Tenant,
        deletion: str,
        page: PageRequest = FIRST_PAGE,
        *,
        facilities: frozenset[str] | None = None,
    ) -> Page[Instance]:
        """List the instances of a deletion that can be restored, in the order of arrival."""

    async def restore(
        self, tenant: Tenant, deletion: str, selection: Selection, *,
        facilities: frozenset[str] | None = None, limit: int, now: float, event: AuditEvent | None,
    ) -> int:  # fmt: skip
        """Restore at most `limit` instances under the ids that they had; returns how many, 0.

        None is left to restore.

        One that has been stored again since is left in the deletion: the copy that is there is the
        same. A restored instance is visible if it was, unless another copy of its UID is by now. It
        is indexed again. `event` is kept if something is restored.
        """

    async def purge(
        self, tenant: Tenant, deletion: str, *,
        facilities: frozenset[str] | None = None, limit: int, now: float, event: AuditEvent | None,
    ) -> int:  # fmt: skip
        """Remove at most `limit` instances of a deletion, permanently; returns how many, 0.

        None is left that can be purged.

        Their documents, deliveries, and studies and series of which nothing is left go with them.
        Blobs that no row refers to any more are noted as such (`UnreferencedBlobs`). One that is
        being delivered stays. `event` is kept if something is purged. ConflictError: a retention
        lock keeps one of the studies.
        """

    async def expired(self, limit: int, *, now: float) -> tuple[tuple[Tenant, Deletion], ...]:
        """Return deletions to purge because their retention has ended, the oldest first.

        Those of all tenants (machinery).

        Those of which a retention lock keeps something are left out.
        """


class UnreferencedBlobs(Protocol):
    """Blobs that no row refers to, and since when. For the machinery: it spans tenants."""

    async def mark(self, tenant: Tenant, digests: Collection[bytes], *, now: float) -> int:
        """Note those of the blobs that no row refers to, from now on, or as they are noted already.

        Returns how many are new.
        """

    async def due(
        self, limit: int, *, before: float, after: tuple[Tenant, bytes] | None = None
    ) -> tuple[tuple[Tenant, bytes], ...]:
        """Return blobs that were recorded before a moment, by tenant and digest, after `after`."""

    async def condemn(
        self, tenant: Tenant, digests: Collection[bytes], *, before: float
    ) -> frozenset[bytes]:
        """Return those that were noted before the moment and that no row refers to.

        The notes of the others that one does go.

        Every commit that was requested before this call counts, also of a cancelled caller.
        """

    async def swept(
        self, tenant: Tenant, digests: Collection[bytes], *, now: float, event: AuditEvent
    ) -> None:
        """Delete the record of blobs that were removed; audited."""


class Retentions(Protocol):
    """The retention of what is deleted, and of removed organisations."""

    async def set_days(
        self, tenant: Tenant, days: int, *, now: float, event: AuditEvent
    ) -> Organisation:
        """Set the retention of what is deleted from now on; earlier deletions keep theirs."""

    async def ended(self, limit: int, *, now: float) -> tuple[Tenant, ...]:
        """Return removed organisations whose retention has ended (machinery).

        Those with a lock, and those that are purged, are omitted.
        """

    async def purge(self, tenant: Tenant, *, limit: int, now: float, event: AuditEvent) -> int:
        """Remove at most `limit` instances of a removed organisation; returns how many.

        0: the rest of it is removed, too, but for its audit. `event` is kept then, in its chain and
        in the operator's.
        """

    async def lock(
        self, tenant: Tenant, lock: RetentionLock, *, now: float, event: AuditEvent
    ) -> RetentionLock:
        """Lock a study; returns the lock, the first one if it is locked.

        NotFoundError: nothing of it is stored or deleted.
        """

    async def unlock(self, tenant: Tenant, study: str, *, now: float, event: AuditEvent) -> None:
        """Remove a lock; NotFoundError where there is none."""

    async def locks(self, tenant: Tenant, page: PageRequest = FIRST_PAGE) -> Page[RetentionLock]:
        """List the locks by study."""
