"""The encoding of data elements in another transfer syntax, value by value.

No text is decoded, so no text is changed.

pydicom's own writer decodes and encodes every text when the encoding changes. With a wrong Specific
Character Set it would change a name, and send that to an archive.
"""

import struct
from collections.abc import Iterator
from typing import Any, Final

from pydicom.datadict import dictionary_VR, private_dictionary_VR
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element

from swallowtail.cloud.data_set.elements import (
    BIG_ENDIAN,
    IMPLICIT,
    LONG,
    UNDEFINED,
    LocatedElement,
)
from swallowtail.cloud.index.parse import read_elements
from swallowtail.cloud.pixels.stored import StoredImage

_WIDTHS: Final = {
    **dict.fromkeys((b"AT", b"OW", b"SS", b"US"), 2),
    **dict.fromkeys((b"FL", b"OF", b"OL", b"SL", b"UL"), 4),
    **dict.fromkeys((b"FD", b"OD", b"OV", b"SV", b"UV"), 8),
}
_ITEM: Final = struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED)
_ITEM_END: Final = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
SEQUENCE_END: Final = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


class Writer:
    """A writer of elements in Implicit or Explicit VR Little Endian."""

    def __init__(self, stored: StoredImage, *, implicit: bool) -> None:
        self._stored, self._implicit = stored, implicit
        self._data = read_elements(
            stored.source, stored.rest, stored.syntax
        )  # of its own: what was looked at is raw no more
        self._big = stored.syntax == BIG_ENDIAN
        self._same = not implicit and not self._big and stored.syntax != IMPLICIT
        self._signed = bool(stored.data.get("PixelRepresentation"))

    def copied(self, element: LocatedElement) -> bytes:
        """Return a top-level element of the stored data set."""
        if self._same:
            return self._stored.source.take(element.begin, element.end - element.begin)
        return self._of(self._data, element.tag)

    def header(self, tag: int, vr: bytes, length: int) -> bytes:
        """Return the header of a value (PS3.5 7.1)."""
        group, number = tag >> 16, tag & 0xFFFF
        if self._implicit:
            return struct.pack("<HHI", group, number, length)
        if vr in LONG:
            return struct.pack("<HH2sHI", group, number, vr, 0, length)
        return struct.pack("<HH2sH", group, number, vr, length)

    def element(self, tag: int, vr: bytes, value: bytes) -> bytes:
        """Return a complete element; UN if the value is too long for its VR (PS3.5 6.2.2)."""
        if len(value) > 0xFFFE and vr not in LONG:
            vr = b"UN"
        return self.header(tag, vr, len(value)) + value

    def swapped(self, vr: bytes, value: bytes, width: int = 0) -> bytes:
        """Return a value in little-endian order; `width` overrides the VR's."""
        width = width or _WIDTHS.get(vr, 1)
        if not self._big or width == 1:
            return value
        swapped = bytearray(value)
        for place in range(width):
            swapped[place::width] = value[width - 1 - place :: width]
        return bytes(swapped)

    def _of(self, data: Dataset, tag: int) -> bytes:
        raw: Any = data.get_item(tag)
        vr = self._vr(tag, raw, data)
        if vr == b"SQ":
            return (
                self.header(tag, vr, UNDEFINED)
                + b"".join(self._items(data[tag].value))
                + SEQUENCE_END
            )
        if raw.is_raw:
            return self.element(tag, vr, self.swapped(vr, raw.value or b""))
        written = DicomBytesIO()  # pydicom looks at some of its own accord: Pixel Representation
        written.is_little_endian, written.is_implicit_VR = True, True
        write_data_element(written, raw)
        return self.element(tag, vr, written.getvalue()[8:])

    def _items(self, items: Any) -> Iterator[bytes]:
        for item in items:
            yield _ITEM
            for tag in sorted(item.keys()):
                if tag & 0xFFFF:  # no group lengths (PS3.5 7.2): they may be wrong now
                    yield self._of(item, tag)
            yield _ITEM_END

    def _vr(self, tag: int, raw: Any, data: Dataset) -> bytes:
        vr = raw.VR or self._known(tag, data)
        if vr == "US or SS":
            return b"SS" if self._signed else b"US"
        if " or " in vr:  # OB or OW, US or OW, US or SS or OW: words in Implicit VR (PS3.5 A.1)
            return b"OW" if "OW" in vr else b"US"
        return vr[:2].encode("ascii")

    def _known(self, tag: int, data: Dataset) -> str:
        try:
            if not tag >> 16 & 1:
                return dictionary_VR(tag)
            if tag & 0xFFFF < 0x100:
                return "LO"  # PS3.5 7.8.1: a private creator
            creator: Any = data.get_item(tag & 0xFFFF0000 | (tag & 0xFF00) >> 8)
            return private_dictionary_VR(tag, _text(creator.value))
        except (KeyError, AttributeError):
            return "UN"


def _text(value: Any) -> str:
    return value.decode("ascii", "replace").strip(" \0") if isinstance(value, bytes) else str(value)
