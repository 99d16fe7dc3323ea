"""The DICOM JSON of pydicom's test files, against pydicom's own; then what it has no opinion on."""

import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from swallowtail.cloud.data_set.elements import LocatedElement
from swallowtail.cloud.index.json_model import BULK, JsonModel
from swallowtail.cloud.index.parse import parse
from swallowtail.cloud.index.source import FileSource, inflated
from swallowtail.cloud.model.indexing import Indexed
from tests.unit.cloud.index.data_sets import file_of, job, stored

NAMES = (
    *(
        f"chr{name}.dcm"
        for name in (
            "Arab",
            "Fren",
            "Germ",
            "Greek",
            "H31",
            "H32",
            "Hbrw",
            "I2",
            "KoreanMulti",
            "Russ",
            "X1",
            "X2",
        )
    ),
    *(
        "CT_small.dcm",
        "MR_small_implicit.dcm",
        "MR_small_bigendian.dcm",
        "examples_ybr_color.dcm",
        "examples_palette.dcm",
    ),
    *(
        "rtplan.dcm",
        "rtdose.dcm",
        "reportsi.dcm",
        "test-SR.dcm",
        "waveform_ecg.dcm",
        "liver_1frame.dcm",
    ),
)


def shown(value: Any) -> Any:
    """A value without the spaces that pad it, and without empty name groups."""
    if isinstance(value, str):
        return value.rstrip("\0 ") or None
    if isinstance(value, list):
        return [shown(one) for one in value]
    if isinstance(value, dict):
        return {key: shown(one) for key, one in value.items() if one != "" and key != "BulkDataURI"}
    return value


@pytest.mark.parametrize("name", NAMES)
def test_every_element_is_what_pydicom_says(name: str) -> None:
    made, content = stored(name)
    outcome = parse(made, io.BytesIO(content))
    assert isinstance(outcome, Indexed), outcome
    document = json.loads(zlib.decompress(outcome.document))
    data = pydicom.dcmread(Path(file_of(name)))
    assert list(document) == sorted(f"{int(element.tag):08X}" for element in data)
    for element in data:
        mine = document[f"{int(element.tag):08X}"]
        if "BulkDataURI" in mine:
            assert element.tag.group == 0x7FE0 or len(element.value) > 1024
            continue
        theirs = element.to_json_dict(lambda one: "", 1368)
        if "BulkDataURI" not in theirs:  # it counts the threshold after base64
            assert shown(mine) == shown(theirs), element.tag


BULKY = (
    "waveform_ecg.dcm",
    "liver_1frame.dcm",
    "examples_palette.dcm",
    "CT_small.dcm",
    "rtdose.dcm",
    "image_dfl.dcm",
)


def named(document: dict[str, Any], data: Dataset) -> Iterator[tuple[str, bytes]]:
    """Every BulkDataURI of a document, and what pydicom has at its place."""
    for key, attribute in document.items():
        if "BulkDataURI" in attribute:
            yield attribute["BulkDataURI"], data[key].value
        elif attribute["vr"] == "SQ":
            for item, inner in zip(attribute.get("Value", []), data[key].value, strict=True):
                yield from named(item, inner)


def with_icon() -> Dataset:
    """A slice with bulk data of every kind, two sequences deep, in a private creator's and a
    modality LUT's place.
    """
    data = pydicom.dcmread(file_of("CT_small.dcm"))
    icon, table, around = Dataset(), Dataset(), Dataset()
    icon.add_new(0x7FE00010, "OB", b"icon" * 512)
    table.add_new(0x00283002, "US", [600, 0, 16])
    table.add_new(0x00283006, "OW", b"lut." * 300)
    table.add_new(0x00091010, "UN", b"what" * 400)
    table.add_new(0x00091011, "UN", b"inline")
    table.add_new(0x0040A160, "UT", "t" * 70_000)
    around.ModalityLUTSequence = [Dataset(), table]
    data.IconImageSequence, data.ReferencedSeriesSequence = [icon], [Dataset(), around]
    data.add_new(0x00420011, "OB", b"%PDF" * 9000)
    data.add_new(0x00091012, "UN", b"top!" * 500)
    return data


def read(outcome: Indexed, content: bytes, uri: str) -> bytes:
    """The bytes that a BulkDataURI stands for."""
    spans = outcome.frames.values[uri.removeprefix("bulkdata/")].spans
    return b"".join(
        content[start : start + length]
        for start, length in zip(spans[::2], spans[1::2], strict=True)
    )


@pytest.mark.parametrize("name", BULKY)
def test_every_bulk_data_uri_is_the_value_that_pydicom_has(name: str) -> None:
    made, content = stored(name)
    outcome = parse(made, io.BytesIO(content))
    assert isinstance(outcome, Indexed), outcome
    if name == "image_dfl.dcm":
        content = inflated(io.BytesIO(content), len(content))
    found = dict(
        named(json.loads(zlib.decompress(outcome.document)), pydicom.dcmread(file_of(name)))
    )
    assert found
    assert {uri.removeprefix("bulkdata/") for uri in found} == set(outcome.frames.values)
    for uri, expected in found.items():
        assert read(outcome, content, uri) == expected, uri


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"]
)
def test_bulk_data_within_sequences_is_named_by_its_place(syntax: str) -> None:
    data, file = with_icon(), io.BytesIO()
    data.file_meta.TransferSyntaxUID = UID(syntax)
    pydicom.dcmwrite(file, data, enforce_file_format=True)
    raw = file.getvalue()
    content = raw[144 + int.from_bytes(raw[140:144], "little") :]
    made = job(
        content,
        sop_instance=str(data.SOPInstanceUID),
        sop_class=str(data.SOPClassUID),
        syntax=syntax,
    )
    outcome = parse(made, io.BytesIO(content))
    assert isinstance(outcome, Indexed), outcome
    document = json.loads(zlib.decompress(outcome.document))
    below = "00081115.1.00283000.1"
    assert set(outcome.frames.values) == {
        *("7FE00010", "00420011", "00091012", "00431029", "00880200.0.7FE00010"),
        *(f"{below}.{tag}" for tag in ("00283006", "00091010", "0040A160")),
    }
    pixels = outcome.frames.values["00880200.0.7FE00010"]
    assert content[pixels.spans[0] :][:4] == b"icon"
    table = document["00081115"]["Value"][1]["00283000"]["Value"][1]
    assert table["00283006"] == {"vr": "OW", "BulkDataURI": f"bulkdata/{below}.00283006"}
    assert table["0040A160"] == {"vr": "UT", "BulkDataURI": f"bulkdata/{below}.0040A160"}
    assert table["00091011"] == {"vr": "UN", "InlineBinary": "aW5saW5l"}
    assert read(outcome, content, table["00091010"]["BulkDataURI"]) == b"what" * 400


def test_an_encapsulated_icon_is_named_without_its_offset_table() -> None:
    data, file, icon = pydicom.dcmread(file_of("examples_ybr_color.dcm")), io.BytesIO(), Dataset()
    icon.add_new(0x7FE00010, "OB", encapsulate([b"\xff\xd8icon\xff\xd9"]))
    icon["PixelData"].is_undefined_length = True
    data.IconImageSequence = [icon]
    data.save_as(file, enforce_file_format=True)
    raw = file.getvalue()
    content = raw[144 + int.from_bytes(raw[140:144], "little") :]
    syntax = str(data.file_meta.TransferSyntaxUID)
    made = job(
        content,
        sop_instance=str(data.SOPInstanceUID),
        sop_class=str(data.SOPClassUID),
        syntax=syntax,
    )
    outcome = parse(made, io.BytesIO(content))
    assert isinstance(outcome, Indexed), outcome
    (name,) = outcome.frames.values
    assert name == "00880200.0.7FE00010"
    assert outcome.frames.values[name].encapsulated
    assert read(outcome, content, name) == b"\xff\xd8icon\xff\xd9"
    assert len(outcome.frames.spans) == 30


def value(vr: bytes, raw: bytes, **charset: Any) -> Any:
    data = Dataset()
    for keyword, said in charset.items():
        setattr(data, keyword, said)
    model = JsonModel(FileSource(io.BytesIO(raw), len(raw)), data, {}, big_endian=False)
    return model.value(LocatedElement(0x00091001, vr, 0, 0, len(raw)), foreign=False).get("Value")


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
    model = JsonModel(FileSource(io.BytesIO(raw), len(raw)), Dataset(), {}, big_endian=False)
    assert model.value(LocatedElement(0x00091001, b"OB", 0, 0, 1025), foreign=False) == {
        "vr": "OB",
        "BulkDataURI": "bulkdata/00091001",
    }
    assert model.value(LocatedElement(0x00091001, b"OB", 0, 0, 3), foreign=False) == {
        "vr": "OB",
        "InlineBinary": "AAAA",
    }
    assert BULK > 1024
