"""Blobs that no row refers to.

What a store left whose commit failed, or whose process ended in between.

They are harmless and invisible. Finding them is present, removing them is the sweep's; nothing on
the ingest path deletes.
"""

from collections.abc import AsyncIterator
from typing import Final

from swallowtail.cloud.model.ports.blobs import BlobFound, Blobs
from swallowtail.cloud.model.ports.instances import Instances
from swallowtail.cloud.model.tenancy import Tenant

_BATCH: Final = 500


async def orphans(
    blobs: Blobs, instances: Instances, tenant: Tenant, *, before: float
) -> AsyncIterator[BlobFound]:
    """Find the tenant's orphans that were finished before a moment.

    Younger ones may be on their way to a row.
    """
    batch: list[BlobFound] = []
    async for blob in blobs.found(tenant):
        if blob.modified < before:
            batch.append(blob)
        if len(batch) == _BATCH:
            for orphan in await _unreferenced(instances, tenant, batch):
                yield orphan
            batch = []
    for orphan in await _unreferenced(instances, tenant, batch):
        yield orphan


async def _unreferenced(
    instances: Instances, tenant: Tenant, batch: list[BlobFound]
) -> list[BlobFound]:
    referenced = await instances.referenced(tenant, [blob.sha256 for blob in batch])
    return [blob for blob in batch if blob.sha256 not in referenced]
