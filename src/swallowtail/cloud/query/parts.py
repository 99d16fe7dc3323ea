"""Parts of instances by byte range.

Where they lie comes from the index, so that nothing is parsed and one read gives a frame.

A viewer asks for the frames of a cine one by one, so that what was found for a caller is cached for
CACHED seconds: its audit record is written once, not for each frame, and the store is not read
again. Every request is still authorised.
"""

import asyncio
import zlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from swallowtail.cloud.data_set.elements import DEFLATED
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.imaging import Instance
from swallowtail.cloud.model.indexing import FrameIndex
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.ports.blobs import Blobs
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.query.search import Query, readable

CACHED: Final = 30.0
MOST: Final = 256
MOST_SPANS: Final = 100_000
"""Frames whose places are cached in all."""

PIXEL_DATA: Final = "7FE00010"
STEP: Final = 1024 * 1024
"""Bytes that are inflated at once."""

Span = tuple[int, int]


class Located(NamedTuple):
    """An instance that its reader may see, and where its frames lie."""

    tenant: Tenant
    instance: Instance
    frames: FrameIndex

    def frame(self, number: int) -> list[Span]:
        """Return the fragments of a frame, counted from 1; raises NotFoundError."""
        if not 1 <= number <= len(self.frames.spans):
            raise NotFoundError(
                f"it has {len(self.frames.spans)} frames that can be fetched alone; {number} is"
                " none of them"
            )
        return _pairs(self.frames.spans[number - 1])

    def value(self, name: str) -> tuple[list[list[Span]], bool]:
        """Return the parts of a bulk value, and whether they are encapsulated.

        One part for each frame of encapsulated pixel data, or for each fragment where frames
        cannot be distinguished. `name` is the end of its BulkDataURI. Raises NotFoundError.
        """
        if (bulk := self.frames.values.get(name)) is not None:
            spans = _pairs(bulk.spans)
            return (
                [[span] for span in spans] if name == PIXEL_DATA and bulk.encapsulated else [spans]
            ), bulk.encapsulated
        if name == PIXEL_DATA and self.frames.encapsulated and self.frames.spans:
            return [_pairs(flat) for flat in self.frames.spans], True
        raise NotFoundError("it has no such bulk data; see the BulkDataURIs of its metadata")


class Frames:
    """A reader of parts of instances, with a cache of their places."""

    def __init__(self, query: Query, blobs: Blobs, *, clock: Clock) -> None:
        self._query, self._blobs, self._clock = query, blobs, clock
        self._kept: OrderedDict[tuple[object, ...], tuple[float, Located]] = OrderedDict()
        self._spans = 0

    async def locate(self, caller: Caller, study: str, series: str, sop_instance: str) -> Located:
        """Return the visible instance of these UIDs with its frame index; audited.

        Raises NotFoundError.
        """
        principal = caller.principal
        tenant = readable(principal)
        key = (tenant, principal, caller.address, study, series, sop_instance)
        now = self._clock()
        if (kept := self._kept.get(key)) is not None and 0 <= now - kept[0] < CACHED:
            self._kept.move_to_end(key)
            if principal.archives is not None:  # it may have left the archive since
                await self._query.by_id(caller, kept[1].instance.id)
            return kept[1]
        instance = await self._query.instance(caller, sop_instance, study=study, series=series)
        document = (await self._query.documents(caller, (instance,))).get(instance.id)
        await self._query.accessed(caller, instance)
        located = Located(tenant, instance, document.frames if document else FrameIndex())
        self._keep(key, now, located)
        return located

    async def read(self, located: Located, spans: list[Span]) -> AsyncIterator[bytes]:
        """Stream these ranges of the data set one after the other.

        Of the inflated one where it is deflated (PS3.5 A.5).
        """
        identity = located.instance.identity
        for start, length in spans:
            if identity.transfer_syntax in DEFLATED:
                pieces = _inflated(self._blobs.read(located.tenant, identity.sha256), start, length)
            else:
                pieces = self._blobs.read(located.tenant, identity.sha256, start, length)
            async for piece in pieces:
                yield piece

    def _keep(self, key: tuple[object, ...], now: float, located: Located) -> None:
        if key in self._kept:
            self._drop(key)
        self._kept[key] = (now, located)
        self._spans += _size(located)
        while len(self._kept) > MOST or (self._spans > MOST_SPANS and len(self._kept) > 1):
            self._drop(next(iter(self._kept)))

    def _drop(self, key: tuple[object, ...]) -> None:
        self._spans -= _size(self._kept.pop(key)[1])


def _size(located: Located) -> int:
    return len(located.frames.spans) + len(located.frames.values)


def _pairs(flat: tuple[int, ...]) -> list[Span]:
    return list(zip(flat[::2], flat[1::2], strict=True))


async def _inflated(
    deflated: AsyncIterator[bytes], start: int, length: int
) -> AsyncIterator[bytes]:
    """Inflate up to the end of a range, in a thread, and give the range.

    The index has checked how large the whole becomes.
    """
    inflate, position, end = zlib.decompressobj(wbits=-zlib.MAX_WBITS), 0, start + length
    async for piece in deflated:
        rest = piece
        while rest or not inflate.eof:
            made = await asyncio.to_thread(inflate.decompress, rest, STEP)
            if wanted := made[max(0, start - position) : end - position]:
                yield wanted
            position, rest = position + len(made), inflate.unconsumed_tail
            if position >= end:
                return
            if not rest and len(made) < STEP:
                break
