"""JPEG 2000 code streams that pylibjpeg's encoder cannot make: of small images, and of single bits.

pylibjpeg always writes six resolution levels, which OpenJPEG refuses where a side has fewer than
2^5 pixels, and loses pixels in about one noisy image of single bits in eighty. GDCM reduces the
levels, but writes beyond its buffer for images of a few pixels. Pillow takes the number of levels,
but has no signed samples, and no precision other than 8 and 16 bits. Both are differences of the
header alone: an encoder subtracts 2^(precision-1) from unsigned samples and nothing from signed
ones (ITU-T T.800 G.1.2). Samples are therefore moved to where Pillow's own subtraction leaves what
the true one would have left, and the SIZ segment then gets the true sign and precision. The
quantisation segment keeps naming the bit planes that were coded.
"""

import io
import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

LEVELS: Final = 6
_FIRST_SSIZ: Final = 42
"""Where the first component's Ssiz is: behind SOC and ten fields of SIZ (ITU-T T.800 A.5.1)."""
_COMPONENT: Final = 3
_SIGNED: Final = 0x80


def applies(rows: int, columns: int, stored: int) -> bool:
    """Return whether an image of this size and of so many bits is encoded by this module."""
    return levels(rows, columns) < LEVELS or stored == 1


def levels(rows: int, columns: int) -> int:
    """Return the number of resolution levels, at most six, that fit an image of this size."""
    return min(LEVELS, min(rows, columns).bit_length())


def encode(pixels: NDArray[Any], stored: int, *, colour: bool) -> bytes:
    """Encode one frame losslessly; with `colour` by the reversible component transform.

    `pixels` are (rows, columns) of 8 or 16 bits, or (rows, columns, 3) of 8 bits, and their values
    fit `stored` bits. Raises ValueError for any other shape.
    """
    wide, signed = pixels.dtype.itemsize * 8, pixels.dtype.kind == "i"
    if pixels.ndim == 3 and (wide != 8 or pixels.shape[2] != 3):
        raise ValueError("colour has three samples of 8 bits here")
    shift = 0 if signed else 1 << stored - 1
    moved = (pixels.astype(np.int32) - shift + (1 << wide - 1)).astype(f"<u{wide // 8}")
    made = io.BytesIO()
    Pictures.fromarray(moved).save(
        made,
        "JPEG2000",
        no_jp2=True,
        irreversible=False,
        mct=int(colour),
        num_resolutions=levels(*pixels.shape[:2]),
    )
    return _with_samples(made.getvalue(), stored, signed=signed)


def _with_samples(code: bytes, stored: int, *, signed: bool) -> bytes:
    changed = bytearray(code)
    (components,) = struct.unpack_from(">H", code, _FIRST_SSIZ - 2)
    for component in range(components):
        changed[_FIRST_SSIZ + component * _COMPONENT] = stored - 1 | (_SIGNED if signed else 0)
    return bytes(changed)
