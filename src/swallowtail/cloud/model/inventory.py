"""What the rows of the database refer to, for the commands that check, back up and restore a Cloud.

The port spans tenants and is for the machinery: no person's request reaches it.
"""

from typing import Protocol

import msgspec

from swallowtail.cloud.model.tenancy import Tenant


class BlobReference(msgspec.Struct, frozen=True):
    """A blob that at least one instance refers to.

    `instance` is the lowest row id among the `instances` rows that do.
    """

    sha256: bytes
    length: int
    instance: int
    instances: int


class IndexCounts(msgspec.Struct, frozen=True):
    """The state of a tenant's index: jobs that wait, instances that could not be indexed.

    `undocumented`: indexed instances without a document, at most 100 row ids.
    """

    waiting: int
    quarantined: int
    undocumented: tuple[int, ...]


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
