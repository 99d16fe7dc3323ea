import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from swallowtail.cloud.blobs.disk import Disk, OsDisk
from swallowtail.cloud.blobs.folder import FolderBlobs
from swallowtail.cloud.blobs.workers import InlineWorkers, ThreadWorkers
from swallowtail.cloud.model.indexing import Quarantined
from swallowtail.cloud.records.postgresql_server import open_database
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.records.sqlite import SqliteDatabase
from tests.conformance.deletions import commit
from tests.conformance.invented import NORTH, NOW, admitted_link, indexed, tenants
from tests.doubles.memory_database import INVENTED_KEYS, CommittedRows, MemoryDatabase
from tests.doubles.simulated_disk import SimulatedDisk
from tests.postgresql import PostgresqlServer


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


@pytest.fixture(params=["sqlite", "memory", "postgresql"])
async def records(
    request: pytest.FixtureRequest, tmp_path: Path, empty_database: Path
) -> AsyncIterator[Records]:
    """Every adapter of the records' ports in turn, with two organisations in it."""
    if request.param == "postgresql":
        started: PostgresqlServer = request.getfixturevalue("postgresql_server")
        server = started.create()
        on_server = open_database(server, audit_keys=INVENTED_KEYS)
        records = Records(on_server)
        await tenants(records)
        yield records
        await on_server.close()
        started.drop(server)
        return
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


@pytest.fixture
async def ward(records: Records) -> Records:
    """A study of three instances in two series, a second study, and an instance that cannot be
    indexed.
    """
    await admitted_link(records)
    ids = [await commit(records, f"1.2.{number}", str(number)) for number in range(5)]
    outcomes = [
        indexed(ids[0]),
        indexed(ids[1]),
        indexed(ids[2], series="1.2.1.2", modality="SR"),
        indexed(ids[3], study="1.3", series="1.3.1", name="Bittern^Bea"),
    ]
    await records.index_jobs.settle(outcomes, now=NOW)
    await records.index_jobs.settle(
        [Quarantined(tenant=NORTH, instance=ids[4], problem="no end")], now=NOW
    )
    return records
