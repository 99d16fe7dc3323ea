"""Whole data sets: pydicom's own test files, cut, lying and mismatched."""

import io
import json
import zlib

import msgspec
import pydicom
import pytest

from swallowtail.cloud.data_set.elements import Walk
from swallowtail.cloud.index.parse import parse
from swallowtail.cloud.index.source import FileSource
from swallowtail.cloud.model.indexing import Indexed, IndexJob, IndexOutcome, Quarantined
from tests.unit.cloud.index.data_sets import file_of, stored


def parsed(name: str) -> Indexed:
    job, content = stored(name)
    outcome = parse(job, io.BytesIO(content))
    assert isinstance(outcome, Indexed), outcome
    return outcome


def test_a_cine_is_indexed_with_every_frame() -> None:
    outcome = parsed("examples_ybr_color.dcm")
    _, content = stored("examples_ybr_color.dcm")
    assert (outcome.series.modality, outcome.rows, outcome.columns, outcome.frame_count) == (
        "US",
        240,
        320,
        30,
    )
    assert len(outcome.frames.spans) == 30
    for start, length in outcome.frames.spans:
        frame = content[start : start + length].rstrip(b"\0")
        assert (frame[:2], frame[-2:]) == (b"\xff\xd8", b"\xff\xd9")


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small.dcm",
        "MR_small_implicit.dcm",
        "MR_small_bigendian.dcm",
        "rtdose.dcm",
        "rtplan.dcm",
        "image_dfl.dcm",
    ],
)
def test_attributes_are_what_pydicom_reads(name: str) -> None:
    outcome = parsed(name)
    data = pydicom.dcmread(file_of(name))
    assert outcome.study.uid == data.StudyInstanceUID
    assert outcome.study.patient_name == str(data.PatientName)
    assert outcome.study.patient_id == data.PatientID
    assert outcome.series.modality == data.Modality
    assert (outcome.rows, outcome.columns) == (data.get("Rows"), data.get("Columns"))
    assert outcome.frame_count == (
        int(data.get("NumberOfFrames") or 1) if "PixelData" in data else None
    )


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_bigendian.dcm", "rtdose.dcm"])
def test_native_frames_are_the_pixel_data(name: str) -> None:
    outcome, (_, content) = parsed(name), stored(name)
    pixels = pydicom.dcmread(file_of(name)).PixelData
    assert (
        b"".join(content[start : start + length] for start, length in outcome.frames.spans)
        == pixels
    )


def test_names_are_decoded_by_their_character_set() -> None:
    assert parsed("chrH31.dcm").study.patient_name == "Yamada^Tarou=山田^太郎=やまだ^たろう"
    assert parsed("chrRuss.dcm").study.patient_name == str(
        pydicom.dcmread(file_of("chrRuss.dcm")).PatientName
    )


def test_the_document_is_dicom_json_without_bulk() -> None:
    document = json.loads(zlib.decompress(parsed("CT_small.dcm").document))
    data = pydicom.dcmread(file_of("CT_small.dcm"))
    assert document["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": str(data.PatientName)}]}
    assert document["7FE00010"] == {"vr": "OW", "BulkDataURI": "bulkdata/7FE00010"}
    assert list(document) == sorted(document)
    assert set(document) == {f"{int(element.tag):08X}" for element in data}


@pytest.mark.parametrize("name", ["MR_truncated.dcm", "rtplan_truncated.dcm"])
def test_a_truncated_file_is_quarantined(name: str) -> None:
    job, content = stored(name)
    outcome = parse(job, io.BytesIO(content))
    assert isinstance(outcome, Quarantined)
    assert "claims" in outcome.problem


def cut_points(content: bytes) -> set[int]:
    return {*range(0, len(content), max(1, len(content) // 40)), 1, len(content) - 1}


def is_boundary(content: bytes, cut: int, job: IndexJob) -> bool:
    """Does a top-level element begin here? Such a cut is a data set again, which length and CRC-32
    of the transfer find.
    """
    whole = Walk(
        FileSource(io.BytesIO(content), len(content)), job.identity.transfer_syntax, lambda _: b"UN"
    ).elements()
    return cut in {element.begin for element in whole}


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small_implicit.dcm",
        "MR_small_RLE.dcm",
        "test-SR.dcm",
        "examples_ybr_color.dcm",
        "image_dfl.dcm",
    ],
)
def test_no_cut_passes_as_whole(name: str) -> None:
    job, content = stored(name)
    for cut in cut_points(content):
        outcome = parse(msgspec.structs.replace(job, length=cut), io.BytesIO(content[:cut]))
        assert isinstance(outcome, Quarantined) or (
            outcome.frame_count is None and is_boundary(content, cut, job)
        ), cut


@pytest.mark.parametrize("field", ["sop_instance", "sop_class"])
def test_a_data_set_unlike_its_command_set_is_quarantined(field: str) -> None:
    job, content = stored("CT_small.dcm")
    if field == "sop_class":
        job = msgspec.structs.replace(job, sop_class="1.2.3")
    else:
        job = msgspec.structs.replace(
            job, identity=msgspec.structs.replace(job.identity, sop_instance="1.2.3")
        )
    outcome = parse(job, io.BytesIO(content))
    assert isinstance(outcome, Quarantined)
    assert "command set" in outcome.problem


def test_group_0002_does_not_belong_into_a_data_set() -> None:
    job, content = stored("CT_small.dcm")
    meta = b"\x02\x00\x10\x00UI\x12\x001.2.840.10008.1.2\0"
    outcome = parse(
        msgspec.structs.replace(job, length=len(content) + len(meta)), io.BytesIO(meta + content)
    )
    assert isinstance(outcome, Quarantined)
    assert "(0002,0010)" in outcome.problem


def test_a_problem_names_no_patient() -> None:
    job, content = stored("CT_small.dcm")
    name = str(pydicom.dcmread(file_of("CT_small.dcm")).PatientName)
    for cut in cut_points(content):
        outcome: IndexOutcome = parse(
            msgspec.structs.replace(job, length=cut), io.BytesIO(content[:cut])
        )
        assert isinstance(outcome, Quarantined)
        assert name not in outcome.problem
