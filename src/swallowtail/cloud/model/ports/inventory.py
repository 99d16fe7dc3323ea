"""The port of the inventory of a Cloud."""

from typing import Protocol

from swallowtail.cloud.model.inventory import BlobReference, IndexCounts
from swallowtail.cloud.model.tenancy import Tenant


class Inventory(Protocol):
    """The references from rows to blobs, tenant by tenant."""

    async def tenants(self) -> tuple[tuple[Tenant, str], ...]:
        """Return (id, name) of every organisation by id, the removed ones included."""

    async def blobs(
        self, tenant: Tenant, *, after: bytes = b"", limit: int = 1000
    ) -> tuple[BlobReference, ...]:
        """Return at most `limit` references in the order of their digest, beginning behind `after`.

        Every row counts, whether its instance is visible or not, or deleted and not purged yet.
        """

    async def index(self, tenant: Tenant) -> IndexCounts:
        """Return the counts of a tenant's index."""
