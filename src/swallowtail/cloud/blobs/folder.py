"""The folder of blobs: `blobs/<tenant>/<aa>/<sha256>`, and `incoming/` for what is on its way.

A blob that arrives is hashed and written in a worker while more of it is received; one of at most
EAGER bytes is gathered in memory and hashed, written, fsynced, renamed and folder-fsynced in one
hop. The order is what durability is made of: content, then name, then the folder that holds the
name, and where folders are new, those that hold them.

A blob that is stored again keeps its file. So that the sweep does not remove it before the
row that needs it is committed, whoever stores holds the blob until the commit has ended, and the
sweep removes nothing that is held, or was held since it began to ask whether a row refers to it
(`holds`).

A failed fsync is fatal: the kernel may have dropped the pages, so that a second fsync would lie.
`on_fatal` is notified, the process stops.
"""

import asyncio
import hashlib
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from swallowtail.cloud.blobs.disk import Disk, OpenFile
from swallowtail.cloud.blobs.holds import Holds
from swallowtail.cloud.blobs.workers import Workers
from swallowtail.cloud.model.port_errors import (
    DamagedError,
    NotFoundError,
    StorageUnavailableError,
    TooLargeError,
)
from swallowtail.cloud.model.ports.blobs import BlobDigest, BlobFound
from swallowtail.cloud.model.tenancy import Tenant

T = TypeVar("T")

BATCH: Final = 1024 * 1024
EAGER: Final = 128 * 1024
"""Bytes that an idle worker is given at once, so that hashing and writing overlap with what still
arrives.
"""
MAX_OBJECT: Final = 16 * 1024**3
_VIEWS: Final = 1024
"""Pieces that are gathered at most.

A sender of single bytes must not make a million objects of its megabyte.
"""
_VERIFY_STRIDE: Final = 16 * BATCH
_BLOBS: Final = "blobs"
_INCOMING: Final = "incoming"

OnFatal = Callable[[StorageUnavailableError], None]


class BlobFolder:
    """The files themselves: calls that block, so they run in workers."""

    def __init__(self, disk: Disk, *, on_fatal: OnFatal) -> None:
        self._disk = disk
        self._on_fatal = on_fatal
        self._known: set[str] = set()
        self._count = 0
        self.holds = Holds()

    def prepare(self) -> int:
        """Make the two folders and remove what a process that ended left in `incoming`.

        Return how many files that was.
        """
        with self._translated():
            for folder in (_BLOBS, _INCOMING):
                self._disk.make_folder(folder)
            self._sync_folder("")
            left = self._disk.list(_INCOMING)
            for name in left:
                self._disk.unlink(f"{_INCOMING}/{name}")
        return len(left)

    def begin(self) -> tuple[str, OpenFile]:
        """Make a file for a blob on its way."""
        self._count += 1
        path = f"{_INCOMING}/{self._count}"
        with self._translated():
            return path, self._disk.create(path)

    def append(self, file: OpenFile, views: list[memoryview]) -> None:
        """Write to a file on its way."""
        with self._translated():
            file.write(views)

    def publish(self, path: str, file: OpenFile, target: str) -> None:
        """Make the content durable, then give it its name, then make the name durable."""
        with self._translated():
            with self._fatal():
                file.fsync()
            file.close()
            folder = target.rpartition("/")[0]
            self._prepare_home(folder.rpartition("/")[0])
            self._disk.rename(
                path, target
            )  # one that appeared meanwhile has the same bytes, fsynced
            self._sync_folder(folder)

    def settled(self, target: str, length: int) -> bool:
        """Return whether this blob is stored already. If it is, make its name durable again.

        The process that stored it may have ended before doing so.
        """
        with self._translated():
            facts = self._disk.facts(target)
            if facts is None:
                return False
            if facts.length != length:
                raise StorageUnavailableError(
                    f"the stored blob {target} has {facts.length} bytes instead of {length};"
                    " restore it from a backup"
                )
            self._sync_folder(target.rpartition("/")[0])
            return True

    def drop(self, path: str, file: OpenFile) -> None:
        """Close and remove an incoming file."""
        with self._translated():
            file.close()
            if self._disk.facts(path) is not None:  # it was renamed where only the last step failed
                self._disk.unlink(path)

    def remove(self, target: str) -> bool:
        """Remove a blob that is condemned; False when it is not any more.

        One that is not there counts as removed.
        """
        with self.holds.removing(target) as allowed:
            if not allowed:
                return False
            with self._translated():
                if self._disk.facts(target) is None:
                    return True
                self._disk.unlink(target)
        with self._translated():
            self._sync_folder(target.rpartition("/")[0])
        return True

    def facts(self, path: str) -> tuple[int, float] | None:
        """Return length and time of a blob."""
        with self._translated():
            facts = self._disk.facts(path)
        return None if facts is None else (facts.length, facts.modified)

    def list(self, path: str) -> list[str]:
        """Name what is in a folder."""
        with self._translated():
            return self._disk.list(path)

    def begin_to_read(self, path: str, offset: int, length: int) -> tuple[int, bytes]:
        """Return the length of a blob and its first requested piece.

        Most blobs cost one hand-over to a worker.
        """
        facts = self.facts(path)
        if facts is None:
            raise NotFoundError("there is no such blob")
        return facts[0], (
            self.read(path, offset, length) if offset < facts[0] and length > 0 else b""
        )

    def read(self, path: str, offset: int, length: int) -> bytes:
        """Read a piece."""
        with self._translated():
            return self._disk.read(path, offset, length)

    def _prepare_home(self, home: str) -> None:
        """Make a tenant's folders, durable in their parents before anything is put into them.

        All 256 at once cost two fsyncs.
        """
        if home in self._known:
            return
        self._disk.make_folder(home)
        self._sync_folder(_BLOBS)  # also if it was there: who made it may have ended before this
        for number in range(256):
            self._disk.make_folder(f"{home}/{number:02x}")
        self._sync_folder(home)
        self._known.add(home)

    def _sync_folder(self, path: str) -> None:
        with self._fatal():
            self._disk.fsync_folder(path)

    @contextmanager
    def _fatal(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            failed = StorageUnavailableError(
                f"fsync failed: {error.strerror}; the process must stop, check the disk"
            )
            self._on_fatal(failed)
            raise failed from error

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageUnavailableError(
                f"the disk refused: {error.strerror}; check its free space and health"
            ) from error


class FolderBlobs:
    """The port `Blobs` over a disk."""

    def __init__(
        self, disk: Disk, workers: Workers, *, on_fatal: OnFatal, max_object: int = MAX_OBJECT
    ) -> None:
        self._disk = disk
        self._workers = workers
        self._folder = BlobFolder(disk, on_fatal=on_fatal)
        self._max_object = max_object

    async def open(self) -> int:
        """Prepare the folder before anything else is called.

        Return how many unfinished files of an ended process were removed.
        """
        return await self._run(self._folder.prepare)

    def incoming(self, tenant: Tenant, *, max_length: int | None = None) -> "FolderIncoming":
        """Start a blob (`Blobs`)."""
        cap = self._max_object if max_length is None else min(max_length, self._max_object)
        return FolderIncoming(self._folder, self._workers, tenant, cap)

    async def read(
        self, tenant: Tenant, sha256: bytes, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """Stream a range (`Blobs`)."""
        path = _path(tenant, sha256)
        first = BATCH if length is None else min(BATCH, length)
        whole, piece = await self._run(lambda: self._folder.begin_to_read(path, start, first))
        end = whole if length is None else min(whole, start + length)
        while start < end:
            if not piece:
                raise StorageUnavailableError(
                    "a blob ends before its length; run `swallowtail cloud check`"
                )
            yield piece
            start += len(piece)
            offset, size = start, min(BATCH, end - start)
            if size > 0:
                piece = await self._run(partial(self._folder.read, path, offset, size))

    async def length(self, tenant: Tenant, sha256: bytes) -> int | None:
        """Return a blob's length (`Blobs`)."""
        facts = await self._run(lambda: self._folder.facts(_path(tenant, sha256)))
        return None if facts is None else facts[0]

    async def verify(self, tenant: Tenant, sha256: bytes) -> bool:
        """Hash a blob again (`Blobs`)."""
        path, digest, offset = _path(tenant, sha256), hashlib.sha256(), 0
        length = await self.length(tenant, sha256)
        if length is None:
            return False
        while offset < length:
            offset = await self._run(lambda offset=offset: self._hash(path, digest, offset))  # type: ignore[misc]
        return digest.digest() == sha256

    async def found(self, tenant: Tenant) -> AsyncIterator[BlobFound]:
        """Walk a tenant's blobs (`Blobs`)."""
        home = f"{_BLOBS}/{tenant}"
        for folder in await self._run(lambda: self._folder.list(home)):
            for blob in await self._run(lambda folder=folder: self._list(f"{home}/{folder}")):  # type: ignore[misc]
                yield blob

    async def remove(
        self,
        tenant: Tenant,
        digests: Collection[bytes],
        confirm: Callable[[frozenset[bytes]], Awaitable[frozenset[bytes]]],
    ) -> frozenset[bytes]:
        """Remove blobs that no row refers to (`Blobs`)."""
        condemned = {
            digest for digest in digests if self._folder.holds.condemn(_path(tenant, digest))
        }
        try:
            confirmed = await confirm(frozenset(condemned))
            removed = set()
            for digest in sorted(confirmed & condemned):
                path = _path(tenant, digest)
                if await self._run(lambda path=path: self._folder.remove(path)):  # type: ignore[misc]
                    removed.add(digest)
            return frozenset(removed)
        finally:
            for digest in condemned:
                self._folder.holds.pardon(_path(tenant, digest))

    def path(self, tenant: Tenant, sha256: bytes) -> Path | None:
        """Return the blob's place as a local file (`Blobs`)."""
        return self._disk.path(_path(tenant, sha256))

    def _hash(self, path: str, digest: "hashlib._Hash", offset: int) -> int:
        for start in range(offset, offset + _VERIFY_STRIDE, BATCH):
            piece = self._folder.read(path, start, BATCH)
            digest.update(piece)
            offset += len(piece)
        return offset

    def _list(self, folder: str) -> list[BlobFound]:
        facts = {name: self._folder.facts(f"{folder}/{name}") for name in self._folder.list(folder)}
        return [
            BlobFound(bytes.fromhex(name), length=found[0], modified=found[1])
            for name, found in facts.items()
            if found
        ]

    async def _run(self, job: Callable[[], T]) -> T:
        return await (await self._workers.start(job))


def _path(tenant: Tenant, sha256: bytes) -> str:
    name = sha256.hex()
    return f"{_BLOBS}/{tenant}/{name[:2]}/{name}"


class _Sink:
    """One blob on its way, as the workers see it; its calls never overlap."""

    def __init__(self, folder: BlobFolder, tenant: Tenant) -> None:
        self._folder = folder
        self._tenant = tenant
        self._sha256 = hashlib.sha256()
        self._crc32 = 0
        self._length = 0
        self._open: tuple[str, OpenFile] | None = None
        self._held: str | None = None

    def release(self) -> None:
        """Release the hold, so that the sweep may remove the blob if no row refers to it."""
        if self._held is not None:
            self._folder.holds.release(self._held)
            self._held = None

    def append(self, views: list[memoryview]) -> None:
        """Hash and write."""
        self._hash(views)
        self._write(views)

    def seal(self, views: list[memoryview], length: int | None, crc32: int | None) -> BlobDigest:
        """Hash and write the last bytes, check, and publish.

        A blob that is present already is kept as it is.
        """
        self._hash(views)
        if (length is not None and length != self._length) or (
            crc32 is not None and crc32 != self._crc32
        ):
            raise DamagedError(
                f"{self._length} bytes with CRC-32 {self._crc32:08x} arrived, which is not what the"
                " sender sent"
            )
        target = _path(self._tenant, self._sha256.digest())
        self._folder.holds.hold(target)  # before it is looked for: what is found stays
        self._held = target
        if self._folder.settled(target, self._length):
            self.abandon()
        else:
            self._write(views)
            self._publish(target)
        return BlobDigest(sha256=self._sha256.digest(), length=self._length)

    def _publish(self, target: str) -> None:
        if self._open is not None:
            self._folder.publish(*self._open, target)
            self._open = None

    def abandon(self) -> None:
        """Remove what was written."""
        if self._open is not None:
            path, file = self._open
            self._open = None
            self._folder.drop(path, file)

    def _hash(self, views: list[memoryview]) -> None:
        for view in views:
            self._sha256.update(view)
            self._crc32 = zlib.crc32(view, self._crc32)
            self._length += len(view)

    def _write(self, views: list[memoryview]) -> None:
        if self._open is None:
            self._open = self._folder.begin()
        self._folder.append(self._open[1], views)


class FolderIncoming:
    """A blob on its way in (`Incoming`)."""

    def __init__(self, folder: BlobFolder, workers: Workers, tenant: Tenant, cap: int) -> None:
        self._sink = _Sink(folder, tenant)
        self._workers = workers
        self._cap = cap
        self._length = 0
        self._views: list[memoryview] = []
        self._gathered = 0
        self._job: asyncio.Future[Any] | None = None
        self._ended = False

    async def write(self, view: memoryview) -> None:
        """Write bytes (`Incoming`).

        At most one batch is with a worker while the next is gathered.
        """
        self._length += len(view)
        if self._length > self._cap:
            await self.discard()
            raise TooLargeError(f"the data set is larger than the cap of {self._cap} bytes")
        self._views.append(view)
        self._gathered += len(view)
        idle = self._job is None or self._job.done()
        if self._gathered > (EAGER if idle else BATCH) or len(self._views) > _VIEWS:
            views, self._views, self._gathered = self._views, [], 0
            await self._last_job()
            self._job = await self._workers.start(lambda: self._sink.append(views))

    async def finish(self, *, length: int | None = None, crc32: int | None = None) -> BlobDigest:
        """Make it durable (`Incoming`)."""
        views, self._views = self._views, []
        await self._last_job()
        job = await self._workers.start(lambda: self._sink.seal(views, length, crc32))
        self._job = job
        digest = await asyncio.shield(job)
        self._ended = True
        return digest

    async def discard(self) -> None:
        """Drop it (`Incoming`)."""
        if self._ended:
            return
        self._ended = True
        self._views = []
        if self._job is not None:
            await asyncio.wait([self._job])
            if not self._job.cancelled():
                self._job.exception()  # whoever discards has notified of it, or no longer cares
        await asyncio.shield(await self._workers.start(self._sink.abandon))

    async def _last_job(self) -> None:
        if self._job is not None:
            await asyncio.shield(self._job)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.discard()
        finally:
            await self._release()

    async def _release(self) -> None:
        """Release the blob when no job of this one runs any more.

        One that was cancelled may still be about to hold it.
        """
        if self._job is not None and not self._job.done():
            await asyncio.wait([self._job])
        self._sink.release()
