"""What a rendered frame shows: windows, palettes, inversion, depth, and where a viewport looks."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pictures
from pydicom.dataset import Dataset

from swallowtail.cloud.model.transcoding import Cause
from swallowtail.cloud.pixels.jobs import JobRefused, Made, Render, Shape, Viewport, VoiWindow
from swallowtail.cloud.pixels.working import work
from tests.unit.cloud.pixels.images import Image, files, made, stored

RAMP = np.arange(0, 4096, dtype=np.uint16).reshape(64, 64)


def answered(image: Image, **more: Any) -> tuple[Any, bytes]:
    out = BytesIO()
    job = Render(image.syntax, len(image.body), **{"frame": None, "png": True, **more})
    return work(job, BytesIO(image.body), out), out.getvalue()


def shown(image: Image, **more: Any) -> np.ndarray:
    answer, content = answered(image, **more)
    assert isinstance(answer, Made), answer
    return np.asarray(Pictures.open(BytesIO(content)))


@pytest.mark.parametrize("name", files())
def test_every_image_of_pydicoms_is_rendered_or_says_why_not(name: str) -> None:
    image = stored(name)
    answer, content = answered(image, png=False)
    if isinstance(answer, Made):
        assert content[:3] == b"\xff\xd8\xff"
        assert len(content) == answer.length
    else:
        assert answer.cause in {Cause.MISSING, Cause.MALFORMED, Cause.UNSUPPORTED}


def test_the_window_of_the_data_set_and_that_of_the_client() -> None:
    image = made(RAMP, WindowCenter="2048", WindowWidth="2048")
    grey = shown(image).ravel().astype(int)
    assert grey[:1024].max() == 0
    assert grey[3072:].min() == 255
    assert abs(grey[2048] - 128) <= 1
    exact = shown(image, window=VoiWindow(100.0, 10.0, Shape.LINEAR_EXACT)).ravel()
    assert (exact[95], exact[105], exact[100]) == (0, 255, 128)
    sigmoid = shown(image, window=VoiWindow(2048.0, 1000.0, Shape.SIGMOID)).ravel()
    assert abs(int(sigmoid[2048]) - 128) <= 1
    assert (shown(image, window=VoiWindow(100.0, 1.0)).ravel()[[99, 100]] == [0, 255]).all()


def test_rescale_counts_before_the_window() -> None:
    image = made(
        RAMP, RescaleSlope="2", RescaleIntercept="-1000", WindowCenter="0", WindowWidth="101"
    )
    grey = shown(image).ravel().astype(int)
    assert (grey[474], grey[526]) == (0, 255)
    assert abs(grey[500] - 128) <= 2


def test_signed_and_without_a_window_shows_all_that_occurs() -> None:
    grey = shown(made(RAMP.astype(np.int16) - 2048)).ravel()
    assert (grey[0], grey[-1]) == (0, 255)


def test_monochrome1_is_white_at_zero() -> None:
    eight = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(shown(made(eight)), eight)
    assert np.array_equal(shown(made(eight, PhotometricInterpretation="MONOCHROME1")), 255 - eight)


def test_an_enhanced_image_has_its_window_in_its_functional_groups() -> None:
    window, shared = Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth = "100", "11"
    shared.FrameVOILUTSequence = [window]
    grey = shown(made(RAMP, SharedFunctionalGroupsSequence=[shared])).ravel()
    assert (grey[90], grey[110]) == (0, 255)


def test_a_palette_becomes_colours() -> None:
    image = stored("examples_palette.dcm")
    assert shown(image).shape[-1] == 3


def test_ybr_and_rgb_are_shown_as_pydicom_decodes_them() -> None:
    image = stored("examples_ybr_color.dcm")
    assert np.array_equal(shown(image, frame=3), image.pixels()[2])
    image = stored("examples_rgb_color.dcm")
    assert np.array_equal(shown(image), image.pixels())


def test_a_viewport_keeps_proportions_cuts_and_flips() -> None:
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, 20:] = 255
    image = made(wide)
    assert shown(image, viewport=Viewport(10, 10)).shape == (5, 10, 3)
    assert shown(image, viewport=Viewport(80, 80)).shape == (40, 80, 3)
    part = shown(image, viewport=Viewport(20, 20, 20.0, 0.0, 20.0, 20.0))
    assert part.shape == (20, 20, 3)
    assert part.min() == 255
    flipped = shown(image, viewport=Viewport(40, 40, 0.0, 0.0, -40.0, 20.0))
    assert flipped[0, 0, 0] == 255
    answer, _ = answered(image, viewport=Viewport(10, 10, 50.0, 0.0, 5.0, 5.0))
    assert isinstance(answer, JobRefused)


def test_a_frame_that_is_not_there() -> None:
    answer, _ = answered(stored("examples_ybr_color.dcm"), frame=31)
    assert isinstance(answer, JobRefused)
    assert answer.cause is Cause.MISSING
    assert "30 frames" in answer.reason
