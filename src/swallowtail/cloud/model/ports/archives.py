"""The port of archives."""

from collections.abc import Sequence
from typing import Protocol

from swallowtail.cloud.model.archives import AccessLimits, Archive
from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.tenancy import Tenant


class Archives(Protocol):
    """The archives of an organisation, and which studies are in them."""

    async def add(self, tenant: Tenant, archive: Archive, *, now: float, event: AuditEvent) -> None:
        """Create an archive.

        Raises ConflictError when the name is taken or there are MAX_ARCHIVES.
        """

    async def rename(
        self, tenant: Tenant, archive: str, name: str, *, now: float, event: AuditEvent
    ) -> Archive:
        """Rename an archive; raises ConflictError when the name is taken."""

    async def remove(self, tenant: Tenant, archive: str, *, now: float, event: AuditEvent) -> None:
        """Delete an archive; its studies stay stored, in none.

        ConflictError while a rule or a token names it.
        """

    async def archive(self, tenant: Tenant, archive: str) -> Archive:
        """Return one archive."""

    async def archives(
        self,
        tenant: Tenant,
        page: PageRequest = FIRST_PAGE,
        *,
        name: str | None = None,
        ids: frozenset[str] | None = None,
    ) -> Page[Archive]:
        """List archives by name, of these ids if given."""

    async def known(self, tenant: Tenant, ids: Sequence[str]) -> frozenset[str]:
        """Return those of the ids that are archives."""

    async def put(
        self,
        tenant: Tenant,
        study: str,
        archive: str,
        *,
        limits: AccessLimits,
        now: float,
        event: AuditEvent,
    ) -> None:
        """Add to an archive what is within `limits` of a study; NotFoundError.

        There is no such study or archive.
        """

    async def take_out(
        self,
        tenant: Tenant,
        study: str,
        archive: str,
        *,
        limits: AccessLimits,
        now: float,
        event: AuditEvent,
    ) -> None:
        """Remove from this archive what is within `limits` of a study; NotFoundError.

        It is not in there.
        """
