"""Downloads in ranges: instance files, data sets, bulk data and videos, each against its whole."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx2
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import encapsulate

from swallowtail.cloud.model.imaging import Instance
from swallowtail.cloud.model.tenancy import Role
from swallowtail.cloud.query.search import Fetched
from tests.unit.cloud.web.conftest import DATA, EGRET, INSTANCE, SERIES, STUDY, Cloud
from tests.unit.cloud.web.dicomweb.test_wado import kept

PATH = f"/dicomweb/studies/{STUDY}/series/{SERIES}/instances/{INSTANCE}"
DICOM, OCTETS, MP4 = "application/dicom", "application/octet-stream", "video/mp4"
STORED = [
    ("/api/v1/instances/1/file", "*/*", DICOM),
    ("/api/v1/instances/1/dataset", "*/*", OCTETS),
    (PATH, DICOM, DICOM),
    (f"{PATH}/bulkdata/7FE00010", OCTETS, OCTETS),
]
VIDEO = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 6000
"""Longer than what is gathered before it is sent."""


def as_video(data: pydicom.Dataset) -> None:
    """Make an image a video."""
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.1.1"
    data.PixelData = encapsulate([VIDEO])
    data["PixelData"].VR = "OB"


@dataclass
class Download:
    """Something that can be fetched, by whom, and what the whole of it is."""

    cloud: Cloud
    path: str
    headers: dict[str, str]
    whole: httpx2.Response

    async def get(self, method: str = "GET", **headers: str) -> httpx2.Response:
        given = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.cloud.http.request(method, self.path, headers=given)


@pytest.fixture(params=[*STORED, "video"], ids=["file", "dataset", "wado", "bulk", "video"])
async def download(cloud: Cloud, request: pytest.FixtureRequest) -> Download:
    if request.param == "video":
        place, _ = await kept(cloud, "examples_ybr_color.dcm", as_video)
        path, accept, media = f"{place}/rendered", "*/*", MP4
    else:
        path, accept, media = request.param
    headers = {"Authorization": f"Bearer {await cloud.token(Role.CLINICIAN)}", "Accept": accept}
    whole = await cloud.http.get(path, headers=headers)
    assert whole.status_code == 200, whole.text
    assert whole.headers["content-type"].partition(";")[0] == media
    assert int(whole.headers["content-length"]) == len(whole.content) > 1000
    return Download(cloud, path, headers, whole)


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-9", 0, 10),
        ("bytes=128-131", 128, 132),
        ("bytes=300-900", 300, 901),
        ("bytes=5-", 5, None),
        ("bytes=-7", -7, None),
        ("BYTES= 1-2", 1, 3),
        ("bytes=999-99999999999", 999, None),
        ("bytes=-99999999999", 0, None),
    ],
)
async def test_one_range_is_that_part_of_the_whole(
    download: Download,
    asked: str,
    first: int,
    last: int | None,
) -> None:
    whole = download.whole.content
    answer = await download.get(Range=asked)
    assert answer.status_code == 206
    assert answer.content == whole[first:last]
    begin = first % len(whole)
    end = begin + len(answer.content) - 1
    assert answer.headers["content-range"] == f"bytes {begin}-{end}/{len(whole)}"
    assert int(answer.headers["content-length"]) == len(answer.content)
    for name in ("content-type", "etag", "accept-ranges"):
        assert answer.headers[name] == download.whole.headers[name]


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0"])
async def test_a_range_behind_the_end_is_not_satisfiable(download: Download, asked: str) -> None:
    answer = await download.get(Range=asked)
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(download.whole.content)}"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["remedy"]


@pytest.mark.parametrize(
    "asked",
    ["bytes=0-1,4-5", "bytes=0-1, -1", "lines=0-1", "bytes=9-0", "bytes=-", "bytes", "0-1"],
)
async def test_several_ranges_and_what_is_none_are_answered_with_the_whole(
    download: Download,
    asked: str,
) -> None:
    answer = await download.get(Range=asked)
    assert (answer.status_code, answer.content) == (200, download.whole.content)
    assert "content-range" not in answer.headers


async def test_a_download_that_broke_off_continues_only_in_the_same_bytes(
    download: Download,
) -> None:
    whole, etag = download.whole.content, download.whole.headers["etag"]
    first = await download.get(Range="bytes=0-499")
    rest = await download.get(Range="bytes=500-", If_Range=etag)
    assert rest.status_code == 206
    assert first.content + rest.content == whole
    for other in ('"x"', f"W/{etag}", etag.strip('"'), "Sat, 29 Oct 1994 19:43:31 GMT"):
        answer = await download.get(Range="bytes=500-", If_Range=other)
        assert (answer.status_code, answer.content) == (200, whole), other


async def test_head_is_the_headers_of_the_whole(download: Download) -> None:
    for headers in ({}, {"Range": "bytes=0-9"}):
        answer = await download.get("HEAD", **headers)
        assert (answer.status_code, answer.content) == (200, b"")
        for name in ("content-length", "content-type", "etag", "accept-ranges"):
            assert answer.headers[name] == download.whole.headers[name]


async def test_head_is_judged_as_get_is(download: Download) -> None:
    cloud = download.cloud
    for token, status in (
        (None, 401),
        (await cloud.token(Role.AUDITOR), 403),
        (await cloud.token(Role.CLINICIAN, facilities=frozenset({"annex-heron"})), 404),
    ):
        assert (await cloud.call("HEAD", download.path, token)).status_code == status
    stranger = await cloud.token(Role.CLINICIAN, EGRET)
    theirs = await cloud.call("HEAD", download.path, stranger)
    if PATH not in download.path:  # the other tenant has an instance of the same UID
        assert theirs.status_code == 404


async def test_an_etag_tells_a_file_from_its_data_set_and_both_by_their_bytes(
    cloud: Cloud,
) -> None:
    other = await cloud.store(EGRET, "radiology-egret", "1.2.3.1.1.7", DATA + b"x")
    reader, stranger = await cloud.token(Role.CLINICIAN), await cloud.token(Role.CLINICIAN, EGRET)
    seen = set()
    for token, instance in ((reader, 1), (stranger, other)):
        for form in ("file", "dataset"):
            answer = await cloud.call("GET", f"instances/{instance}/{form}", token)
            seen.add(answer.headers["etag"])
            if form == "dataset":
                digest = hashlib.sha256(answer.content).hexdigest()
                assert answer.headers["etag"] == f'"{digest}"'
    assert len(seen) == 4


@given(
    head=st.binary(max_size=9),
    data=st.binary(max_size=9),
    cut=st.tuples(*[st.integers(0, 20)] * 2),
)
async def test_a_part_of_what_was_fetched_is_the_part_of_head_and_data(
    head: bytes,
    data: bytes,
    cut: tuple[int, int],
) -> None:
    async def read(start: int, length: int) -> AsyncIterator[bytes]:
        assert length > 0
        for place in range(start, start + length):
            yield data[place : place + 1]

    whole = head + data
    start, end = sorted(min(one, len(whole)) for one in cut)
    nothing: Instance = None  # type: ignore[assignment]
    fetched = Fetched(nothing, head, len(whole), read)
    pieces = [piece async for piece in fetched.pieces(start, end - start)]
    assert b"".join(pieces) == whole[start:end]
    assert b"".join([piece async for piece in fetched.pieces()]) == whole
