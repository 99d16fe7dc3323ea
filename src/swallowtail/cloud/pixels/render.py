"""The rendering of one frame in a consumer format (PS3.18 8.3.5, 9.4; PS3.4 N.2).

The frame is decoded, windowed to grey or coloured, cropped and scaled, as JPEG or PNG.
"""

from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi

from swallowtail.cloud.model.transcoding import Cause
from swallowtail.cloud.pixels.codecs import Decoder
from swallowtail.cloud.pixels.jobs import Made, Render, Shape, Viewport, VoiWindow
from swallowtail.cloud.pixels.stored import PixelsRefusedError, StoredImage, malformed

MAX_SIDE: Final = 8192
_RESCALE: Final = ("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence")
_VOI: Final = ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence")
_SHAPES: Final = {"LINEAR_EXACT": Shape.LINEAR_EXACT, "SIGMOID": Shape.SIGMOID}
_MACROS: Final = (("PixelValueTransformationSequence", _RESCALE), ("FrameVOILUTSequence", _VOI))

Numbers = NDArray[Any]


def render(job: Render, blob: BinaryIO, out: BinaryIO) -> Made:
    """Write one frame; raises PixelsRefusedError and MalformedDataSetError."""
    stored = StoredImage(blob, job.syntax, job.length)
    image, pixels = stored.image(), stored.pixels
    assert pixels is not None
    number = (image.frames + 1) // 2 if job.frame is None else job.frame
    if not 1 <= number <= image.frames:
        raise PixelsRefusedError(
            Cause.MISSING, f"it has {image.frames} frames; {number} is none of them"
        )
    decoder = Decoder(stored.located(image), stored.data, stored.syntax, pixels.vr)
    values, photometric = decoder.frame(number - 1, colour=True)
    picture = Pictures.fromarray(
        _shown(values, photometric, _module(stored.data, number), job.window)
    )
    if job.viewport is not None:
        picture = _seen(picture, job.viewport)
    if job.png:
        picture.save(out, "PNG", compress_level=3)
    else:
        picture.save(out, "JPEG", quality=job.quality)
    return Made(out.tell())


def _module(data: Dataset, number: int) -> Dataset:
    """Return the attributes that map a frame's values.

    In an enhanced image they are in the functional groups (PS3.3 C.7.6.16).
    """
    groups = list(data.get("SharedFunctionalGroupsSequence") or [])[:1]
    groups += list(data.get("PerFrameFunctionalGroupsSequence") or [])[number - 1 : number]
    found: Dataset | None = None
    for group in groups:
        for macro, keywords in _MACROS:
            for item in list(group.get(macro) or [])[:1]:
                found = found or Dataset(data)
                for keyword in keywords:
                    if keyword in item:
                        found[keyword] = item[keyword]
    return data if found is None else found


def _shown(values: Numbers, photometric: str, data: Dataset, window: VoiWindow | None) -> Numbers:
    """Return 8 bits of grey, or of red, green and blue."""
    if photometric == "PALETTE COLOR":
        if "RedPaletteColorLookupTableDescriptor" not in data:
            raise malformed("its pixels are numbers of colours, and the palette is missing")
        return _eight(apply_color_lut(values, data)[..., :3])
    if values.ndim == 3:
        return values if values.dtype == np.uint8 else _eight(values, data.get("BitsStored"))
    modality = apply_modality_lut(values, data)
    if window is None and "VOILUTSequence" in data and "WindowCenter" not in data:
        mapped = apply_voi(
            modality.astype(values.dtype) if modality.dtype.kind == "f" else modality, data
        )
        grey = _ramp(mapped, 0.0, float(2 ** int(data.VOILUTSequence[0].LUTDescriptor[2]) - 1))
    else:
        window = window or _window_of(data)
        grey = _windowed(modality, window) if window else _full(modality, data)
    inverse = photometric == "MONOCHROME1" or data.get("PresentationLUTShape") == "INVERSE"
    return 255 - grey if inverse else grey


def _window_of(data: Dataset) -> VoiWindow | None:
    centre, width = (_first(data.get(keyword)) for keyword in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None:
        return None
    shape = _SHAPES.get(str(data.get("VOILUTFunction", "")), Shape.LINEAR)
    return (
        VoiWindow(centre, width, shape) if width >= (1 if shape is Shape.LINEAR else 1e-9) else None
    )


def _first(value: Any) -> float | None:
    try:
        number = float(
            value[0] if hasattr(value, "__getitem__") and not isinstance(value, str) else value
        )
    except (TypeError, ValueError, IndexError):
        return None
    return number if np.isfinite(number) else None


def _windowed(values: Numbers, window: VoiWindow) -> Numbers:
    centre, width = window.center, window.width
    if window.shape is Shape.SIGMOID:
        power = np.clip(-4.0 * (values.astype(np.float64) - centre) / width, -50.0, 50.0)
        return (255.0 / (1.0 + np.exp(power)) + 0.5).astype(np.uint8)
    if window.shape is Shape.LINEAR:  # C.11.2.1.2.1
        centre, width = centre - 0.5, width - 1.0
    if width <= 0.0:
        return np.where(values <= centre, 0, 255).astype(np.uint8)
    return _ramp(values, centre - width / 2, centre + width / 2)


def _full(values: Numbers, data: Dataset) -> Numbers:
    """Return the values without a window.

    8 bits are unchanged, a single bit becomes black and white, other values span their range.
    """
    if values.dtype == np.uint8 and data.get("BitsStored") in {1, 8}:
        return values * 255 if data.get("BitsStored") == 1 else values
    return _ramp(values, float(values.min()), float(values.max()))


def _ramp(values: Numbers, low: float, high: float) -> Numbers:
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    scaled: Numbers = (values.astype(np.float32) - low) * (255.0 / (high - low))
    return (np.clip(scaled, 0.0, 255.0) + 0.5).astype(np.uint8)


def _eight(values: Numbers, bits: int | None = None) -> Numbers:
    bits = bits or values.dtype.itemsize * 8
    return values.astype(np.uint8) if bits <= 8 else (values >> (bits - 8)).astype(np.uint8)


def _seen(picture: Pictures.Image, viewport: Viewport) -> Pictures.Image:
    """Crop, flip and scale, keeping the proportions (PS3.18 8.3.5.1.3)."""
    wide, high = viewport.source_width or picture.width, viewport.source_height or picture.height
    box = (viewport.left, viewport.top, viewport.left + abs(wide), viewport.top + abs(high))
    box = (
        max(0.0, box[0]),
        max(0.0, box[1]),
        min(box[2], picture.width),
        min(box[3], picture.height),
    )
    if box[2] - box[0] < 1 or box[3] - box[1] < 1:
        raise PixelsRefusedError(
            Cause.MISSING, f"this part is outside the image of {picture.width}x{picture.height}"
        )
    scale = min(viewport.width / (box[2] - box[0]), viewport.height / (box[3] - box[1]))
    size = tuple(
        max(1, min(MAX_SIDE, round(scale * side))) for side in (box[2] - box[0], box[3] - box[1])
    )
    seen = picture.resize(
        (size[0], size[1]), Pictures.Resampling.BILINEAR, box=box, reducing_gap=2.0
    )
    if wide < 0:
        seen = seen.transpose(Pictures.Transpose.FLIP_LEFT_RIGHT)
    return seen.transpose(Pictures.Transpose.FLIP_TOP_BOTTOM) if high < 0 else seen
