"""The size in the header of an encoded frame.

Read before a decoder allocates memory for it.
"""

import struct
from typing import Final, NamedTuple

_SOF: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
"""Start of frame, of JPEG (ITU-T T.81 Table B.1) and of JPEG-LS (T.87 C.1.1)."""
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_SIZ: Final = b"\xff\x4f\xff\x51"  # ITU-T T.800 A.4.1 and A.5.1
_SEARCHED: Final = 4096


class Size(NamedTuple):
    """Rows, columns and samples per pixel in the header of a code stream."""

    rows: int
    columns: int
    samples: int


def size_of(frame: bytes) -> Size | None:
    """Return the size in a JPEG, JPEG-LS or JPEG 2000 code stream; None where there is none."""
    if frame[:2] == b"\xff\xd8":
        return _jpeg(frame)
    begin = frame.find(_SIZ, 0, _SEARCHED)  # some senders put a JP2 file around it
    if begin < 0 or len(frame) < begin + 42:
        return None
    right, bottom, left, top = struct.unpack_from(">IIII", frame, begin + 8)
    (samples,) = struct.unpack_from(">H", frame, begin + 40)
    return Size(bottom - top, right - left, samples)


def _jpeg(frame: bytes) -> Size | None:
    position = 2
    while position + 9 < len(frame) and frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker == 0xFF or marker in _ALONE:
            position += 1 if marker == 0xFF else 2
            continue
        length, _, rows, columns, samples = struct.unpack_from(">HBHHB", frame, position + 2)
        if marker in _SOF:
            return Size(rows, columns, samples)
        position += 2 + length
    return None
