"""Rendered resources, thumbnails and transcoded instances over HTTP, with real workers."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image as Pictures
from pydicom import dcmread
from pydicom.pixels import pixel_array

from swallowtail.cloud.model.tenancy import Role
from swallowtail.cloud.model.transcoding import EXPLICIT, JPEG_2000, JPEG_BASELINE, RLE
from swallowtail.cloud.web.dicomweb.rendered import read_viewport, read_window
from swallowtail.cloud.web.problems import ProblemError
from tests.unit.cloud.pixels.images import made
from tests.unit.cloud.web import conftest
from tests.unit.cloud.web.conftest import SERIES, STUDY, Cloud
from tests.unit.cloud.web.dicomweb.test_wado import fetch, kept, parts

SERIES_PATH = f"/dicomweb/studies/{STUDY}/series/{SERIES}"
PIXELS = (np.arange(3 * 4096) // 16 % 256).astype(np.uint8).reshape(3, 64, 64)
BODY = made(PIXELS[0], NumberOfFrames=3, PixelData=PIXELS.tobytes()).body
IMAGE, BROKEN = "1.2.3.1.1.8", "1.2.3.1.1.9"
PATH = f"{SERIES_PATH}/instances/{IMAGE}"


@pytest.fixture
async def imaging(cloud: Cloud) -> Cloud:
    await cloud.store(conftest.HERON, "radiology-heron", IMAGE, BODY)
    await cloud.store(conftest.HERON, "radiology-heron", BROKEN, BODY[:-100])
    return cloud


async def test_frames_are_rendered_as_accept_and_parameters_say(imaging: Cloud) -> None:
    png = await fetch(imaging, f"{PATH}/frames/2/rendered", "image/png")
    assert png.headers["content-type"] == "image/png"
    assert np.array_equal(np.asarray(Pictures.open(BytesIO(png.content))), PIXELS[1])
    whole = await fetch(imaging, f"{PATH}/rendered?accept=image/png", "image/jpeg")
    assert np.array_equal(
        np.asarray(Pictures.open(BytesIO(whole.content))), PIXELS[1]
    )  # the middle one
    jpeg = await fetch(
        imaging, f"{PATH}/rendered?quality=10&viewport=4,4&window=64,10,linear-exact"
    )
    assert (jpeg.headers["content-type"], Pictures.open(BytesIO(jpeg.content)).size) == (
        "image/jpeg",
        (4, 4),
    )
    several = await fetch(
        imaging, f"{PATH}/frames/1,3/rendered", "multipart/related; type=image/png"
    )
    assert [media for media, _ in parts(several)] == ["image/png"] * 2
    assert np.array_equal(np.asarray(Pictures.open(BytesIO(parts(several)[1][1]))), PIXELS[2])


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("rendered", "image/gif", 406),
        ("rendered", "video/mp4", 406),
        ("rendered?quality=0", "*/*", 422),
        ("rendered?window=1", "*/*", 422),
        ("rendered?viewport=0,0", "*/*", 422),
        ("frames/4/rendered", "*/*", 404),
        ("frames/1-51/rendered", "*/*", 422),
        ("frames/x/rendered", "*/*", 400),
    ],
)
async def test_what_cannot_be_rendered_says_why(
    imaging: Cloud, path: str, accept: str, status: int
) -> None:
    answer = await fetch(imaging, f"{PATH}/{path}", accept)
    assert (answer.status_code, bool(answer.json()["remedy"])) == (status, True)


async def test_broken_pixels_are_422_and_the_next_request_works(imaging: Cloud) -> None:
    answer = await fetch(imaging, f"{SERIES_PATH}/instances/{BROKEN}/rendered")
    assert (answer.status_code, answer.json()["code"]) == (422, "pixels")
    assert (await fetch(imaging, f"{PATH}/rendered")).status_code == 200
    answer = await fetch(
        imaging, f"{SERIES_PATH}/instances/{BROKEN}", f"application/dicom; transfer-syntax={RLE}"
    )
    assert answer.status_code == 422


async def test_thumbnails_of_every_level(imaging: Cloud) -> None:
    for path in (f"{PATH}/thumbnail", f"{PATH}/frames/1/thumbnail"):
        answer = await fetch(imaging, f"{path}?viewport=6,6")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        assert Pictures.open(BytesIO(answer.content)).size == (6, 6)
    for path in (f"/dicomweb/studies/{STUDY}.9", f"/dicomweb/studies/{STUDY}.9/series/{SERIES}"):
        assert (await fetch(imaging, f"{path}/thumbnail")).status_code == 404


async def test_a_study_and_a_series_show_the_middle_of_their_first_image(cloud: Cloud) -> None:
    path, data = await kept(cloud, "examples_ybr_color.dcm")
    study, series = path.partition("/series/")[0], path.partition("/instances/")[0]
    middle = Pictures.fromarray(pixel_array(data, index=14)).resize((128, 96))
    for place in (study, series, path):
        answer = await fetch(cloud, f"{place}/thumbnail")
        shown = Pictures.open(BytesIO(answer.content))
        assert (answer.headers["content-type"], shown.size) == ("image/jpeg", (128, 96))
        assert np.abs(np.asarray(shown).astype(int) - np.asarray(middle)).mean() < 8
        for token, status in (
            (await cloud.token(Role.CLINICIAN, conftest.EGRET), 404),
            (await cloud.token(Role.AUDITOR), 403),
        ):
            assert (await fetch(cloud, f"{place}/thumbnail", token=token)).status_code == status
    report, _ = await kept(cloud, "reportsi.dcm")
    assert (await fetch(cloud, f"{report.partition('/series/')[0]}/thumbnail")).status_code == 404


@pytest.mark.parametrize("last", [True, False])
async def test_what_cannot_be_transcoded_comes_as_it_is_stored_among_others(
    cloud: Cloud, last: bool
) -> None:
    study = "1.2.3.77"
    bodies = [BODY, b"no data set at all"] if last else [b"no data set at all", BODY]
    for number, body in enumerate(bodies):
        await cloud.store(
            conftest.HERON, "radiology-heron", f"1.2.3.77.{number}", body, study=study
        )
    for place in (f"/dicomweb/studies/{study}", f"/dicomweb/studies/{study}/series/{study}.1"):
        found = parts(
            await fetch(
                cloud, place, f'multipart/related; type="application/dicom"; transfer-syntax={RLE}'
            )
        )
        reported = {media.rpartition("=")[2]: content for media, content in found}
        assert reported[EXPLICIT].endswith(b"no data set at all")
        assert np.array_equal(dcmread(BytesIO(reported[RLE])).pixel_array, PIXELS)
    alone = f"/dicomweb/studies/{study}/series/{study}.1/instances/1.2.3.77.{int(last)}"
    assert (
        await fetch(cloud, alone, f"application/dicom; transfer-syntax={RLE}")
    ).status_code == 422


@pytest.mark.parametrize("target", [RLE, JPEG_2000, JPEG_BASELINE])
async def test_an_instance_comes_in_the_syntax_that_accept_names(
    imaging: Cloud, target: str
) -> None:
    alone = await fetch(imaging, PATH, f"application/dicom; transfer-syntax={target}")
    assert alone.headers["content-type"] == f"application/dicom; transfer-syntax={target}"
    assert int(alone.headers["content-length"]) == len(alone.content)
    data = dcmread(BytesIO(alone.content))
    assert data.file_meta.TransferSyntaxUID == target
    assert np.abs(data.pixel_array.astype(int) - PIXELS).max() <= (
        20 if target == JPEG_BASELINE else 0
    )
    accept = f'multipart/related; type="application/dicom"; transfer-syntax={target}'
    ((media, content),) = parts(await fetch(imaging, PATH, accept))
    assert media.endswith(target)
    assert content == alone.content


async def test_what_is_stored_so_comes_as_it_is(imaging: Cloud) -> None:
    accept = ", ".join(
        f'multipart/related; type="application/dicom"; transfer-syntax={one}'
        for one in (RLE, EXPLICIT)
    )
    ((media, content),) = parts(await fetch(imaging, PATH, accept))
    assert media.endswith(EXPLICIT)
    assert content.endswith(BODY)
    assert (
        await fetch(imaging, PATH, "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.91")
    ).status_code == 406


async def test_too_many_at_once_are_told_to_come_again(
    imaging: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imaging.pixels, "_max_waiting", 0)
    answer = await fetch(imaging, f"{PATH}/rendered")
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)


async def test_another_tenant_and_who_may_see_no_patients(imaging: Cloud) -> None:
    for path in ("rendered", "thumbnail", "frames/1/rendered", "frames/1/thumbnail"):
        egret = await imaging.token(Role.CLINICIAN, conftest.EGRET)
        assert (await fetch(imaging, f"{PATH}/{path}", token=egret)).status_code == 404
        assert (
            await fetch(imaging, f"{PATH}/{path}", token=await imaging.token(Role.AUDITOR))
        ).status_code == 403


@pytest.mark.parametrize("text", ["1,2,3,4", "a,b", "1,nan", "1,0", "1,2,cubic", ""])
def test_windows_that_are_none(text: str) -> None:
    with pytest.raises(ProblemError):
        read_window(text)


@pytest.mark.parametrize("text", ["1", "1,2,3", "9999,1", "1,inf", ",", "1,1,,,,,"])
def test_viewports_that_are_none(text: str) -> None:
    with pytest.raises(ProblemError):
        read_viewport(text)


def test_a_viewport_may_leave_out() -> None:
    assert (read_viewport("10,20").width, read_viewport("10,20,,,5,").source_width) == (10, 5.0)
