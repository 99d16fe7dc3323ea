"""A DICOM file as it comes in: the file meta information is read and taken off, the data set goes on as it is.

What of the data set's beginning is in memory anyway is looked through for its study and series, so that the answer can name them;
nothing else is interpreted here, that is the index's.
"""

import struct
import zlib
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from swallowtail.calls.store import TransferEnd
from swallowtail.cloud.ingest.store import InstanceKey

MAX_META: Final = 32 * 1024
LOOKED_AT: Final = 64 * 1024
"""Bytes of a data set's beginning in which its study is looked for."""
MAX_ELEMENTS: Final = 1000
MAX_DEPTH: Final = 16
STUDY: Final = 0x0020000D
SERIES: Final = 0x0020000E
IMPLICIT: Final = "1.2.840.10008.1.2"
UNREADABLE: Final = frozenset(
    {"1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}
)
"""Big endian and deflated: their study is known once they are indexed."""

_LONG: Final = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_UNDEFINED: Final = 0xFFFFFFFF
_ENDS: Final = frozenset({0xFFFEE00D, 0xFFFEE0DD})


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
    buffer = b""
    async for piece in pieces:
        buffer += piece
        if len(buffer) >= MAX_META + LOOKED_AT:
            break
    if buffer[128:132] != b"DICM":
        raise NotAFileError("it is no DICOM file: after 128 bytes DICM is missing")
    position, meta = _meta(buffer[: MAX_META + 132])
    key = InstanceKey(meta.get(0x0002, ""), meta.get(0x0003, ""), meta.get(0x0010, ""))
    rest = buffer[position:]
    found: dict[int, str] = {}
    if key.transfer_syntax not in UNREADABLE:
        found = _Glance(rest[:LOOKED_AT], implicit=key.transfer_syntax == IMPLICIT).uids()
    return Head(key, found.get(STUDY, ""), found.get(SERIES, ""), rest)


async def body_of(head: Head, pieces: AsyncIterator[bytes]) -> AsyncIterator[memoryview | TransferEnd]:
    """Give the data set as ingest takes it: its bytes, then their length and CRC-32."""
    length, crc32 = len(head.rest), zlib.crc32(head.rest)
    if head.rest:
        yield memoryview(head.rest)
    async for piece in pieces:
        length, crc32 = length + len(piece), zlib.crc32(piece, crc32)
        yield memoryview(piece)
    yield TransferEnd(length=length, crc32=crc32)


def _meta(buffer: bytes) -> tuple[int, dict[int, str]]:
    """Read group 0002, always Explicit VR Little Endian; its end is where the group ends, whatever its length element says."""
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
        if vr in _LONG:
            (length,) = struct.unpack_from("<I", buffer, start)
            start += 4
        if start + length > len(buffer):
            raise NotAFileError(f"its file meta information does not end within {MAX_META} bytes")
        found[element] = buffer[start : start + length].rstrip(b"\0 ").decode("latin-1")
        position = start + length


class _Glance:
    """One look at the beginning of a data set in little endian; it gives up early, never complains."""

    def __init__(self, content: bytes, *, implicit: bool) -> None:
        self._content = content
        self._implicit = implicit
        self._count = 0

    def uids(self) -> dict[int, str]:
        """Give the study's and the series' UID where they stand there."""
        found: dict[int, str] = {}
        try:
            position = 0
            while True:
                tag, start, length = self._header(position, implicit=self._implicit)
                if tag > SERIES:
                    return found
                position = self._end(start, length, 0, implicit=self._implicit)
                if tag in {STUDY, SERIES}:
                    found[tag] = self._content[start:position].rstrip(b"\0 ").decode("latin-1")
        except (struct.error, EOFError):
            return found

    def _header(self, position: int, *, implicit: bool) -> tuple[int, int, int]:
        self._count += 1
        if self._count > MAX_ELEMENTS or position > len(self._content):
            raise EOFError
        group, element = struct.unpack_from("<HH", self._content, position)
        tag = group << 16 | element
        if implicit or group == 0xFFFE:
            return tag, position + 8, struct.unpack_from("<I", self._content, position + 4)[0]
        vr = self._content[position + 4 : position + 6]
        if vr in _LONG:
            return tag, position + 12, struct.unpack_from("<I", self._content, position + 8)[0]
        return tag, position + 8, struct.unpack_from("<H", self._content, position + 6)[0]

    def _end(self, start: int, length: int, depth: int, *, implicit: bool) -> int:
        """Give where a value ends; one of undefined length is a sequence of items (PS3.5 7.5)."""
        if length != _UNDEFINED:
            if start + length > len(self._content):
                raise EOFError
            return start + length
        if depth > MAX_DEPTH:
            raise EOFError
        position = start
        while True:
            tag, inner, size = self._header(position, implicit=implicit)
            if tag in _ENDS:
                return inner
            position = self._end(inner, size, depth + 1, implicit=implicit)
