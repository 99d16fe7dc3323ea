"""The structure of a data set, walked element by element (PS3.5 7).

Every length must fit what contains it, and all bytes must be consumed.

pydicom is lenient here, on purpose: a pixel data length of 4 GiB before 1,000 bytes passes as 1,000
bytes. An archive must not be, so this walk checks first and returns the position of every element
at the top level, and of LARGE values below it. It interprets no value, and its work is bounded by
MAX_DEPTH, MAX_ITEMS and MAX_ELEMENTS.

For the first bytes of a data set there is `beginning`, which returns the complete elements among
them and reports no defect.
"""

import contextlib
import itertools
import struct
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

MAX_DEPTH: Final = 64
MAX_ITEMS: Final = 100_000
MAX_ELEMENTS: Final = 500_000
LARGE: Final = 1024
"""Values of more bytes are returned from within sequences, too."""

UNDEFINED: Final = 0xFFFFFFFF
ITEM: Final = 0xFFFEE000
ITEM_END: Final = 0xFFFEE00D
SEQUENCE_END: Final = 0xFFFEE0DD
PIXEL_DATA: Final = 0x7FE00010

LONG: Final = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
SHORT: Final = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT"}
    | {b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
)
_FRAGMENTED: Final = frozenset({b"OB", b"OW"})

IMPLICIT: Final = "1.2.840.10008.1.2"
EXPLICIT: Final = "1.2.840.10008.1.2.1"
BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
DEFLATED: Final = frozenset(
    {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}
)


class MalformedDataSetError(Exception):
    """The data set violates its transfer syntax.

    The message is for a person and holds no values.
    """


class ByteSource(Protocol):
    """The bytes of a data set by offset."""

    @property
    def length(self) -> int:
        """Return the number of bytes."""

    def take(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on; raises MalformedDataSetError beyond the end."""


class Bytes:
    """A data set, or its beginning, in memory (`ByteSource`)."""

    def __init__(self, content: bytes) -> None:
        self.length = len(content)
        self._content = content

    def take(self, offset: int, size: int) -> bytes:
        """Return some of the bytes (`ByteSource`)."""
        if offset + size > self.length:
            raise MalformedDataSetError(f"it ends at {self.length}, inside what begins at {offset}")
        return self._content[offset : offset + size]


Path = tuple[int, ...]
"""The path of an element.

Its tag, after tag and item number (from 0) of each sequence around it.
"""


class LocatedElement(
    NamedTuple
):  # a frozen dataclass takes three times as long to make, and there may be half a million
    """An element: its header at `begin`, its value from `start` to `end`.

    `fragments` of an encapsulated one as (offset, length), the Basic Offset Table first.
    """

    tag: int
    vr: bytes
    begin: int
    start: int
    end: int
    fragments: tuple[tuple[int, int], ...] | None = None


class _Header(NamedTuple):
    tag: int
    vr: bytes
    start: int
    length: int


def name_of(tag: int) -> str:
    """Return a tag in the usual notation."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


class Walk:
    """One walk over a data set.

    `vr_of` returns the dictionary's VR of a tag, for Implicit VR, as bytes; b"UN" for an unknown
    one.
    """

    def __init__(
        self, source: ByteSource, transfer_syntax: str, vr_of: Callable[[int], bytes]
    ) -> None:
        self._source = source
        self._implicit = transfer_syntax == IMPLICIT
        order = ">" if transfer_syntax == BIG_ENDIAN else "<"
        self._tag = struct.Struct(f"{order}HH")
        self._short = struct.Struct(f"{order}H")
        self._long = struct.Struct(f"{order}I")
        self._vr_of = vr_of
        self._items = 0
        self._elements = 0
        self._last = UNDEFINED
        self.large: dict[Path, LocatedElement] = {}
        """LARGE values and encapsulated ones within sequences, as far as the walk has come."""

    def elements(self) -> list[LocatedElement]:
        """Return the elements of the top level.

        Raises MalformedDataSetError with the position of the first defect.
        """
        found: list[LocatedElement] = []
        self._level(
            0, self._source.length, (), implicit=self._implicit, delimited=False, found=found
        )
        return found

    def beginning(self, last: int) -> list[LocatedElement]:
        """Return the top level's complete elements, up to the tag `last`."""
        self._last = last
        found: list[LocatedElement] = []
        with contextlib.suppress(MalformedDataSetError):  # a beginning ends somewhere
            self._level(
                0, self._source.length, (), implicit=self._implicit, delimited=False, found=found
            )
        return found

    def _level(
        self,
        position: int,
        limit: int,
        path: Path,
        *,
        implicit: bool,
        delimited: bool,
        found: list[LocatedElement] | None = None,
    ) -> int:
        """Walk the elements of a data set or item up to `limit`, or to the item's delimiter.

        Returns the position of its end.
        """
        if len(path) > 2 * MAX_DEPTH:
            raise MalformedDataSetError(
                f"sequences are nested more than {MAX_DEPTH} deep at {position}"
            )
        while position < limit:
            header = self._header(position, implicit)
            if header.tag == ITEM_END and delimited:
                return header.start
            if found is not None and header.tag > self._last:
                return position
            self._elements += 1
            if self._elements > MAX_ELEMENTS:
                raise MalformedDataSetError(f"it has more than {MAX_ELEMENTS} elements")
            end, fragments = self._value(header, limit, path, implicit)
            if found is not None:
                found.append(
                    LocatedElement(header.tag, header.vr, position, header.start, end, fragments)
                )
            elif fragments or (
                end - header.start > LARGE and header.vr != b"SQ" and header.length != UNDEFINED
            ):
                self.large[*path, header.tag] = LocatedElement(
                    header.tag, header.vr, position, header.start, end, fragments
                )
            position = end
        if delimited:
            raise MalformedDataSetError(f"an item of undefined length has no end before {limit}")
        return position

    def _header(self, position: int, implicit: bool) -> _Header:
        group, element = self._tag.unpack(self._source.take(position, 4))
        tag = group << 16 | element
        if group == 0xFFFE:  # PS3.5 7.5: items and delimiters have no VR
            return _Header(tag, b"", position + 8, self._number(position + 4))
        if implicit:
            return _Header(tag, self._vr_of(tag), position + 8, self._number(position + 4))
        vr = self._source.take(position + 4, 2)
        if vr in SHORT:
            return _Header(
                tag, vr, position + 8, self._short.unpack(self._source.take(position + 6, 2))[0]
            )
        if vr not in LONG:
            raise MalformedDataSetError(f"{name_of(tag)} at {position} has no known VR")
        return _Header(tag, vr, position + 12, self._number(position + 8))

    def _value(
        self, header: _Header, limit: int, path: Path, implicit: bool
    ) -> tuple[int, tuple[tuple[int, int], ...] | None]:
        if header.tag >> 16 == 0xFFFE:
            raise MalformedDataSetError(
                f"{name_of(header.tag)} before {header.start} is in the place of an element"
            )
        if header.length == UNDEFINED:
            if header.vr in _FRAGMENTED and not implicit:
                fragments, end = self._fragments(header.start, limit)
                return end, fragments
            inner = (
                implicit or header.vr == b"UN"
            )  # PS3.5 6.2.2: UN of undefined length holds Implicit VR
            return (
                self._sequence(
                    header.start, limit, (*path, header.tag), implicit=inner, delimited=True
                ),
                None,
            )
        end = header.start + header.length
        if end > limit:
            raise MalformedDataSetError(
                f"{name_of(header.tag)} at {header.start} claims {header.length} bytes where"
                f" {limit - header.start} are left"
            )
        if header.vr == b"SQ":
            self._sequence(
                header.start, end, (*path, header.tag), implicit=implicit, delimited=False
            )
        return end, None

    def _sequence(
        self, position: int, limit: int, path: Path, *, implicit: bool, delimited: bool
    ) -> int:
        for number in itertools.count():
            if not delimited and position >= limit:
                break
            header = self._item(position, limit)
            if header.tag == SEQUENCE_END and delimited:
                return header.start
            if header.tag != ITEM:
                raise MalformedDataSetError(
                    f"{name_of(header.tag)} at {position} is in the place of an item"
                )
            self._count_item()
            if header.length == UNDEFINED:
                position = self._level(
                    header.start, limit, (*path, number), implicit=implicit, delimited=True
                )
            else:
                end = self._bounded(header, limit)
                position = self._level(
                    header.start, end, (*path, number), implicit=implicit, delimited=False
                )
        return position

    def _fragments(self, position: int, limit: int) -> tuple[tuple[tuple[int, int], ...], int]:
        """Walk encapsulated pixel data (PS3.5 A.4)."""
        fragments: list[tuple[int, int]] = []
        while True:
            header = self._item(position, limit)
            if header.tag == SEQUENCE_END:
                return tuple(fragments), header.start
            if header.tag != ITEM or header.length == UNDEFINED:
                raise MalformedDataSetError(
                    f"{name_of(header.tag)} at {position} is in the place of a fragment"
                )
            self._count_item()
            fragments.append((header.start, header.length))
            position = self._bounded(header, limit)

    def _item(self, position: int, limit: int) -> _Header:
        if position + 8 > limit:
            raise MalformedDataSetError(f"a sequence has no end before {limit}")
        group, element = self._tag.unpack(self._source.take(position, 4))
        return _Header(group << 16 | element, b"", position + 8, self._number(position + 4))

    def _bounded(self, header: _Header, limit: int) -> int:
        end = header.start + header.length
        if end > limit:
            raise MalformedDataSetError(
                f"an item at {header.start} claims {header.length} bytes where"
                f" {limit - header.start} are left"
            )
        return end

    def _count_item(self) -> None:
        self._items += 1
        if self._items > MAX_ITEMS:
            raise MalformedDataSetError(f"it has more than {MAX_ITEMS} items")

    def _number(self, position: int) -> int:
        number: int = self._long.unpack(self._source.take(position, 4))[0]
        return number
