from swallowtail.calls.store import Committed, NotStored
from swallowtail.cloud.model.ports.blobs import BlobFound
from swallowtail.cloud.retention.orphans import orphans
from tests.conformance.invented import NORTH, NOW
from tests.unit.cloud.ingest.test_store_instance import Cloud, body, cloud

__all__ = ["cloud"]


async def found(cloud: Cloud, before: float = NOW) -> list[BlobFound]:
    return [
        orphan
        async for orphan in orphans(cloud.blobs, cloud.records.instances, NORTH, before=before)
    ]


async def test_a_blob_without_row_is_found_and_one_with_is_not(cloud: Cloud) -> None:
    assert isinstance(await cloud.store(body(b"kept")), Committed)
    cloud.rows.unavailable = True
    assert isinstance(await cloud.store(body(b"orphan")), NotStored)
    cloud.rows.unavailable = False
    assert [orphan.length for orphan in await found(cloud)] == [6]
    assert await found(cloud, before=0.0) == []


async def test_a_retry_adopts_the_orphan(cloud: Cloud) -> None:
    cloud.rows.unavailable = True
    await cloud.store(body(b"orphan"))
    cloud.rows.unavailable = False
    assert isinstance(await cloud.store(body(b"orphan")), Committed)
    assert await found(cloud) == []
