"""The port of blobs."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import msgspec

from swallowtail.cloud.model.tenancy import (
    Tenant,
)


class BlobDigest(msgspec.Struct, frozen=True):
    """The address and size of a blob that is durable."""

    sha256: bytes
    length: int


class BlobFound(msgspec.Struct, frozen=True):
    """A blob that the sweep met; `modified` is when it was finished."""

    sha256: bytes
    length: int
    modified: float


class Incoming(Protocol):
    """A blob on its way in. Leaving the `async with` without `finish` discards it.

    After `finish` the blob is kept from the sweep until the `async with` is left: commit the row
    that refers to it within.
    """

    async def write(self, view: memoryview) -> None:
        """Write bytes.

        The memory under the view must stay unchanged until `finish` or `discard`; returning means:
        send on.

        Raises TooLargeError above the cap, StorageUnavailableError when the disk refuses; the rest
        is then discarded.
        """

    async def finish(self, *, length: int | None = None, crc32: int | None = None) -> BlobDigest:
        """Make it durable under its address, file and folder.

        A blob that is there already is kept as it is.

        Raises DamagedError, and discards it, when the bytes that were written do not have this
        length or CRC-32 (wire §8).
        """

    async def discard(self) -> None:
        """Drop it; a no-op after `finish`."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Blobs(Protocol):
    """The store of data sets as received, addressed by SHA-256 within a tenant.

    A blob is written once, never overwritten, and removed by the sweep alone.
    """

    def incoming(self, tenant: Tenant, *, max_length: int | None = None) -> Incoming:
        """Create a blob of at most `max_length` bytes, and never more than the store's own cap."""

    def read(
        self, tenant: Tenant, sha256: bytes, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """Stream a range in pieces of at most 1 MiB; NotFoundError when there is no such blob."""

    async def length(self, tenant: Tenant, sha256: bytes) -> int | None:
        """Return the blob's length; None: there is no such blob."""

    async def verify(self, tenant: Tenant, sha256: bytes) -> bool:
        """Read it all and hash it again; False when it is missing or differs."""

    def path(self, tenant: Tenant, sha256: bytes) -> Path | None:
        """Return a finished blob's place as a local file, for the index workers to read.

        None where the store has no such thing.
        """

    def found(self, tenant: Tenant) -> AsyncIterator[BlobFound]:
        """Walk all finished blobs of a tenant, in no order: for the orphan sweep."""

    async def remove(
        self,
        tenant: Tenant,
        digests: Collection[bytes],
        confirm: Callable[[frozenset[bytes]], Awaitable[frozenset[bytes]]],
    ) -> frozenset[bytes]:
        """Remove those of the blobs that `confirm` returns and that nobody stores meanwhile.

        Returns which were, or are not there.

        `confirm` is given those that nobody stores, and has to see every commit that was requested
        before it is called.
        """
