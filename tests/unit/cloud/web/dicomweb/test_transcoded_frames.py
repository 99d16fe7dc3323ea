"""Frames in another encoding than the stored one, over HTTP, with real workers and pixels as
pydicom decodes them.
"""

import asyncio
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_fragments
from pydicom.pixels import pixel_array

from swallowtail.cloud.model.tenancy import Role
from swallowtail.cloud.model.transcoding import (
    EXPLICIT,
    JPEG_2000,
    JPEG_BASELINE,
    JPEG_LOSSLESS,
    JPEG_LS,
    RLE,
)
from swallowtail.cloud.pixels import service
from swallowtail.cloud.web.dicomweb.media import frame_offers, transcoded_offers
from tests.unit.cloud.web.conftest import EGRET, Cloud
from tests.unit.cloud.web.dicomweb.test_wado import OCTETS, fetch, kept, parts

CINE = "examples_ybr_color.dcm"
"""30 frames of JPEG baseline."""
MEDIA = {
    "image/jpeg": JPEG_LOSSLESS,
    "image/jls": JPEG_LS,
    "image/jp2": JPEG_2000,
    "image/dicom-rle": RLE,
    f"image/jpeg; transfer-syntax={JPEG_BASELINE}": JPEG_BASELINE,
}


def decoded(data: pydicom.Dataset, frames: list[bytes], syntax: str) -> Any:
    """What pydicom decodes from encoded frames of an image."""
    reported = pydicom.Dataset()
    for keyword in (
        "Rows",
        "Columns",
        "SamplesPerPixel",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
    ):
        setattr(reported, keyword, data[keyword].value)
    reported.NumberOfFrames = len(frames)
    reported.PhotometricInterpretation = "MONOCHROME2" if data.SamplesPerPixel == 1 else "RGB"
    if data.SamplesPerPixel > 1:
        reported.PlanarConfiguration = 1 if syntax == RLE else 0
    reported.file_meta = pydicom.dataset.FileMetaDataset()
    reported.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    reported.PixelData = encapsulate(frames)
    reported["PixelData"].VR = "OB"
    return pixel_array(reported, raw=True)


@pytest.mark.parametrize(
    "name",
    ["JPEG2000.dcm", "SC_rgb_jpeg_gdcm.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", CINE],
)
async def test_octets_are_what_pydicom_decodes(cloud: Cloud, name: str) -> None:
    path, data = await kept(cloud, name)
    whole = pixel_array(data).reshape(int(data.get("NumberOfFrames") or 1), -1)
    answer = await fetch(cloud, f"{path}/frames/1", f"{OCTETS}; transfer-syntax={EXPLICIT}")
    assert answer.headers["content-type"] == f"{OCTETS}; transfer-syntax={EXPLICIT}"
    assert answer.content == whole[0].astype(whole.dtype.newbyteorder("<")).tobytes()
    (part,) = parts(
        await fetch(
            cloud,
            f"{path}/frames/1",
            f'multipart/related; type="{OCTETS}"; transfer-syntax={EXPLICIT}',
        )
    )
    assert part == (f"{OCTETS}; transfer-syntax={EXPLICIT}", answer.content)


@pytest.mark.parametrize("media", MEDIA)
@pytest.mark.parametrize("name", ["CT_small.dcm", "examples_rgb_color.dcm"])
async def test_images_of_every_media_type_hold_the_pixels(
    cloud: Cloud, name: str, media: str
) -> None:
    path, data = await kept(cloud, name)
    syntax = MEDIA[media]
    answer = await fetch(cloud, f"{path}/frames/1", media)
    if name == "CT_small.dcm" and syntax == JPEG_BASELINE:  # of 16 bits
        assert (answer.status_code, answer.json()["code"]) == (406, "not-acceptable")
        return
    assert answer.headers["content-type"] == f"{media.partition(';')[0]}; transfer-syntax={syntax}"
    if syntax == JPEG_BASELINE:
        assert answer.content[:2] == b"\xff\xd8"
        return
    assert np.array_equal(decoded(data, [answer.content], syntax), pixel_array(data))


async def test_only_the_frames_that_are_asked_for_are_decoded(cloud: Cloud) -> None:
    def spoil(data: pydicom.Dataset) -> None:
        frames = [*generate_fragments(data.PixelData)][1:]
        data.PixelData = encapsulate([frames[0], b"\xff" * 64, *frames[2:]])

    path, data = await kept(cloud, CINE, spoil)
    accept = f'multipart/related; type="{OCTETS}"; transfer-syntax={EXPLICIT}'
    answer = await fetch(cloud, f"{path}/frames/30,3-4,3", accept)
    assert int(answer.headers["content-length"]) == len(answer.content)
    for (media, content), number in zip(parts(answer), (30, 3, 4, 3), strict=True):
        assert media == f"{OCTETS}; transfer-syntax={EXPLICIT}"
        assert content == pixel_array(data, index=number - 1).tobytes()
    for frames in ("2", "1-3"):
        answer = await fetch(cloud, f"{path}/frames/{frames}", accept)
        assert (answer.status_code, answer.json()["code"]) == (422, "pixels")
    assert (await fetch(cloud, f"{path}/frames/31", accept)).status_code == 404
    assert cloud.pixels._kept == cloud.pixels._waiting == 0


async def test_what_is_stored_goes_before_what_can_be_made(cloud: Cloud) -> None:
    path, data = await kept(cloud, CINE)
    stored = [*generate_fragments(data.PixelData)][1]
    desired = f"{OCTETS}; transfer-syntax={EXPLICIT}"
    for accept in (
        f"{OCTETS}; transfer-syntax=*",
        "*/*",
        "image/*",
        f"{desired}, image/jpeg;q=0.1",
    ):
        answer = await fetch(cloud, f"{path}/frames/1", accept)
        content = parts(answer)[0][1] if accept == "*/*" else answer.content
        assert content == stored
    assert (
        len((await fetch(cloud, f"{path}/frames/1", OCTETS)).content)
        == data.Rows * data.Columns * 3
    )
    refused = await fetch(cloud, f"{path}/frames/1", "image/gif")
    assert refused.status_code == 406
    assert all(
        one.syntax in refused.json()["remedy"]
        for one in (*frame_offers(JPEG_BASELINE), *transcoded_offers(JPEG_BASELINE))
    )
    assert (
        await fetch(cloud, f"{path}/frames/1,2", OCTETS)
    ).status_code == 406  # two are never one part


async def test_the_first_offer_of_a_media_type_is_its_default() -> None:
    assert [one.syntax for one in transcoded_offers(EXPLICIT) if one.media == "image/jpeg"] == [
        JPEG_LOSSLESS,
        JPEG_BASELINE,
    ]
    assert not {one.syntax for one in transcoded_offers(EXPLICIT)} & {EXPLICIT}
    assert RLE not in {one.syntax for one in transcoded_offers(RLE)}


def claims(data: pydicom.Dataset) -> None:
    """Let the data set claim what its frames do not hold."""
    data.Rows, data.Columns = 20000, 20000


@pytest.mark.parametrize(
    ("name", "change", "status", "code"),
    [
        ("JPEG2000.dcm", claims, 413, "too-large"),
        ("JPEG2000.dcm", lambda data: setattr(data, "Rows", 7), 422, "pixels"),
        (
            "JPEG2000.dcm",
            lambda data: setattr(
                data, "PixelData", encapsulate([b"\xff\x4f\xff\x51" + b"\xff" * 60])
            ),
            422,
            "pixels",
        ),
    ],
)
async def test_hostile_frames_are_refused_and_the_next_are_given(
    cloud: Cloud, name: str, change: Any, status: int, code: str
) -> None:
    path, _ = await kept(cloud, name, change)
    answer = await fetch(cloud, f"{path}/frames/1", OCTETS)
    assert (answer.status_code, answer.json()["code"], bool(answer.json()["remedy"])) == (
        status,
        code,
        True,
    )
    good, data = await kept(cloud, "MR_small_RLE.dcm")
    assert (await fetch(cloud, f"{good}/frames/1", OCTETS)).content == data.pixel_array.tobytes()


async def test_too_many_at_once_are_told_to_come_again(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = await kept(cloud, "MR_small_RLE.dcm")
    monkeypatch.setattr(cloud.pixels, "_max_waiting", 0)
    answer = await fetch(cloud, f"{path}/frames/1", OCTETS)
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    assert (
        await fetch(cloud, f"{path}/frames/1")
    ).status_code == 200  # as it is stored, nobody is needed


async def test_one_frame_does_not_wait_for_a_cine(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, data = await kept(cloud, CINE)
    monkeypatch.setattr(cloud.pixels, "_long", asyncio.Semaphore(0))
    one = await asyncio.wait_for(fetch(cloud, f"{path}/frames/1", OCTETS), service.RENDER_WALL)
    assert len(one.content) == data.Rows * data.Columns * 3


async def test_another_tenant_and_who_may_see_no_patients(cloud: Cloud) -> None:
    path, _ = await kept(cloud, "MR_small_RLE.dcm")
    for token, status in (
        (await cloud.token(Role.CLINICIAN, EGRET), 404),
        (await cloud.token(Role.CLINICIAN, facilities=frozenset({"annex-heron"})), 404),
        (await cloud.token(Role.AUDITOR), 403),
        ("swt_nobody", 401),
    ):
        assert (await fetch(cloud, f"{path}/frames/1", OCTETS, token=token)).status_code == status
