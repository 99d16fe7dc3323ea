"""A DICOM file as it comes in.

The file meta information is read and taken off, the data set goes on as it is.

What of the data set's beginning is in memory anyway is looked through for its study and series, so
that the answer can name them; nothing else is interpreted here, that is the index's.
"""

import contextlib
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from swallowtail.calls.store import TransferEnd
from swallowtail.cloud.data_set.elements import DEFLATED, LONG, Bytes, Walk
from swallowtail.cloud.ingest.store_instance import InstanceKey

MAX_META: Final = 32 * 1024
LOOKED_AT: Final = 64 * 1024
"""Bytes of a data set's beginning in which its study is looked for."""
STUDY: Final = 0x0020000D
SERIES: Final = 0x0020000E


class NotAFileError(Exception):
    """What came is no DICOM file; the message is for a person."""


class Head(NamedTuple):
    """What stands before a data set, and what its beginning says."""

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
        if len(gathered) >= MAX_META + LOOKED_AT:
            break
    buffer = bytes(gathered)
    if buffer[128:132] != b"DICM":
        raise NotAFileError("it is no DICOM file: after 128 bytes DICM is missing")
    position, meta = _meta(buffer[: MAX_META + 132])
    key = InstanceKey(meta.get(0x0002, ""), meta.get(0x0003, ""), meta.get(0x0010, ""))
    rest = buffer[position:]
    found = _uids(rest[:LOOKED_AT], key.transfer_syntax)
    return Head(key, found.get(STUDY, ""), found.get(SERIES, ""), rest)


async def body_of(
    head: Head, pieces: AsyncIterator[bytes]
) -> AsyncIterator[memoryview | TransferEnd]:
    """Give the data set as ingest takes it: its bytes, then their length and CRC-32."""
    length, crc32 = len(head.rest), zlib.crc32(head.rest)
    if head.rest:
        yield memoryview(head.rest)
    async for piece in pieces:
        length, crc32 = length + len(piece), zlib.crc32(piece, crc32)
        yield memoryview(piece)
    yield TransferEnd(length=length, crc32=crc32)


def _meta(buffer: bytes) -> tuple[int, dict[int, str]]:
    """Read group 0002, always Explicit VR Little Endian.

    Its end is where the group ends, whatever its length element says.
    """
    position, found = 132, dict[int, str]()
    while True:
        if len(buffer) - position < 12:
            if len(buffer) - position == 0 and found:
                return position, found
            raise NotAFileError(f"its file meta information does not end within {MAX_META} bytes")
        group, element, vr, length = struct.unpack_from("<HH2sH", buffer, position)
        if group != 0x0002:
            return position, found
        start = position + 8
        if vr in LONG:
            (length,) = struct.unpack_from("<I", buffer, start)
            start += 4
        if start + length > len(buffer):
            raise NotAFileError(f"its file meta information does not end within {MAX_META} bytes")
        found[element] = buffer[start : start + length].rstrip(b"\0 ").decode("latin-1")
        position = start + length


def _uids(content: bytes, syntax: str) -> dict[int, str]:
    """Give the study's and the series' UID where they stand in a data set's beginning."""
    if syntax in DEFLATED:
        with contextlib.suppress(zlib.error):  # then nothing is found
            content = zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(content, LOOKED_AT)
    found = Walk(Bytes(content), syntax, lambda _: b"UN").beginning(SERIES)
    return {
        one.tag: content[one.start : one.end].rstrip(b"\0 ").decode("latin-1")
        for one in found
        if one.tag in {STUDY, SERIES}
    }
