"""Backups of an embedded Cloud's data folder, taken while it serves or is still.

    BACKUP/
      lock                    held while a backup is taken
      blobs/                  data sets, shared by all snapshots; each is copied once
      snapshots/20300101T020000Z/
        cloud.sqlite3         one consistent state of the database
        files/                keys and certificates of the data folder
        manifest.json         written last: a folder without it is no snapshot

The small files are copied before the database: among them are the exported heads of the audit,
which must not be newer than the audit. The database is copied next and then every blob that this
copy refers to. A blob with a row is written once and never removed, and one that has lost its last
row is kept for days, so each blob of the copy is still there. The runbook's earlier order, blobs
first, missed the blobs of rows that were committed in between.
"""

import asyncio
import datetime as dt
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from swallowtail import __version__
from swallowtail.cloud.blobs.disk import OsDisk
from swallowtail.cloud.blobs.folder import FolderBlobs
from swallowtail.cloud.blobs.workers import ThreadWorkers
from swallowtail.cloud.data_folder.data_folder import (
    BLOBS,
    DATABASE,
    LOCK,
    MASTER_KEY,
    check_embedded,
    lock_folder,
)
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.inventory import BlobReference
from swallowtail.cloud.model.port_errors import DamagedError, NotFoundError, StorageUnavailableError
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.operations.check import references
from swallowtail.cloud.records.reading import SqliteReader
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.secrets.private_files import write_private

FORMAT: Final = 1
SNAPSHOTS: Final = "snapshots"
FILES: Final = "files"
MANIFEST: Final = "manifest.json"
PARTIAL: Final = ".partial"
AT_ONCE: Final = 8
"""Blobs that are copied side by side, so that their fsyncs overlap."""
MAX_FILE: Final = 1024 * 1024
"""Bytes of a key or certificate; a longer file of the data folder is none."""


READS: Final = 10
"""Times that the small files are read until nothing has changed in between."""


class BackupError(Exception):
    """The backup or the restore failed; the message states what failed, why, and what to do."""


class Missing(msgspec.Struct, frozen=True):
    """A blob that could not be copied: it is not there, or its bytes are not those of its name."""

    organisation: str
    sha256: str
    instance: int


class Manifest(msgspec.Struct, kw_only=True):
    """The contents of a snapshot; `files` has the SHA-256 of each small file."""

    format: int = FORMAT
    release: str = __version__
    created: str
    database: str
    files: dict[str, str]
    blobs: int = 0
    bytes: int = 0
    missing: list[Missing] = []


class Copied(msgspec.Struct):
    """Progress: blobs that were looked at, those of them that were copied, and their bytes."""

    blobs: int = 0
    copied: int = 0
    bytes: int = 0


Progress = Callable[[Copied], None]


async def back_up(
    data: Path,
    target: Path,
    *,
    clock: Clock,
    with_master_key: bool = True,
    progress: Progress = lambda _: None,
) -> tuple[str, Manifest]:
    """Create a snapshot of `data` into `target`; return its name and manifest.

    Raises BackupError, DataFolderError and StorageUnavailableError. Blobs that could not be copied
    are listed in the manifest, and the rest is copied all the same.
    """
    check_embedded(data)
    source = SqliteReader.open(data / DATABASE)
    lock = _lock_backup(data, target)
    try:
        name = dt.datetime.fromtimestamp(clock(), dt.UTC).strftime("%Y%m%dT%H%M%SZ")
        folder = target / SNAPSHOTS / name
        if folder.exists():
            raise BackupError(f"{folder} exists already; wait a second, then try again")
        partial = _fresh_folder(target / SNAPSHOTS / f"{name}{PARTIAL}")
        files = _copy_files(data, partial / FILES, with_master_key=with_master_key)
        await source.copy_to(partial / DATABASE)
        (partial / DATABASE).chmod(0o600)
        manifest = Manifest(
            created=name,
            database=_digest(partial / DATABASE),
            files=files,
        )
        async with blob_folders(data, target) as (blobs, copies):
            await copies.open()
            copied = await copy_blobs(
                Records(SqliteReader(partial / DATABASE)), blobs, copies, progress
            )
        manifest.blobs, manifest.bytes = copied.progress.blobs, copied.length
        manifest.missing = copied.missing
        write_private(partial / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
        _make_durable(partial, folder)
        return name, manifest
    finally:
        os.close(lock)


async def prune(target: Path, *, keep: int) -> int:
    """Remove all but the newest `keep` snapshots and the blobs that none of them refers to.

    Return the number of removed blobs.
    """
    lock = _lock_backup(None, target)
    try:
        names = snapshots(target)
        for name in names[:-keep]:
            shutil.rmtree(target / SNAPSHOTS / name)
        kept = [
            Records(SqliteReader(target / SNAPSHOTS / name / DATABASE)) for name in names[-keep:]
        ]
        return await _remove_unreferenced(target, kept)
    finally:
        os.close(lock)


async def _remove_unreferenced(target: Path, kept: Sequence[Records]) -> int:
    removed = 0
    async with blob_folders(target, target) as (blobs, _):
        for tenant in (Tenant(path.name) for path in sorted((target / BLOBS).glob("*"))):
            async for blob in blobs.found(tenant):
                held = [await one.instances.referenced(tenant, [blob.sha256]) for one in kept]
                if not any(held):
                    path = blobs.path(tenant, blob.sha256)
                    assert path is not None
                    path.unlink()
                    removed += 1
    return removed


def snapshots(target: Path) -> list[str]:
    """Return the names of the whole snapshots of a backup, the oldest first."""
    return sorted(path.parent.name for path in (target / SNAPSHOTS).glob(f"*Z/{MANIFEST}"))


def read_manifest(folder: Path) -> Manifest:
    """Return a snapshot's manifest after comparing it with its files; raises BackupError."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise BackupError(
            f"cannot read {folder / MANIFEST}: {error}; choose another snapshot"
        ) from error
    if manifest.format != FORMAT:
        raise BackupError(
            f"{folder} was made by release {manifest.release}; restore it with that release"
        )
    expected = {DATABASE: manifest.database}
    expected |= {f"{FILES}/{name}": digest for name, digest in manifest.files.items()}
    for name, digest in expected.items():
        if not (folder / name).is_file() or _digest(folder / name) != digest:
            raise BackupError(f"{folder / name} is missing or damaged; choose another snapshot")
    return manifest


class CopiedBlobs(msgspec.Struct):
    """The result of copying: progress, the length of all blobs in bytes, those that are missing."""

    progress: Copied = msgspec.field(default_factory=Copied)
    length: int = 0
    missing: list[Missing] = []


async def copy_blobs(
    records: Records, source: FolderBlobs, target: FolderBlobs, progress: Progress
) -> CopiedBlobs:
    """Copy every blob of a row that is not in `target` yet, comparing its SHA-256."""
    result = CopiedBlobs()

    async def copy(tenant: Tenant, name: str, reference: BlobReference) -> None:
        if await target.length(tenant, reference.sha256) != reference.length:
            if await _copy_blob(source, target, tenant, reference):
                result.progress.copied += 1
                result.progress.bytes += reference.length
            else:
                missing = Missing(name, reference.sha256.hex(), reference.instance)
                result.missing.append(missing)
        result.progress.blobs += 1
        result.length += reference.length
        progress(result.progress)

    for tenant, name in await records.inventory.tenants():
        batch: list[Awaitable[None]] = []
        async for reference in references(records.inventory, tenant):
            batch.append(copy(tenant, name, reference))
            if len(batch) == AT_ONCE:
                await _all(batch)
                batch = []
        await _all(batch)
    return result


async def _all(batch: Sequence[Awaitable[None]]) -> None:
    """Run copies side by side; the first error is raised when all have ended."""
    for result in await asyncio.gather(*batch, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


async def _copy_blob(
    source: FolderBlobs, target: FolderBlobs, tenant: Tenant, reference: BlobReference
) -> bool:
    """Copy one; return whether its bytes are those that its digest and length name."""
    try:
        async with target.incoming(tenant) as incoming:
            async for piece in source.read(tenant, reference.sha256):
                await incoming.write(memoryview(piece))
            copied = await incoming.finish(length=reference.length)
    except (NotFoundError, DamagedError):
        return False
    return copied.sha256 == reference.sha256


@asynccontextmanager
async def blob_folders(
    source: Path, target: Path
) -> AsyncIterator[tuple[FolderBlobs, FolderBlobs]]:
    """Open the blobs of two folders. The source is only read: `FolderBlobs.open` is not called."""
    async with AsyncExitStack() as stack:
        workers = ThreadWorkers()
        stack.push_async_callback(workers.close)
        yield (
            FolderBlobs(OsDisk(source), workers, on_fatal=_fail),
            FolderBlobs(OsDisk(target), workers, on_fatal=_fail),
        )


def _fail(error: StorageUnavailableError) -> None:
    """Leave the error to the caller, which raises it.

    The process ends, and nothing is acknowledged.
    """


def _lock_backup(data: Path | None, target: Path) -> int:
    if data is not None and target.resolve().is_relative_to(data.resolve()):
        raise BackupError(
            f"{target} is inside the data folder; name a folder on another disk with --to"
        )
    try:
        (target / SNAPSHOTS).mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BackupError(f"cannot use {target}: {error.strerror}; name another folder") from error
    return lock_folder(target, "another backup is being taken into {path}; wait until it has ended")


def _fresh_folder(partial: Path) -> Path:
    for left in partial.parent.glob(f"*{PARTIAL}"):  # of a backup that did not end
        shutil.rmtree(left)
    partial.mkdir(mode=0o700)
    return partial


def _copy_files(data: Path, target: Path, *, with_master_key: bool) -> dict[str, str]:
    """Copy the small files of a data folder; return their digests by name."""
    target.mkdir(mode=0o700)
    digests = {}
    for name, content in _read_files(data, with_master_key=with_master_key).items():
        write_private(target / name, content)
        digests[name] = hashlib.sha256(content).hexdigest()
    return digests


def _read_files(data: Path, *, with_master_key: bool) -> dict[str, bytes]:
    """Return the small files as they are at one moment.

    Twice the same, so that no half of a re-seal is among them.
    """
    before = _read_once(data, with_master_key=with_master_key)
    for _ in range(READS):
        again = _read_once(data, with_master_key=with_master_key)
        if again == before:
            return again
        before = again
    raise BackupError(f"the keys in {data} change while they are read; try again when they do not")


def _read_once(data: Path, *, with_master_key: bool) -> dict[str, bytes]:
    files = {}
    for path in sorted(data.iterdir()):
        excluded = path.name == LOCK or path.name.startswith(DATABASE) or path.suffix == ".new"
        if excluded or not path.is_file() or (path.name == MASTER_KEY and not with_master_key):
            continue
        if path.stat().st_size > MAX_FILE:
            raise BackupError(f"{path} is no file of the Cloud; move it out of the data folder")
        files[path.name] = path.read_bytes()
    return files


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make_durable(partial: Path, folder: Path) -> None:
    sync(partial / DATABASE)
    sync(partial / FILES)
    sync(partial)
    partial.rename(folder)
    sync(folder.parent)


def sync(path: Path) -> None:
    """Make a file's content or a folder's entries durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
