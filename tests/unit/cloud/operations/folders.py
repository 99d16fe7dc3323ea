"""Data folders with a few instances of two organisations, made by the adapters that ship."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from swallowtail.cloud.blobs.disk import OsDisk
from swallowtail.cloud.blobs.folder import FolderBlobs
from swallowtail.cloud.blobs.workers import InlineWorkers
from swallowtail.cloud.data_folder.data_folder import DataFolder
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.records.sqlite import SqliteDatabase
from tests.conformance.invented import NORTH, NOW, SOUTH, arrival, digest, indexed, tenants

CONTENT = {NORTH: ("heron", "plover"), SOUTH: ("heron",)}
"""The bytes of the data sets, by organisation."""


async def make(path: Path) -> Path:
    """Create a data folder that no process has open."""
    folder = DataFolder(path)
    folder.pepper()
    keyring = folder.audit_keyring()
    folder.close()
    database = SqliteDatabase.open(
        path / "cloud.sqlite3",
        audit_keys=keyring.keys,
        on_fatal=lambda error: pytest.fail(str(error)),
    )
    records = Records(database)
    await keyring.settle(records.audit, now=NOW)
    await tenants(records)
    for tenant, contents in CONTENT.items():
        for number, content in enumerate(contents):
            await store(records, path, tenant, f"1.2.{number}", content)
    await database.close()
    return path


async def store(records: Records, path: Path, tenant: Tenant, uid: str, content: str) -> None:
    """Store and index one instance."""
    blobs = FolderBlobs(
        OsDisk(path), InlineWorkers(), on_fatal=lambda error: pytest.fail(str(error))
    )
    await blobs.open()
    async with blobs.incoming(tenant) as incoming:
        await incoming.write(memoryview(content.encode()))
        await incoming.finish()
    receipt = await records.instances.commit(
        tenant, arrival(uid, content, link=None, facility="clinic"), now=NOW
    )
    await records.index_jobs.claim(9, now=NOW, until=NOW + 30)
    await records.index_jobs.settle([indexed(receipt.id, tenant=tenant)], now=NOW)


def blob(path: Path, tenant: Tenant, content: str) -> Path:
    """Return the place of a blob."""
    name = digest(content).hex()
    return path / "blobs" / tenant / name[:2] / name


def sql(path: Path, *statements: str) -> None:
    """Change a database behind the Cloud."""
    with closing(sqlite3.connect(path / "cloud.sqlite3")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def contents(path: Path) -> dict[str, bytes]:
    """Return every file of a folder but locks and SQLite's own, by its relative name."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != "lock" and "sqlite3-" not in file.name
    }
