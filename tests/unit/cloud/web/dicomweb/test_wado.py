"""WADO-RS over the twins.

What is negotiated, and that parts are the bytes that the index points at.
"""

import io
import json
import random
import zlib
from collections.abc import Callable, Iterator
from email.message import Message
from email.parser import BytesParser
from typing import Any

import httpx2
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_fragments

from swallowtail.cloud.model.audit import EventId
from swallowtail.cloud.model.tenancy import Role, Tenant
from swallowtail.cloud.web import ranges
from swallowtail.cloud.web.dicomweb import dicom_json
from swallowtail.cloud.web.dicomweb.media import frame_offers
from tests.doubles.inline_parser import InlineParser
from tests.unit.cloud.web.conftest import (
    DATA,
    DOCUMENT,
    HERON,
    INSTANCE,
    NOW,
    SERIES,
    STUDY,
    SYNTAX,
    Cloud,
)

SERIES_PATH = f"/dicomweb/studies/{STUDY}/series/{SERIES}"
PATH = f"{SERIES_PATH}/instances/{INSTANCE}"
OCTETS = "application/octet-stream"


async def fetch(
    cloud: Cloud, path: str, accept: str = "*/*", token: str | None = None
) -> httpx2.Response:
    secret = token or await cloud.token(Role.CLINICIAN)
    headers = {"Authorization": f"Bearer {secret}", "Accept": accept}
    return await cloud.http.get(path, headers=headers)


def parts(answer: httpx2.Response) -> list[tuple[str, bytes]]:
    """Read a multipart body with a reader that is not ours."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    found = BytesParser().parsebytes(head + answer.content)
    return [
        (one["Content-Type"], _content(one))
        for one in found.get_payload()
        if isinstance(one, Message)
    ]


def _content(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


async def test_frames_are_the_bytes_that_the_index_points_at(cloud: Cloud) -> None:
    native = f"{OCTETS}; transfer-syntax=1.2.840.10008.1.2.1"
    for frames, expected in (
        ("1", [b"a"]),
        ("2", [b"b"]),
        ("1,2", [b"a", b"b"]),
        ("2,1", [b"b", b"a"]),
        ("1-2", [b"a", b"b"]),
    ):
        answer = await fetch(cloud, f"{PATH}/frames/{frames}")
        assert answer.status_code == 200
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert parts(answer) == [(native, letter * 1000) for letter in expected]
    alone = await fetch(cloud, f"{PATH}/frames/2", OCTETS)
    assert (alone.headers["content-type"], alone.content) == (native, b"b" * 1000)


@pytest.mark.parametrize(
    ("frames", "status"),
    [
        ("0", 404),
        ("3", 404),
        ("1,3", 404),
        ("x", 400),
        ("1,", 400),
        ("1-", 400),
        ("-1", 400),
        ("1-99999", 400),
        ("٣", 400),
    ],
)
async def test_frames_that_are_not_there_are_refused(
    cloud: Cloud, frames: str, status: int
) -> None:
    answer = await fetch(cloud, f"{PATH}/frames/{frames}")
    assert (answer.status_code, bool(answer.json()["remedy"])) == (status, True)


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (f'multipart/related; type="{OCTETS}"; transfer-syntax=*', 200),
        (f"multipart/related; type={OCTETS}", 200),
        ("multipart/related", 200),
        ("image/jpeg, application/*;q=0.5", 200),
        ('multipart/related; type="image/png"', 406),
        (f'multipart/related; type="{OCTETS}"; transfer-syntax=1.2.840.10008.1.2.4.50', 406),
        (f"{OCTETS};q=0", 406),
        ("*/*;q=nonsense", 406),
        ("x" * 5000, 400),
    ],
)
async def test_accept_decides_what_frames_come_as(cloud: Cloud, accept: str, status: int) -> None:
    answer = await fetch(cloud, f"{PATH}/frames/1", accept)
    assert answer.status_code == status, answer.text
    if status == 406:
        assert OCTETS in answer.json()["remedy"]
    assert (
        await fetch(cloud, f"{PATH}/frames/1?accept={OCTETS}", "image/png")
    ).content == b"a" * 1000  # PS3.18 8.3.3.1


async def test_many_frames_never_come_as_a_single_part(cloud: Cloud) -> None:
    assert (await fetch(cloud, f"{PATH}/frames/1,2", OCTETS)).status_code == 406


@pytest.mark.parametrize(
    ("syntax", "media"),
    [
        ("1.2.840.10008.1.2", OCTETS),
        ("1.2.840.10008.1.2.4.50", "image/jpeg"),
        ("1.2.840.10008.1.2.4.80", "image/jls"),
        ("1.2.840.10008.1.2.4.90", "image/jp2"),
        ("1.2.840.10008.1.2.5", "image/dicom-rle"),
        ("1.2.840.10008.1.2.4.102", "video/mp4"),
    ],
)
def test_the_media_type_follows_the_stored_syntax(syntax: str, media: str) -> None:
    assert frame_offers(syntax)[0].media == media


async def test_metadata_are_the_document_with_bulk_data_one_can_fetch(cloud: Cloud) -> None:
    await cloud.store(HERON, "radiology-heron", "1.2.3.4.5", b"second")
    for path, count in ((f"/dicomweb/studies/{STUDY}", 2), (SERIES_PATH, 2), (PATH, 1)):
        answer = await fetch(cloud, f"{path}/metadata")
        assert (answer.status_code, answer.headers["content-type"]) == (
            200,
            "application/dicom+json",
        )
        assert len(answer.json()) == count
    (document,) = answer.json()
    assert document["00100020"]["Value"] == ["P1"]
    assert document["00083002"] == {"vr": "UI", "Value": [SYNTAX]}
    assert list(document) == sorted(document)
    assert document["7FE00010"]["BulkDataURI"] == f"https://cloud.example{PATH}/bulkdata/7FE00010"
    bulk = await fetch(cloud, document["7FE00010"]["BulkDataURI"])
    assert parts(bulk) == [(f"{OCTETS}; transfer-syntax={SYNTAX}", DATA[500:])]
    assert (await fetch(cloud, f"{PATH}/bulkdata/00091010")).status_code == 404
    assert (await fetch(cloud, f"{PATH}/metadata", "application/dicom+xml")).status_code == 406


async def test_a_host_header_cannot_break_out_of_the_metadata(cloud: Cloud) -> None:
    headers = {
        "Authorization": f"Bearer {await cloud.token(Role.CLINICIAN)}",
        "Host": 'x","evil":"',
    }
    assert (await cloud.http.get(f"{PATH}/metadata", headers=headers)).status_code == 400
    document = dicom_json._absolute(zlib.compress(DOCUMENT), 'https://x","evil":"/dicomweb', SYNTAX)
    assert set(json.loads(document)) == {"00083002", "00100020", "7FE00010"}


async def test_one_instance_may_come_alone_and_more_never_do(cloud: Cloud) -> None:
    alone = await fetch(cloud, PATH, "application/dicom")
    assert (alone.headers["content-type"], alone.content[128:132]) == (
        f"application/dicom; transfer-syntax={SYNTAX}",
        b"DICM",
    )
    assert alone.content.endswith(DATA)
    assert (await fetch(cloud, SERIES_PATH, "application/dicom")).status_code == 406
    other = await fetch(
        cloud,
        PATH,
        'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.91',
    )
    assert other.status_code == 406
    assert "transfer-syntax=*" in other.json()["remedy"]


async def test_reading_frame_after_frame_is_audited_once_and_by_every_reader(cloud: Cloud) -> None:
    readers = [await cloud.token(Role.CLINICIAN) for _ in range(2)]
    for reader in readers:
        for frame in ("1", "2", "1"):
            assert (await fetch(cloud, f"{PATH}/frames/{frame}", token=reader)).status_code == 200
    records = (await cloud.records.audit.records(HERON)).items
    fetched = [one.event for one in records if one.event.event is EventId.INSTANCES_ACCESSED]
    assert len({event.actor for event in fetched}) == len(fetched) == 2


async def test_what_is_remembered_for_one_is_told_to_nobody_else(cloud: Cloud) -> None:
    await cloud.store(HERON, "radiology-heron", "1.2.3.9.9", b"y" * 2500)
    path = f"{SERIES_PATH}/instances/1.2.3.9.9"
    tokens: dict[str, Any] = {
        "reader": await cloud.token(Role.CLINICIAN),
        "stranger": await cloud.token(Role.CLINICIAN, Tenant("egret")),
        "annex": await cloud.token(Role.CLINICIAN, facilities=frozenset({"annex-heron"})),
    }
    for part in ("frames/1", "bulkdata/7FE00010", "metadata", "rendered"):
        for name, token in tokens.items():
            answer = await fetch(cloud, f"{path}/{part}", token=token)
            assert (answer.status_code == 404) is (name != "reader"), (part, name)
    assert (
        await fetch(cloud, f"{path}/frames/1", token=await cloud.token(Role.AUDITOR))
    ).status_code == 403
    wrong = f"/dicomweb/studies/{STUDY}/series/9.9/instances/1.2.3.9.9/frames/1"
    assert (await fetch(cloud, wrong, token=tokens["reader"])).status_code == 404


async def kept(
    cloud: Cloud, name: str, change: Callable[[pydicom.Dataset], object] = lambda _: None
) -> tuple[str, pydicom.Dataset]:
    """Store a test file over STOW-RS, index it, and give its path and its data set."""
    data, file = pydicom.dcmread(str(get_testdata_file(name))), io.BytesIO()
    change(data)
    data.save_as(file, enforce_file_format=True)
    content = (
        b"--edge\r\nContent-Type: application/dicom\r\n\r\n" + file.getvalue() + b"\r\n--edge--\r\n"
    )
    headers = {"Authorization": f"Bearer {await cloud.token(Role.CLINICIAN)}"}
    headers["Content-Type"] = 'multipart/related; type="application/dicom"; boundary=edge'
    answer = await cloud.http.post(
        "/dicomweb/studies?facility=main-heron", content=content, headers=headers
    )
    assert answer.status_code == 200, answer.text
    parser = InlineParser(cloud.blobs)
    jobs = await cloud.records.index_jobs.claim(10, now=NOW, until=NOW + 60)
    await cloud.records.index_jobs.settle([await parser.parse(one) for one in jobs], now=NOW)
    series = f"/studies/{data.StudyInstanceUID}/series/{data.SeriesInstanceUID}"
    place = f"{series}/instances/{data.SOPInstanceUID}"
    return f"/dicomweb{place}", data


def uris(document: Any) -> Iterator[str]:
    """Every BulkDataURI of metadata, however deep."""
    if isinstance(document, list):
        for one in document:
            yield from uris(one)
    elif isinstance(document, dict):
        if "BulkDataURI" in document:
            yield document["BulkDataURI"]
        for one in document.values():
            yield from uris(one)


PDF = random.Random(7).randbytes(2_000_000)


def bulky(data: pydicom.Dataset) -> None:
    """Put a PDF at the top and a LUT within a sequence."""
    table = pydicom.Dataset()
    table.add_new(0x00283006, "OW", b"lut." * 300)
    data.ModalityLUTSequence = [table]
    data.add_new(0x00420011, "OB", PDF)


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "image_dfl.dcm", "MR_small_bigendian.dcm", "examples_ybr_color.dcm"]
)
async def test_every_bulk_data_uri_answers_alone_as_a_part_and_in_ranges(
    cloud: Cloud, name: str
) -> None:
    path, data = await kept(cloud, name, bulky)
    found = list(uris((await fetch(cloud, f"{path}/metadata")).json()))
    for end, expected in (("00283000.0.00283006", b"lut." * 300), ("00420011", PDF)):
        (uri,) = (one for one in found if one.endswith(f"/bulkdata/{end}"))
        assert (await fetch(cloud, uri, OCTETS)).content == expected
        ((media, content),) = parts(await fetch(cloud, uri))
        assert (media.partition(";")[0], content) == (OCTETS, expected)
        secret = {"Authorization": f"Bearer {await cloud.token(Role.CLINICIAN)}"}
        answer = await cloud.http.get(uri, headers=secret | {"Range": "bytes=1-1100"})
        assert (answer.status_code, answer.content) == (206, expected[1:1101])
        assert answer.headers["content-range"] == f"bytes 1-1100/{len(expected)}"
        stranger = await cloud.token(Role.CLINICIAN, Tenant("egret"))
        assert (await fetch(cloud, uri, token=stranger)).status_code == 404
        assert (await fetch(cloud, uri, token=await cloud.token(Role.AUDITOR))).status_code == 403
    pixels = parts(await fetch(cloud, found[-1]))
    if name == "examples_ybr_color.dcm":
        assert [content for _, content in pixels] == [*generate_fragments(data.PixelData)][1:]
    else:
        assert pixels[0][1] == data.PixelData


@pytest.mark.parametrize(
    ("asked", "status", "content"),
    [
        ("bytes=0-9", 206, DATA[500:510]),
        ("bytes=995-1004", 206, b"aaaaabbbbb"),
        ("bytes=1990-", 206, b"b" * 10),
        ("bytes=1990-5000", 206, b"b" * 10),
        ("bytes=-5", 206, b"b" * 5),
        ("bytes=-5000", 206, DATA[500:]),
        ("bytes=2000-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=9-0", 200, DATA[500:]),
        ("bytes=0-1,4-5", 200, DATA[500:]),
        ("lines=0-1", 200, DATA[500:]),
        ("bytes=-", 200, DATA[500:]),
        ("bytes=x-", 200, DATA[500:]),
    ],
)
async def test_a_range_is_given_or_the_whole(
    cloud: Cloud, asked: str, status: int, content: bytes | None
) -> None:
    headers = {"Authorization": f"Bearer {await cloud.token(Role.CLINICIAN)}", "Accept": OCTETS}
    headers["Range"] = asked
    answer = await cloud.http.get(f"{PATH}/bulkdata/7FE00010", headers=headers)
    assert answer.status_code == status
    if content is None:
        assert answer.headers["content-range"] == "bytes */2000"
        assert answer.json()["remedy"]
    else:
        assert answer.content == content
        assert answer.headers["accept-ranges"] == "bytes"
    whole = await cloud.http.get(
        f"{PATH}/bulkdata/7FE00010", headers=headers | {"Accept": "multipart/related"}
    )
    assert (whole.status_code, len(parts(whole))) == (200, 1)


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(0, 40), st.integers(0, 40))
def test_a_range_of_fragments_is_the_range_of_what_they_hold(
    lengths: list[int], start: int, length: int
) -> None:
    content, spans, offset = bytes(range(100)), [], 0
    for one in lengths:
        spans.append((offset, one))
        offset += one + 3
    whole = b"".join(content[begin : begin + size] for begin, size in spans)
    cut = b"".join(
        content[begin : begin + size]
        for begin, size in ranges.cut(spans, ranges.ByteRange(start, length))
    )
    assert cut == whole[start : start + length]
