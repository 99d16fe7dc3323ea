"""The bytes of a data set by offset, from a file or from memory, inflated if deflated."""

import struct
import zlib
from typing import BinaryIO, Final

from swallowtail.cloud.data_set.elements import MalformedDataSetError

_WINDOW: Final = 64 * 1024
MAX_RATIO: Final = 200
MAX_INFLATED: Final = 256 * 1024 * 1024
_STEP: Final = 1024 * 1024
_TRAILER: Final = struct.Struct("<II")
"""CRC-32 and length.

A data set ends without (PS3.5 A.5, RFC 1951), but files that gzip's habits made are about; and one
byte of padding.
"""


class FileSource:
    """A file read through a window (`cloud.data_set.elements.ByteSource`).

    A header costs one read, and pixel data none.
    """

    def __init__(self, file: BinaryIO, length: int) -> None:
        self.length = length
        self._file = file
        self._start = 0
        self._window = b""

    def take(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on; raises MalformedDataSetError beyond the end."""
        if offset + size > self.length:
            raise MalformedDataSetError(f"it ends at {self.length}, inside what begins at {offset}")
        begin = offset - self._start
        if begin < 0 or begin + size > len(self._window):
            self._file.seek(offset)
            self._window = self._file.read(max(size, _WINDOW))
            self._start, begin = offset, 0
        piece = self._window[begin : begin + size]
        if len(piece) != size:
            raise MalformedDataSetError(
                f"the blob ends at {offset + len(piece)}, before its length of {self.length}"
            )
        return piece


def inflated(deflated: BinaryIO, length: int) -> bytes:
    """Inflate a data set (PS3.5 A.5), within MAX_RATIO and MAX_INFLATED.

    Raises MalformedDataSetError.
    """
    cap = min(MAX_INFLATED, max(length, 1024) * MAX_RATIO)
    inflate = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    pieces: list[bytes] = []
    size = 0
    try:
        while not inflate.eof:
            data = inflate.unconsumed_tail or deflated.read(_STEP)
            if not data:
                raise MalformedDataSetError("the deflated data set ends early")
            pieces.append(inflate.decompress(data, _STEP))
            size += len(pieces[-1])
            if size > cap:
                raise MalformedDataSetError(
                    f"it inflates to more than {cap} bytes, {MAX_RATIO} times its size or the limit"
                )
    except zlib.error as error:
        raise MalformedDataSetError("the deflated data set is damaged") from error
    content = b"".join(pieces)
    rest = inflate.unused_data + deflated.read(_TRAILER.size + 2)
    if len(rest) > 1 and rest[: _TRAILER.size] != _TRAILER.pack(zlib.crc32(content), size):
        raise MalformedDataSetError("bytes follow the deflated data set")
    return content
