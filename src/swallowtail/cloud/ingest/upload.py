"""The upload of a DICOM file.

The file meta information is read and removed, the data set is passed on unchanged.

The beginning of the data set, which is in memory already, is searched for its study and series UID,
so that the answer can name them. Anything else is interpreted by the index.
"""

import contextlib
import zlib
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from swallowtail.calls.transfer import OutgoingTransfer, TransferEnd
from swallowtail.cloud.data_set.elements import DEFLATED, EXPLICIT, Bytes, LocatedElement, Walk
from swallowtail.cloud.ingest.store_instance import InstanceKey

MAX_META: Final = 32 * 1024
MAX_SEARCHED: Final = 64 * 1024
"""Bytes of a data set's beginning that are searched for its study."""
_META_GROUP: Final = 0x0002
STUDY: Final = 0x0020000D
SERIES: Final = 0x0020000E


class NotAFileError(Exception):
    """The content is not a DICOM file; the message is for a person."""


class Head(NamedTuple):
    """The file meta information of a data set, with the UIDs found at its beginning."""

    key: InstanceKey
    study: str
    series: str
    rest: bytes
    """The data set's bytes that were read already."""


async def read_head(pieces: AsyncIterator[bytes]) -> Head:
    """Read up to and including the file meta information (PS3.10 7.1); raises NotAFileError."""
    gathered = bytearray()
    async for piece in pieces:
        gathered += piece
        if len(gathered) >= MAX_META + MAX_SEARCHED:
            break
    buffer = bytes(gathered)
    if buffer[128:132] != b"DICM":
        raise NotAFileError("it is not a DICOM file: after 128 bytes DICM is missing")
    length, meta = _meta(buffer[132 : MAX_META + 132])
    key = InstanceKey(meta.get(0x0002, ""), meta.get(0x0003, ""), meta.get(0x0010, ""))
    rest = buffer[132 + length :]
    found = _uids(rest[:MAX_SEARCHED], key.transfer_syntax)
    return Head(key, found.get(STUDY, ""), found.get(SERIES, ""), rest)


async def body_of(
    head: Head, pieces: AsyncIterator[bytes]
) -> AsyncIterator[memoryview | TransferEnd]:
    """Return the data set as ingest takes it: its bytes, then their length and CRC-32."""
    transfer = OutgoingTransfer()
    if head.rest:
        transfer.update(head.rest)
        yield memoryview(head.rest)
    async for piece in pieces:
        transfer.update(piece)
        yield memoryview(piece)
    yield transfer.end()


def _meta(content: bytes) -> tuple[int, dict[int, str]]:
    """Read group 0002, always Explicit VR Little Endian; return its length and its elements.

    It ends at the first element of another group, whatever its group length is.
    """
    last = _META_GROUP << 16 | 0xFFFF
    found = Walk(Bytes(content), EXPLICIT, lambda _: b"UN").beginning(last)
    end = found[-1].end if found else 0
    following = content[end : end + 2]
    if (
        following == _META_GROUP.to_bytes(2, "little")
        or (end < len(content) and len(following) < 2)
        or not content
    ):
        raise NotAFileError(f"its file meta information does not end within {MAX_META} bytes")
    return end, {one.tag & 0xFFFF: _text(content, one) for one in found}


def _text(content: bytes, element: LocatedElement) -> str:
    return content[element.start : element.end].rstrip(b"\0 ").decode("latin-1")


def _uids(content: bytes, syntax: str) -> dict[int, str]:
    """Return the study's and the series' UID where the data set's beginning contains them."""
    if syntax in DEFLATED:
        with contextlib.suppress(zlib.error):  # then nothing is found
            content = zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(content, MAX_SEARCHED)
    found = Walk(Bytes(content), syntax, lambda _: b"UN").beginning(SERIES)
    return {one.tag: _text(content, one) for one in found if one.tag in {STUDY, SERIES}}
