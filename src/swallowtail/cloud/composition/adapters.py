"""The adapters of a Cloud, by their ports, and those of the embedded Cloud.

With `cloud.server` the only package that names concrete adapters. Tests and the simulated
environment build `Adapters` of their own; `composition.assembly` does not see the difference.
"""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from swallowtail.cloud.alarms.check import DiskUsage
from swallowtail.cloud.audit_export.transmission import Send, TlsSender
from swallowtail.cloud.auditing.heads import HeadFile
from swallowtail.cloud.blobs.disk import OsDisk
from swallowtail.cloud.blobs.folder import FolderBlobs
from swallowtail.cloud.blobs.workers import ThreadWorkers
from swallowtail.cloud.bus.in_process import InProcessBus
from swallowtail.cloud.composition.environment import Environment
from swallowtail.cloud.composition.settings import ServeSettings
from swallowtail.cloud.data_folder.data_folder import DataFolder
from swallowtail.cloud.index.parser_pool import Parser, WorkerPool
from swallowtail.cloud.model.audit import AuditKeys
from swallowtail.cloud.model.credentials import KeyedHash
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.ports.blobs import Blobs
from swallowtail.cloud.model.ports.bus import Bus
from swallowtail.cloud.pixels.service import Pixels
from swallowtail.cloud.records.postgresql import PostgresqlDatabase
from swallowtail.cloud.records.postgresql_server import DatabaseServer, open_database
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.records.sqlite import SqliteDatabase
from swallowtail.cloud.secrets.sealing import Seal

OnFatal = Callable[[StorageUnavailableError], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters:
    """Everything that a Cloud reads from, writes to, or runs outside its own loop."""

    records: Records
    blobs: Blobs
    bus: Bus
    parser: Parser
    pixels: Pixels
    hashes: KeyedHash
    """Of codes and tokens."""
    seal: Seal
    heads: HeadFile
    """Of the audit chains."""
    send: Send
    """To the receivers of audits."""
    disk_usage: DiskUsage


@asynccontextmanager
async def open_adapters(
    folder: DataFolder, settings: ServeSettings, environment: Environment, *, on_fatal: OnFatal
) -> AsyncIterator[Adapters]:
    """Open those of a Cloud on one machine: a folder of blobs, worker processes, a database."""
    hashes = KeyedHash(folder.pepper())  # first: with a database there, no pepper is created
    keyring = folder.audit_keyring()
    heads = HeadFile(settings.audit_heads or folder.audit_heads, keyring.keys)
    async with AsyncExitStack() as stack:
        database = _open_database(folder, settings.database, keyring.keys, on_fatal)
        stack.push_async_callback(database.close)
        records = Records(database)
        await keyring.settle(records.audit, now=environment.clock())
        workers = ThreadWorkers()
        stack.push_async_callback(workers.close)
        blobs = FolderBlobs(OsDisk(folder.path), workers, on_fatal=on_fatal)
        await blobs.open()
        parser, pixels = WorkerPool(blobs), Pixels(blobs, folder.pixels)
        stack.push_async_callback(parser.close)
        stack.push_async_callback(pixels.close)
        yield Adapters(
            records=records,
            blobs=blobs,
            bus=InProcessBus(),
            parser=parser,
            pixels=pixels,
            hashes=hashes,
            seal=folder.seal,
            heads=heads,
            send=TlsSender(settings.audit_networks),
            disk_usage=lambda: _disk_usage(folder.path),
        )


def _open_database(
    folder: DataFolder, server: DatabaseServer | None, keys: AuditKeys, on_fatal: OnFatal
) -> SqliteDatabase | PostgresqlDatabase:
    """Open the database server, or the file in the folder."""
    if server is None:
        folder.use_server(None)
        return SqliteDatabase.open(folder.database, audit_keys=keys, on_fatal=on_fatal)
    database = open_database(server, audit_keys=keys)
    folder.use_server(server.url.set(password=None).render_as_string())
    return database


def _disk_usage(path: Path) -> tuple[int, int]:
    """Return a disk's size and the bytes that are free for this user, without root's reserve."""
    found = os.statvfs(path)
    return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
