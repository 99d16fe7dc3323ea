"""STOW-RS over the twins: what is stored of a body, what is said of each part, and bodies that are none."""

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import httpx2
import pydicom
import pytest
from pydicom.data import get_testdata_file

from swallowtail.cloud.ingest.upload import NotAFileError, read_head
from swallowtail.cloud.model.errors import StorageUnavailableError
from swallowtail.cloud.model.imaging import InstanceSearch, Way
from swallowtail.cloud.model.tenancy import Role
from swallowtail.cloud.web.multipart import MalformedMultipartError, Parts
from tests.unit.cloud.web.conftest import HERON, Cloud

PATH = "/dicomweb/studies"
MAIN = "main-heron"
TYPE = 'multipart/related; type="application/dicom"; boundary=edge'
SAMPLES = (
    *("examples_ybr_color.dcm", "CT_small.dcm", "ExplVR_BigEnd.dcm", "MR_small_implicit.dcm", "examples_palette.dcm"),
    "image_dfl.dcm",
)


def sample(name: str) -> bytes:
    return Path(str(get_testdata_file(name))).read_bytes()


def body(*files: bytes, media: str = "application/dicom") -> bytes:
    parts = [f"--edge\r\nContent-Type: {media}\r\n\r\n".encode() + file + b"\r\n" for file in files]
    return b"".join(parts) + b"--edge--\r\n"


async def send(cloud: Cloud, content: bytes | AsyncIterator[bytes], path: str = PATH, **more: Any) -> httpx2.Response:
    token = more.pop("token", None) or await cloud.token(Role.CLINICIAN)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": more.pop("content_type", TYPE)}
    return await cloud.http.post(path, content=content, headers=headers, params={"facility": MAIN} | more)


async def in_pieces(content: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


@pytest.mark.parametrize("size", [1_000_000, 65_536, 977])
async def test_every_file_is_stored_byte_by_byte_however_it_is_cut(cloud: Cloud, size: int) -> None:
    answer = await send(cloud, in_pieces(body(*map(sample, SAMPLES)), size))
    assert answer.status_code == 200, answer.text
    items = answer.json()["00081199"]["Value"]
    assert "00081198" not in answer.json()
    for name, item in zip(SAMPLES, items, strict=True):
        with pydicom.dcmread(str(get_testdata_file(name)), stop_before_pixels=True) as data:
            uid = str(data.SOPInstanceUID)
            place = f"/studies/{data.StudyInstanceUID}/series/{data.SeriesInstanceUID}/instances/{uid}"
        assert item["00081155"]["Value"] == [uid]
        assert item["00081190"]["Value"] == [f"https://cloud.example/dicomweb{place}"]
        (kept,) = await cloud.records.instances.copies(HERON, uid)
        assert (kept.origin.way, kept.origin.facility) == (Way.API, MAIN)
        content = b"".join([piece async for piece in cloud.blobs.read(HERON, kept.identity.sha256)])
        assert sample(name).endswith(content)
        assert kept.identity.transfer_syntax == data.file_meta.TransferSyntaxUID


async def test_a_part_that_fails_fails_alone(cloud: Cloud) -> None:
    answer = await send(cloud, body(b"no DICOM", sample("CT_small.dcm"), b""))
    assert answer.status_code == 202
    assert [one["00081197"]["Value"] for one in answer.json()["00081198"]["Value"]] == [[0xC000], [0xC000]]
    assert len(answer.json()["00081199"]["Value"]) == 1
    alone = await send(cloud, body(b"no DICOM"))
    assert (alone.status_code, alone.headers["content-type"]) == (409, "application/dicom+json")
    assert (await send(cloud, body(sample("CT_small.dcm"), media="image/jpeg"))).status_code == 409


async def test_a_study_in_the_path_takes_its_own_instances_only(cloud: Cloud) -> None:
    with pydicom.dcmread(str(get_testdata_file("CT_small.dcm")), stop_before_pixels=True) as data:
        study = data.StudyInstanceUID
    answer = await send(cloud, body(sample("CT_small.dcm"), sample("rtplan.dcm")), f"{PATH}/{study}")
    assert answer.status_code == 202
    assert answer.json()["00081190"]["Value"] == [f"https://cloud.example{PATH}/{study}"]
    assert [one["00081197"]["Value"] for one in answer.json()["00081198"]["Value"]] == [[0xA900]]
    assert (await send(cloud, body(b""), f"{PATH}/x")).status_code == 400


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (body(b"x")[:-4], TYPE, 400),
        (b"", TYPE, 400),
        (b"--edge--\r\n", TYPE, 400),
        (b"--edge\r\n" + b"a: b\r\n" * 5000, TYPE, 400),
        (b"--edgeX\r\n\r\n\r\n--edge--", TYPE, 400),
        (body(b"x"), "application/dicom", 415),
        (body(b"x"), 'multipart/related; type="application/dicom"', 415),
        (body(b"x"), 'multipart/related; type="application/dicom+json"; boundary=edge', 415),
        (body(b"x"), f"{TYPE}{'x' * 80}", 400),
    ],
)
async def test_a_body_that_is_none_is_refused(cloud: Cloud, content: bytes, kind: str, status: int) -> None:
    answer = await send(cloud, content, content_type=kind)
    assert (answer.status_code, bool(answer.json()["remedy"])) == (status, True), answer.text


async def test_instances_belong_to_a_facility_that_the_token_may_see(cloud: Cloud) -> None:
    annex = await cloud.token(Role.CLINICIAN, facilities=frozenset({"annex-heron"}))
    assert (await send(cloud, body(sample("CT_small.dcm")), token=annex)).status_code == 404
    assert (await send(cloud, body(sample("CT_small.dcm")), facility="main-egret")).status_code == 404
    headers = {"Authorization": f"Bearer {await cloud.token(Role.CLINICIAN)}", "Content-Type": TYPE}
    unsaid = await cloud.http.post(PATH, content=body(sample("CT_small.dcm")), headers=headers)
    assert (unsaid.status_code, unsaid.json()["code"]) == (400, "facility")
    alone = await cloud.http.post(
        PATH, content=body(sample("CT_small.dcm")), headers=headers | {"Authorization": f"Bearer {annex}"}
    )
    assert alone.status_code == 200
    kept = (await cloud.records.instances.instances(HERON, InstanceSearch(facilities=frozenset({"annex-heron"})))).items
    assert len(kept) == 1
    assert (await send(cloud, body(b"x"), token=await cloud.token(Role.AUDITOR))).status_code == 403


async def test_nothing_is_said_to_be_stored_while_the_storage_is_down(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    async def down(*_: object, **__: object) -> None:
        raise StorageUnavailableError

    monkeypatch.setattr(cloud.records.instances, "commit", down)
    answer = await send(cloud, body(sample("CT_small.dcm")))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


@pytest.mark.parametrize("cut", [0, 131, 140, 170, 300])
async def test_a_cut_file_meta_group_is_no_file(cut: int) -> None:
    with pytest.raises(NotAFileError):
        await read_head(_once(sample("CT_small.dcm")[:cut]))


@pytest.mark.parametrize("size", range(1, 12))
async def test_parts_are_the_same_in_pieces_of_any_size(size: int) -> None:
    contents = (b"\r\n--edg", b"", b"--edge", b"a\r\n--\r\n-edge" * 3)
    made = (
        b"preamble\r\n" + b"".join(b"--edge \t\r\nContent-Type: A/B;x=y\r\n\r\n" + one + b"\r\n" for one in contents) + b"--edge--"
    )
    parts, found = Parts(in_pieces(made, size), "edge"), []
    while (media := await parts.head()) is not None:
        found.append((media, b"".join([piece async for piece in parts.data()])))
    assert found == [("a/b", one) for one in contents]
    with pytest.raises(MalformedMultipartError):
        await _read_all(Parts(in_pieces(made[:-3], size), "edge"))


async def _read_all(parts: Parts) -> Iterable[str]:
    return [media async for media in _medias(parts)]


async def _medias(parts: Parts) -> AsyncIterator[str]:
    while (media := await parts.head()) is not None:
        yield media
