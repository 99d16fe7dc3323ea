"""Images of every small size survive JPEG 2000 lossless, and another decoder reads the same."""

from typing import Any

import numpy as np
import openjpeg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from swallowtail.cloud.model.transcoding import JPEG_2000
from swallowtail.cloud.pixels.codecs import Encoder, Format

SIDES = st.integers(1, 70)
KINDS = {
    "grey-8": (1, 8, 8, False),
    "grey-16": (1, 16, 16, False),
    "grey-12": (1, 16, 12, False),
    "grey-signed-16": (1, 16, 16, True),
    "grey-signed-12": (1, 16, 12, True),
    "grey-5": (1, 8, 5, False),
    "single-bits": (1, 8, 1, False),
    "rgb": (3, 8, 8, False),
    "rgb-7": (3, 8, 7, False),
}
SIZES = [(rows, columns) for rows in range(1, 71) for columns in {1, rows, 71 - rows, 31, 64}]


def image(kind: str, rows: int, columns: int, seed: int) -> tuple[Format, NDArray[Any]]:
    samples, allocated, stored, signed = KINDS[kind]
    low, high = (-(1 << stored - 1), 1 << stored - 1) if signed else (0, 1 << stored)
    shape = (rows, columns, samples) if samples > 1 else (rows, columns)
    noise = np.random.default_rng(seed).integers(low, high, shape)
    colour = "RGB" if samples > 1 else "MONOCHROME2"
    form = Format(rows, columns, samples, allocated, stored, signed, colour)
    return form, noise.astype(f"{'i' if signed else 'u'}{allocated // 8}")


def decoded(
    encoded: bytes, form: Format, target: str, photometric: str, plugin: str
) -> NDArray[Any]:
    """What a decoder gives that is handed the encoder's photometric interpretation."""
    options = {**form.options, "photometric_interpretation": photometric}
    source = encapsulate([encoded], has_bot=False)
    return get_decoder(UID(target)).as_array(
        source, index=0, raw=True, decoding_plugin=plugin, **options
    )[0]


@pytest.mark.filterwarnings("ignore:The number of bytes of compressed pixel data matches")
@pytest.mark.parametrize("kind", KINDS)
def test_jpeg_2000_takes_every_size(kind: str) -> None:
    for rows, columns in SIZES:
        form, pixels = image(kind, rows, columns, rows * 100 + columns)
        encoder = Encoder(JPEG_2000, form)
        code = encoder.encode(pixels)
        claimed = openjpeg.get_parameters(code)
        assert (claimed["rows"], claimed["columns"]) == (rows, columns)
        assert (claimed["precision"], claimed["is_signed"]) == (form.stored, form.signed)
        read = decoded(code, form, JPEG_2000, encoder.photometric, "pylibjpeg")
        assert np.array_equal(read, pixels), (rows, columns)


@pytest.mark.filterwarnings("ignore:The number of bytes of compressed pixel data matches")
@pytest.mark.parametrize("kind", ["grey-8", "grey-16", "grey-signed-16", "rgb"])
@given(rows=SIDES, columns=SIDES, seed=st.integers(0, 2**32 - 1))
def test_another_decoder_reads_the_same(kind: str, rows: int, columns: int, seed: int) -> None:
    form, pixels = image(kind, rows, columns, seed)
    encoder = Encoder(JPEG_2000, form)
    read = decoded(encoder.encode(pixels), form, JPEG_2000, encoder.photometric, "gdcm")
    assert np.array_equal(read, pixels)
