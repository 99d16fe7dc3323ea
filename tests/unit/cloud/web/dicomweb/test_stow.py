"""STOW-RS over the twins.

What is stored of a body, what is said of each part, and bodies that are none.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import httpx2
import pydicom
import pytest
from pydicom.data import get_testdata_file
from starlette.types import ASGIApp, Message, Scope

from swallowtail.cloud.ingest.upload import NotAFileError, read_head
from swallowtail.cloud.model.imaging import Instance, InstanceSearch, Way
from swallowtail.cloud.model.paging import FIRST_PAGE
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.tenancy import Role
from swallowtail.cloud.web.dicomweb.multipart import MalformedMultipartError, Parts
from swallowtail.cloud.web.guard import Guard
from tests.unit.cloud.web.conftest import APP, HERON, Cloud

PATH = "/dicomweb/studies"
MAIN = "main-heron"
TYPE = 'multipart/related; type="application/dicom"; boundary=edge'
SAMPLES = (
    *(
        "examples_ybr_color.dcm",
        "CT_small.dcm",
        "ExplVR_BigEnd.dcm",
        "MR_small_implicit.dcm",
        "examples_palette.dcm",
    ),
    "image_dfl.dcm",
)


def sample(name: str) -> bytes:
    return Path(str(get_testdata_file(name))).read_bytes()


def body(*files: bytes, media: str = "application/dicom") -> bytes:
    parts = [f"--edge\r\nContent-Type: {media}\r\n\r\n".encode() + file + b"\r\n" for file in files]
    return b"".join(parts) + b"--edge--\r\n"


async def send(
    cloud: Cloud, content: bytes | AsyncIterator[bytes], path: str = PATH, **more: Any
) -> httpx2.Response:
    token = more.pop("token", None) or await cloud.token(Role.CLINICIAN)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": more.pop("content_type", TYPE)}
    return await cloud.http.post(
        path, content=content, headers=headers, params={"facility": MAIN} | more
    )


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
            place = (
                f"/studies/{data.StudyInstanceUID}/series/{data.SeriesInstanceUID}/instances/{uid}"
            )
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
    others = answer.json()["0008119A"]["Value"]
    assert [one["00081197"]["Value"] for one in others] == [[0xC000], [0xC000]]
    assert others[0]["00000902"]["Value"] == [
        "it is not a DICOM file: after 128 bytes DICM is missing"
    ]
    assert "00081198" not in answer.json()
    assert len(answer.json()["00081199"]["Value"]) == 1
    alone = await send(cloud, body(b"no DICOM"))
    assert (alone.status_code, alone.headers["content-type"]) == (409, "application/dicom+json")
    assert (await send(cloud, body(sample("CT_small.dcm"), media="image/jpeg"))).status_code == 409


async def test_a_study_in_the_path_takes_its_own_instances_only(cloud: Cloud) -> None:
    with pydicom.dcmread(str(get_testdata_file("CT_small.dcm")), stop_before_pixels=True) as data:
        study = data.StudyInstanceUID
    answer = await send(
        cloud, body(sample("CT_small.dcm"), sample("rtplan.dcm")), f"{PATH}/{study}"
    )
    assert answer.status_code == 202
    assert answer.json()["00081190"]["Value"] == [f"https://cloud.example{PATH}/{study}"]
    (failed,) = answer.json()["00081198"]["Value"]
    assert failed["00081197"]["Value"] == [0xA900]
    assert "path" in failed["00000902"]["Value"][0]
    assert failed["00081155"]["Value"][0].startswith("1.2.")
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
        (body(b"x"), 'multipart/related; type="application/dicom+xml"; boundary=edge', 415),
        (body(b"x"), 'multipart/form-data; type="application/dicom"; boundary=edge', 415),
        (body(b"x"), "", 415),
        (body(b"x"), f"{TYPE}{'x' * 80}", 400),
        (body(b"x"), f'{TYPE}; boundary=""', 400),
        (b"--edge" + b" " * 300 + b"\r\n\r\n\r\n--edge--", TYPE, 400),
    ],
)
async def test_a_body_that_is_none_is_refused(
    cloud: Cloud, content: bytes, kind: str, status: int
) -> None:
    answer = await send(cloud, content, content_type=kind)
    assert (answer.status_code, bool(answer.json()["remedy"])) == (status, True), answer.text


async def test_instances_belong_to_a_facility_that_the_token_may_see(cloud: Cloud) -> None:
    annex = await cloud.token(Role.CLINICIAN, facilities=frozenset({"annex-heron"}))
    assert (await send(cloud, body(sample("CT_small.dcm")), token=annex)).status_code == 404
    assert (
        await send(cloud, body(sample("CT_small.dcm")), facility="main-egret")
    ).status_code == 404
    headers = {"Authorization": f"Bearer {await cloud.token(Role.CLINICIAN)}", "Content-Type": TYPE}
    unsaid = await cloud.http.post(PATH, content=body(sample("CT_small.dcm")), headers=headers)
    assert (unsaid.status_code, unsaid.json()["code"]) == (400, "facility")
    alone = await cloud.http.post(
        PATH,
        content=body(sample("CT_small.dcm")),
        headers=headers | {"Authorization": f"Bearer {annex}"},
    )
    assert alone.status_code == 200
    kept = (
        await cloud.records.instances.instances(
            HERON, InstanceSearch(facilities=frozenset({"annex-heron"}))
        )
    ).items
    assert len(kept) == 1
    assert (await send(cloud, body(b"x"), token=await cloud.token(Role.AUDITOR))).status_code == 403


async def test_nothing_is_said_to_be_stored_while_the_storage_is_down(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*_: object, **__: object) -> None:
        raise StorageUnavailableError

    monkeypatch.setattr(cloud.records.instances, "commit", down)
    answer = await send(cloud, body(sample("CT_small.dcm")))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


@pytest.mark.parametrize(
    "kind", ["multipart/related; boundary=edge", f'{TYPE}; start="<one>"; start-info=x']
)
async def test_what_is_not_needed_may_be_missing_or_there(cloud: Cloud, kind: str) -> None:
    assert (await send(cloud, body(sample("CT_small.dcm")), content_type=kind)).status_code == 200


async def test_an_answer_in_xml_is_refused_before_anything_is_stored(cloud: Cloud) -> None:
    headers = {"Authorization": f"Bearer {await cloud.token(Role.CLINICIAN)}", "Content-Type": TYPE}
    content = body(sample("CT_small.dcm"))
    answer = await cloud.http.post(
        PATH, content=content, headers=headers | {"Accept": "application/dicom+xml"}
    )
    assert answer.status_code == 406
    assert await copies(cloud, "CT_small.dcm") == ()


async def copies(cloud: Cloud, name: str) -> tuple[Instance, ...]:
    """What is kept of a test file."""
    with pydicom.dcmread(str(get_testdata_file(name)), stop_before_pixels=True) as data:
        return await cloud.records.instances.copies(HERON, str(data.SOPInstanceUID))


async def test_again_the_same_changes_nothing_and_other_bytes_are_kept_beside_it(
    cloud: Cloud,
) -> None:
    content, other = sample("CT_small.dcm"), sample("CT_small.dcm")[:-2] + b"\1\1"
    for file, kept in ((content, 1), (content, 1), (other, 2), (other, 2)):
        assert (await send(cloud, body(file, file))).status_code == 200
        found = await copies(cloud, "CT_small.dcm")
        assert len(found) == kept
        first = b"".join(
            [piece async for piece in cloud.blobs.read(HERON, found[0].identity.sha256)]
        )
        assert content.endswith(first)
        assert [one.visible for one in found] == [True, False][:kept]
    alarms = (await cloud.records.alarms.alarms(HERON, FIRST_PAGE)).items
    assert "instance-conflict" in {str(one.condition) for one in alarms}


async def test_a_part_that_is_too_large_fails_alone_and_leaves_nothing(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud.blobs, "_max_object", 100_000)
    answer = await send(
        cloud, in_pieces(body(sample("CT_small.dcm"), sample("examples_palette.dcm")), 65_536)
    )
    assert answer.status_code == 202
    (failed,) = answer.json()["00081198"]["Value"]
    assert failed["00081197"]["Value"] == [0xA700]
    assert len(await copies(cloud, "CT_small.dcm")) == 1
    assert await copies(cloud, "examples_palette.dcm") == ()
    assert cloud.blobs_on_the_way() == []


async def test_a_body_has_only_so_many_parts_and_bytes(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = sample("CT_small.dcm")
    with monkeypatch.context() as patch:
        patch.setattr("swallowtail.cloud.web.dicomweb.multipart.MAX_PARTS", 2)
        many = await send(cloud, body(file, file, file))
        assert (many.status_code, many.json()["code"]) == (400, "body")
        assert "2 instances before that were stored" in many.json()["remedy"]
    monkeypatch.setattr("swallowtail.cloud.web.guard.MAX_STORE_BODY", 1000)
    large = await send(cloud, in_pieces(body(file), 500))
    assert (large.status_code, large.json()["code"]) == (413, "too-large")


async def posted(
    cloud: Cloud, messages: AsyncIterator[Message], app: ASGIApp = APP
) -> list[Message]:
    """Post what comes as ASGI messages, and give what was answered."""
    bearer = f"Bearer {await cloud.token(Role.CLINICIAN)}"
    headers = [
        (b"host", b"cloud.example"),
        (b"authorization", bearer.encode()),
        (b"content-type", TYPE.encode()),
    ]
    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": PATH,
        "raw_path": PATH.encode(),
        "headers": headers,
        "scheme": "https",
    }
    scope |= {
        "query_string": f"facility={MAIN}".encode(),
        "server": ("cloud.example", 443),
        "client": ("192.0.2.1", 1),
    }
    scope |= {"http_version": "1.1", "root_path": "", "asgi": {"version": "3.0"}}
    sent: list[Message] = []

    async def send_(message: Message) -> None:
        sent.append(message)

    await app(scope, lambda: anext(messages), send_)
    return sent


async def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(cloud: Cloud) -> None:
    content = body(sample("CT_small.dcm"), sample("examples_ybr_color.dcm"))
    durable = cloud.disk.files()

    async def half() -> AsyncIterator[Message]:
        for cut in (20_000, 38_000):  # both within the first part
            yield {"type": "http.request", "body": content[cut - 20_000 : cut], "more_body": True}
        yield {"type": "http.disconnect"}

    assert [one["status"] for one in await posted(cloud, half()) if "status" in one] == [400]
    assert await copies(cloud, "CT_small.dcm") == ()
    assert cloud.disk.files() == durable


@pytest.mark.parametrize("whole", [False, True])
async def test_a_client_that_dribbles_is_answered_at_a_deadline(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    """Between two pieces, and for the whole body however fast these come."""
    content = body(sample("CT_small.dcm"), sample("examples_palette.dcm"))
    if whole:
        monkeypatch.setattr("swallowtail.cloud.web.guard.STREAM_DEADLINE", 0.05)

    async def dribbling() -> AsyncIterator[Message]:
        yield {"type": "http.request", "body": content[:50_000], "more_body": True}
        while whole:
            await asyncio.sleep(0)
            yield {"type": "http.request", "body": b"", "more_body": True}
        await asyncio.get_running_loop().create_future()

    begin, answer = await posted(cloud, dribbling(), Guard(APP, body_deadline=0.05))
    assert (begin["status"], json.loads(answer["body"])["code"]) == (408, "deadline")
    assert len(await copies(cloud, "CT_small.dcm")) == 1
    assert cloud.blobs_on_the_way() == []


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
        b"preamble\r\n"
        + b"".join(
            b"--edge \t\r\nContent-Type: A/B;x=y\r\n\r\n" + one + b"\r\n" for one in contents
        )
        + b"--edge--"
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
