"""The DICOM JSON Model (PS3.18 Annex F) of a data set, from the elements of `Walk`.

Plain values are read here, since pydicom's element objects take most of the time (8 of 11 ms for a
CT header). Sequences, and values that depend on other elements, are read by pydicom, which is the
tests' oracle for all of it. Bulk data is named by a relative URI, to be resolved where the document
is served: `bulkdata/` and the value's path, tags and item numbers with dots between them. `bulk`
contains the byte range of each named value. A value that cannot be read is reduced to its VR.
"""

import base64
import struct
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

from swallowtail.cloud.data_set.elements import LARGE, LocatedElement, Path
from swallowtail.cloud.index.source import FileSource
from swallowtail.cloud.model.indexing import BulkValue

INLINE: Final = LARGE
"""Longer binary values are bulk data."""
BULK: Final = 64 * 1024
"""Longer values, and pixel data whatever its length, are bulk data.

Named in the DICOM JSON, not held in it (PS3.18 F.2.2).
"""
_NAMED: Final = "bulk"
_BASE64: Final = INLINE // 3 * 4 + 4
"""pydicom counts the characters of base64."""

_DECODED: Final = frozenset({b"LO", b"LT", b"SH", b"ST", b"UC", b"UT"})  # PS3.5 6.1.2.3, besides PN
_PLAIN: Final = frozenset({b"AE", b"AS", b"CS", b"DA", b"DT", b"TM", b"UI", b"UR"})
_SINGLE: Final = frozenset(
    {b"LT", b"ST", b"UR", b"UT"}
)  # a backslash is a character here (PS3.5 6.2)
_BINARY: Final = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW"})
_NUMBERS: Final = {
    b"FD": "d",
    b"FL": "f",
    b"SL": "i",
    b"SS": "h",
    b"SV": "q",
    b"UL": "I",
    b"US": "H",
    b"UV": "Q",
}
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")

Value = dict[str, Any]


class JsonModel:
    """The JSON of the elements of one data set.

    `data` is the same data set as read by pydicom, `large` the large values found by the walk.
    """

    def __init__(
        self,
        source: FileSource,
        data: Dataset,
        large: Mapping[Path, LocatedElement],
        *,
        big_endian: bool,
    ) -> None:
        self.bulk: dict[str, BulkValue] = {}
        self._large: dict[int, dict[Path, LocatedElement]] = defaultdict(dict)
        for path, element in large.items():
            self._large[path[0]][path] = element
        self._source = source
        self._data = data
        self._order = ">" if big_endian else "<"
        self._encodings = convert_encodings(data.get("SpecificCharacterSet") or None)

    def value(self, element: LocatedElement, *, foreign: bool) -> Value:
        """Return one element; `foreign` leaves it to pydicom."""
        read = None if foreign else self._reader(element.vr)
        if read is None:
            return self._by_pydicom(element)
        raw = self._source.take(element.start, element.end - element.start)
        vr = element.vr.decode()
        if element.vr in _BINARY:
            return self._binary(element, vr, raw)
        try:
            values = read(element.vr, raw)
        except (struct.error, UnicodeError, LookupError):
            return {"vr": vr}
        return {"vr": vr, "Value": values} if values else {"vr": vr}

    def _reader(self, vr: bytes) -> Callable[[bytes, bytes], list[Any]] | None:
        if vr in _DECODED or vr in _PLAIN:
            return self._texts
        if vr in _NUMBERS:
            return self._numbers
        if vr in _BINARY:
            return self._numbers
        return {
            b"IS": self._decimals,
            b"DS": self._decimals,
            b"PN": self._names,
            b"AT": self._tags,
        }.get(vr)

    def _binary(self, element: LocatedElement, vr: str, raw: bytes) -> Value:
        if len(raw) > INLINE:
            return self.named(element)
        return {"vr": vr, "InlineBinary": base64.b64encode(raw).decode()} if raw else {"vr": vr}

    def _text(self, raw: bytes, delimiters: set[int]) -> str:
        if raw.isascii() and b"\x1b" not in raw:
            return raw.decode("ascii")
        return decode_bytes(raw, self._encodings, delimiters)

    def _texts(self, vr: bytes, raw: bytes) -> list[Any]:
        text = self._text(raw, TEXT_VR_DELIMS) if vr in _DECODED else raw.decode("latin-1")
        parts = [text] if vr in _SINGLE else text.split("\\")
        stripped = [part.rstrip("\0 ") for part in parts]
        return [part or None for part in stripped] if any(stripped) else []

    def _names(self, _vr: bytes, raw: bytes) -> list[Any]:
        text = self._text(raw, PN_DELIMS).rstrip("\0 ")
        if not text:
            return []
        names = [zip(_GROUPS, name.split("="), strict=False) for name in text.split("\\")]
        return [{group: part for group, part in name if part} for name in names]

    def _decimals(self, vr: bytes, raw: bytes) -> list[Any]:
        text = raw.decode("latin-1").strip("\0 ")
        return (
            [
                _decimal(part.strip("\0 "), int if vr == b"IS" else float)
                for part in text.split("\\")
            ]
            if text
            else []
        )

    def _numbers(self, vr: bytes, raw: bytes) -> list[Any]:
        layout = _NUMBERS[vr]
        return list(
            struct.unpack(f"{self._order}{len(raw) // struct.calcsize(layout)}{layout}", raw)
        )

    def _tags(self, _vr: bytes, raw: bytes) -> list[Any]:
        return [
            f"{group:04X}{element:04X}"
            for group, element in struct.iter_unpack(f"{self._order}HH", raw)
        ]

    def named(self, element: LocatedElement, path: Path = (), vr: str = "") -> Value:
        """Name a value as bulk data.

        `path` is its path within a sequence, `vr` pydicom's VR where that is more specific.
        """
        name = ".".join(
            f"{part:08X}" if number % 2 == 0 else f"{part}"
            for number, part in enumerate(path or (element.tag,))
        )
        spans: tuple[int, ...] = (element.start, element.end - element.start)
        if element.fragments is not None:
            spans = tuple(number for fragment in element.fragments[1:] for number in fragment)
        self.bulk[name] = BulkValue(spans=spans, encapsulated=element.fragments is not None)
        return {"vr": vr or element.vr.decode(), "BulkDataURI": f"bulkdata/{name}"}

    def _by_pydicom(self, element: LocatedElement) -> Value:
        left: list[None] = []

        def leave(_: DataElement) -> str:
            left.append(None)
            return _NAMED

        try:
            value: Value = self._data[element.tag].to_json_dict(leave, _BASE64)
        # any error of the library on a foreign value means that the value cannot be shown
        except Exception:  # noqa: BLE001
            return {"vr": element.vr.decode()}
        for path, one in ({(element.tag,): element} | self._large[element.tag]).items():
            self._name(_at(value, path), path, one)
        if left:
            _drop(value)
        return value

    def _name(self, node: Value | None, path: Path, element: LocatedElement) -> None:
        """Name a large value where pydicom shows it as binary, or where it is always too long."""
        length = element.end - element.start
        if (
            node is None
            or node.get("vr") == "SQ"
            or ("BulkDataURI" not in node and length <= INLINE and element.fragments is None)
        ):
            return
        if length > BULK or "InlineBinary" in node or "BulkDataURI" in node:
            vr = node["vr"] if len(node["vr"]) == 2 else "UN"
            node.clear()
            node.update(self.named(element, path, vr))


def _at(value: Value, path: Path) -> Value | None:
    """Return the value at a path in the JSON of its first tag's element.

    None where pydicom found no such value.
    """
    try:
        for item, tag in zip(path[1::2], path[2::2], strict=True):
            value = value["Value"][item][f"{tag:08X}"]
    except (KeyError, IndexError, TypeError):
        return None
    return value


def _drop(value: Value) -> None:
    """Reduce a long value that the walk did not find to its VR."""
    if value.get("BulkDataURI") == _NAMED:
        del value["BulkDataURI"]
    if value["vr"] == "SQ":
        for item in value.get("Value", ()):
            for inner in item.values():
                _drop(inner)


def _decimal(text: str, kind: type[int] | type[float]) -> int | float | str | None:
    """Return a number, or the text where it is not one (PS3.18 F.2.3 allows both)."""
    if not text:
        return None
    try:
        return kind(text)
    except ValueError:
        return text
