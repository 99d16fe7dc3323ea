"""Every file of pydicom's in every target.

Equal in its pixels to pydicom's own decoding, or a reason.
"""

from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from swallowtail.cloud.model.transcoding import (
    EXPLICIT,
    IMPLICIT,
    JPEG_2000,
    JPEG_BASELINE,
    JPEG_LOSSLESS,
    JPEG_LS,
    LOSSLESS_TARGETS,
    RLE,
    Cause,
)
from swallowtail.cloud.pixels.jobs import JobRefused, Made, Transcode
from swallowtail.cloud.pixels.working import work
from swallowtail.cloud.query.part10 import header
from tests.unit.cloud.pixels.images import Image, files, made, stored

SHORT = {syntax.rsplit(".", 1)[1]: syntax for syntax in sorted(LOSSLESS_TARGETS)}


def transcoded(image: Image, target: str) -> bytes | JobRefused:
    out = BytesIO()
    answer = work(Transcode(image.syntax, len(image.body), target), BytesIO(image.body), out)
    return out.getvalue()[: answer.length] if isinstance(answer, Made) else answer


def read(body: bytes, target: str) -> Dataset:
    return dcmread(BytesIO(header("1.2", "1.2", target) + body))


def own_pixels(image: Image) -> np.ndarray | None:
    try:
        return image.pixels()
    except (AttributeError, ValueError, NotImplementedError, RuntimeError, NotADirectoryError):
        return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", SHORT.values(), ids=SHORT)
@pytest.mark.parametrize("name", files())
def test_lossless_keeps_every_pixel(name: str, target: str) -> None:
    image = stored(name)
    body = transcoded(image, target)
    if isinstance(body, JobRefused):
        assert body.reason
        assert body.cause in {Cause.UNSUPPORTED, Cause.MALFORMED, Cause.MISSING}
        return
    made, want = read(body, target), own_pixels(image)
    if want is not None:
        assert np.array_equal(made.pixel_array, want)
    if target not in {EXPLICIT, IMPLICIT}:
        assert made["PixelData"].is_undefined_length
        assert int.from_bytes(made.PixelData[4:8], "little") == 4 * int(
            made.get("NumberOfFrames", 1)
        )
        assert made.get("PlanarConfiguration", 0) == 0


@pytest.mark.parametrize("target", SHORT.values(), ids=SHORT)
def test_most_of_them_can_be_had(target: str) -> None:
    done = sum(not isinstance(transcoded(stored(name), target), JobRefused) for name in files())
    assert done > 40


@pytest.mark.parametrize("target", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize(
    "name",
    ["CT_small.dcm", "MR_small_bigendian.dcm", "examples_ybr_color.dcm", "MR_small_implicit.dcm"],
)
def test_all_else_stays_what_it_is(name: str, target: str) -> None:
    image = stored(name)
    body = transcoded(image, target)
    assert isinstance(body, bytes)
    before, after = read(image.body, image.syntax), read(body, target)
    differs = {one.tag for one in before if one.tag not in after or after[one.tag] != one}
    changed = {tag for tag in differs if not tag.is_private} - {0x7FE00010, 0x00280004, 0xFFFCFFFC}
    assert changed == set()
    assert [one.tag for one in after if one.tag not in before] == []


def test_a_name_in_the_wrong_character_set_is_passed_on_byte_by_byte() -> None:
    body = made(SpecificCharacterSet="ISO_IR 192").body.replace(b"Heron^Ada", b"H\xffr\xf6n^Ada")
    result = transcoded(Image("made", EXPLICIT, body), IMPLICIT)
    assert isinstance(result, bytes)
    assert b"H\xffr\xf6n^Ada" in result


def test_lossy_says_so() -> None:
    body = transcoded(stored("examples_rgb_color.dcm"), JPEG_BASELINE)
    assert isinstance(body, bytes)
    data = read(body, JPEG_BASELINE)
    assert (data.PhotometricInterpretation, data.LossyImageCompression) == ("YBR_FULL_422", "01")
    assert data.LossyImageCompressionMethod == "ISO_10918_1"
    assert 1 < float(data.LossyImageCompressionRatio) < 100
    apart = np.abs(
        data.pixel_array.astype(int) - stored("examples_rgb_color.dcm").pixels().astype(int)
    )
    assert apart.mean() < 3


def test_lossy_again_appends_to_what_was_lost_before() -> None:
    body = transcoded(
        made(
            np.zeros((8, 8), np.uint8),
            LossyImageCompressionRatio="7.5",
            LossyImageCompressionMethod="ISO_15444_1",
        ),
        JPEG_BASELINE,
    )
    assert isinstance(body, bytes)
    data = read(body, JPEG_BASELINE)
    assert list(data.LossyImageCompressionMethod) == ["ISO_15444_1", "ISO_10918_1"]
    assert len(data.LossyImageCompressionRatio) == 2


@pytest.mark.parametrize("target", [JPEG_LOSSLESS, JPEG_LS])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", range(2, 9))
def test_bytes_of_fewer_bits_become_lossless_jpeg(target: str, signed: bool, bits: int) -> None:
    """GDCM ended the process where it was told of fewer than eight."""
    noise = np.random.default_rng(bits).integers(0, 1 << bits, (40, 42)) - (1 << bits - 1) * signed
    pixels = noise.astype(np.int8 if signed else np.uint8)
    image = made(pixels, BitsStored=bits, HighBit=bits - 1)
    body = transcoded(image, target)
    assert isinstance(body, bytes)
    again = transcoded(Image("made", target, body), EXPLICIT)
    assert isinstance(again, bytes)
    assert np.array_equal(read(again, EXPLICIT).pixel_array, pixels)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (31, 5), (16, 16), (8, 8, 3)])
def test_small_images_become_jpeg_2000(shape: tuple[int, ...]) -> None:
    image = made(np.arange(np.prod(shape), dtype=np.uint8).reshape(shape))
    body = transcoded(image, JPEG_2000)
    assert isinstance(body, bytes)
    data = read(body, JPEG_2000)
    expected = "YBR_RCT" if len(shape) == 3 else "MONOCHROME2"
    assert (data.Rows, data.Columns, data.PhotometricInterpretation) == (*shape[:2], expected)
    again = transcoded(Image("made", JPEG_2000, body), EXPLICIT)
    assert isinstance(again, bytes)
    assert np.array_equal(read(again, EXPLICIT).pixel_array, image.pixels())


@pytest.mark.parametrize(
    ("image", "target", "part"),
    [
        (made(), JPEG_BASELINE, "8 bits"),
        (made(np.zeros((8, 8), np.uint32)), RLE, "32 bits"),
        (
            made(np.full((8, 8), 0xFFFF, np.uint16), BitsStored=12, HighBit=11),
            JPEG_LS,
            "more than their 12 bits",
        ),
        (made(BitsStored=12, HighBit=15), RLE, "bit 15"),
        (made(np.zeros((8, 8, 3), np.uint16)), JPEG_2000, "below 32 pixels"),
    ],
    ids=["deep", "long", "overlay", "shifted", "small-deep-colour"],
)
def test_what_cannot_be_had_says_why(image: Image, target: str, part: str) -> None:
    refused = transcoded(image, target)
    assert isinstance(refused, JobRefused)
    assert refused.cause is Cause.UNSUPPORTED
    assert part in refused.reason


def test_frames_have_their_places_in_the_offset_table() -> None:
    body = transcoded(stored("examples_ybr_color.dcm"), RLE)
    assert isinstance(body, bytes)
    data = read(body, RLE)
    table = np.frombuffer(data.PixelData[8 : 8 + 4 * data.NumberOfFrames], "<u4")
    first = 8 + 4 * data.NumberOfFrames
    assert all(
        data.PixelData[first + offset : first + offset + 4] == b"\xfe\xff\x00\xe0"
        for offset in table
    )
    assert len(set(table)) == data.NumberOfFrames == 30
