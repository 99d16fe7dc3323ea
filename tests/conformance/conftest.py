import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from swallowtail.cloud.blobs.disk import Disk, OsDisk
from swallowtail.cloud.blobs.folder import FolderBlobs
from swallowtail.cloud.blobs.simulated import SimulatedDisk
from swallowtail.cloud.blobs.workers import InlineWorkers, ThreadWorkers
from swallowtail.cloud.records.memory import INVENTED_KEYS, CommittedRows, MemoryDatabase
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.records.sqlite import SqliteDatabase
from tests.conformance.invented import tenants


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with its tables, made once.

    Migrating takes longer than most of these tests.
    """
    path = tmp_path_factory.mktemp("empty") / "records.sqlite"
    database = SqliteDatabase.open(
        path, audit_keys=INVENTED_KEYS, on_fatal=lambda error: pytest.fail(str(error))
    )
    asyncio.run(database.close())
    return path


@pytest.fixture(params=["sqlite", "memory"])
async def records(
    request: pytest.FixtureRequest, tmp_path: Path, empty_database: Path
) -> AsyncIterator[Records]:
    """Every adapter of the records' ports in turn, with two organisations in it."""
    if request.param == "memory":
        rows = CommittedRows()
        records = Records(MemoryDatabase(rows))
        await tenants(records)
        yield records
        rows.close()
    else:
        shutil.copy(empty_database, tmp_path)
        database = SqliteDatabase.open(
            tmp_path / "records.sqlite",
            audit_keys=INVENTED_KEYS,
            on_fatal=lambda error: pytest.fail(str(error)),
        )
        records = Records(database)
        await tenants(records)
        yield records
        await database.close()


@dataclass
class Store:
    """A blob store with the disk that it stands on."""

    blobs: FolderBlobs
    disk: Disk


@pytest.fixture(params=["folder", "simulated"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Every adapter of the port `Blobs` in turn, with a cap of 5 MB."""
    disk = OsDisk(tmp_path / "data") if request.param == "folder" else SimulatedDisk().mount()
    workers = ThreadWorkers(2) if request.param == "folder" else InlineWorkers()
    blobs = FolderBlobs(
        disk, workers, on_fatal=lambda error: pytest.fail(str(error)), max_object=5_000_000
    )
    assert await blobs.open() == 0
    yield Store(blobs, disk)
    if isinstance(workers, ThreadWorkers):
        await workers.close()
