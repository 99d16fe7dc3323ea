"""The DICOM JSON of pydicom's test files, against pydicom's own; then what it has no opinion on."""

import io
import itertools
import json
import zlib
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from swallowtail.cloud.index.json_model import JsonModel
from swallowtail.cloud.index.parse import BULK, parse
from swallowtail.cloud.index.source import Source
from swallowtail.cloud.model.indexing import Indexed
from swallowtail.dicom.data_set import Element
from tests.unit.cloud.index.data_sets import file_of, stored

NAMES = (
    *(
        f"chr{name}.dcm"
        for name in ("Arab", "Fren", "Germ", "Greek", "H31", "H32", "Hbrw", "I2", "KoreanMulti", "Russ", "X1", "X2")
    ),
    *("CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "examples_ybr_color.dcm", "examples_palette.dcm"),
    *("rtplan.dcm", "rtdose.dcm", "reportsi.dcm", "test-SR.dcm", "waveform_ecg.dcm", "liver_1frame.dcm"),
)


def _uri(top: pydicom.DataElement, number: int) -> str:
    return f"bulkdata/{int(top.tag):08X}.{number}"


def shown(value: Any) -> Any:
    """A value without the spaces that pad it, and without empty name groups."""
    if isinstance(value, str):
        return value.rstrip("\0 ") or None
    if isinstance(value, list):
        return [shown(one) for one in value]
    if isinstance(value, dict):
        return {key: shown(one) for key, one in value.items() if one != ""}
    return value


@pytest.mark.parametrize("name", NAMES)
def test_every_element_is_what_pydicom_says(name: str) -> None:
    job, content = stored(name)
    outcome = parse(job, io.BytesIO(content))
    assert isinstance(outcome, Indexed), outcome
    document = json.loads(zlib.decompress(outcome.document))
    data = pydicom.dcmread(Path(file_of(name)))
    assert list(document) == sorted(f"{int(element.tag):08X}" for element in data)
    for element in data:
        mine = document[f"{int(element.tag):08X}"]
        if "BulkDataURI" in mine:
            assert element.tag.group == 0x7FE0 or len(element.value) > 1024
            continue
        count = itertools.count()
        theirs = element.to_json_dict(lambda one, count=count, top=element: _uri(top, next(count)), 1024)
        if "BulkDataURI" not in theirs:  # it counts the threshold after base64
            assert shown(mine) == shown(theirs), element.tag


def value(vr: bytes, raw: bytes, **charset: Any) -> Any:
    data = Dataset()
    for keyword, said in charset.items():
        setattr(data, keyword, said)
    model = JsonModel(Source(io.BytesIO(raw), len(raw)), data, big_endian=False)
    return model.value(Element(0x00091001, vr, 0, 0, len(raw)), foreign=False).get("Value")


@pytest.mark.parametrize(
    ("vr", "raw", "found"),
    [
        (b"LO", b"one\\\\three ", ["one", None, "three"]),
        (b"LO", b"  ", None),
        (b"LT", b"a\\b ", ["a\\b"]),
        (b"IS", b"1\\x\\ 3 ", [1, "x", 3]),
        (b"DS", b"1.5\\\\-2e3", [1.5, None, -2000.0]),
        (b"US", b"\x01\x00\x02\x00", [1, 2]),
        (b"US", b"\x01\x00\x02", None),
        (b"AT", b"\x10\x00\x20\x00", ["00100020"]),
        (b"PN", b"Heron^Ada==\xe3", [{"Alphabetic": "Heron^Ada", "Phonetic": "\xe3"}]),
        (b"UI", b"1.2.3\0", ["1.2.3"]),
    ],
)
def test_values(vr: bytes, raw: bytes, found: Any) -> None:
    assert value(vr, raw, SpecificCharacterSet="ISO_IR 100") == found


def test_long_binary_values_are_named_and_short_ones_inline() -> None:
    raw = bytes(1025)
    model = JsonModel(Source(io.BytesIO(raw), len(raw)), Dataset(), big_endian=False)
    assert model.value(Element(0x00091001, b"OB", 0, 0, 1025), foreign=False) == {"vr": "OB", "BulkDataURI": "bulkdata/00091001"}
    assert model.value(Element(0x00091001, b"OB", 0, 0, 3), foreign=False) == {"vr": "OB", "InlineBinary": "AAAA"}
    assert BULK > 1024
