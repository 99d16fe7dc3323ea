"""The decoding of one frame to an array, and the encoding of one array as a frame.

It runs in a worker process, since decoders are not made for hostile bytes.
"""

import io
from typing import Any, Final, NamedTuple

import gdcm
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import UID

from swallowtail.cloud.model.transcoding import (
    JPEG_2000,
    JPEG_BASELINE,
    JPEG_LOSSLESS,
    JPEG_LS,
    RLE,
)
from swallowtail.cloud.pixels import jpeg2000
from swallowtail.cloud.pixels.stored import LocatedFrames, malformed, unsupported

BASELINE_QUALITY: Final = 90
LOSSY: Final = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
}
"""Transfer syntaxes that always lose, and what (0028,2114) calls their method (PS3.3
C.7.6.1.1.5.1).
"""
_BY_GDCM: Final = frozenset(
    {"1.2.840.10008.1.2.4.57", JPEG_LOSSLESS, JPEG_LS, "1.2.840.10008.1.2.4.81"}
)
"""Transfer syntaxes that GDCM alone decodes here."""
_GREY: Final = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"})

Pixels = NDArray[Any]


class Format(NamedTuple):
    """The format of samples in the Image Pixel module (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    signed: bool
    photometric: str

    @classmethod
    def of(cls, located: LocatedFrames, data: Dataset) -> "Format":
        """Read the format of a data set; raises PixelsRefusedError where it contradicts itself."""
        image = located.image
        stored, high, sign = (
            data.get("BitsStored"),
            data.get("HighBit"),
            data.get("PixelRepresentation", 0),
        )
        if (
            not isinstance(stored, int)
            or not 1 <= stored <= image.bits_allocated
            or sign not in {0, 1}
        ):
            raise malformed(
                "its Bits Allocated, Bits Stored and Pixel Representation contradict each other"
            )
        if high not in {None, stored - 1}:
            raise unsupported(f"its pixels end at bit {high} instead of {stored - 1}")
        return cls(
            image.rows,
            image.columns,
            image.samples,
            image.bits_allocated,
            stored,
            bool(sign),
            image.photometric,
        )

    @property
    def gdcm_bits_stored(self) -> int:
        """Return the Bits Stored for GDCM.

        It aborts the process where a byte has fewer than eight.
        """
        return 8 if self.allocated == 8 else self.stored

    @property
    def options(self) -> dict[str, Any]:
        """Return the options of pydicom's decoders and encoders."""
        return {
            "rows": self.rows,
            "columns": self.columns,
            "samples_per_pixel": self.samples,
            "bits_allocated": self.allocated,
            "bits_stored": self.stored,
            "pixel_representation": int(self.signed),
            "photometric_interpretation": self.photometric,
            "planar_configuration": 0,
            "number_of_frames": 1,
            "pixel_keyword": "PixelData",
        }


class Decoder:
    """The decoder of the frames of one image; `exact` leaves unused bits unchanged."""

    def __init__(
        self, located: LocatedFrames, data: Dataset, syntax: str, vr: bytes, *, exact: bool = False
    ) -> None:
        self._located = located
        self.format = Format.of(located, data)
        self._options = {
            **self.format.options,
            "planar_configuration": int(data.get("PlanarConfiguration") or 0),
            "correct_unused_bits": not exact,
            "pixel_vr": "OB" if vr == b"OB" else "OW",
        }
        if syntax in _BY_GDCM:
            self._options["bits_stored"] = self.format.gdcm_bits_stored
        try:
            self._decoder = get_decoder(UID(syntax))
        except NotImplementedError:
            raise unsupported("nobody here decodes its transfer syntax") from None
        if not self._decoder.is_available or (syntax.endswith(".4.51") and self.format.stored > 8):
            raise unsupported("nobody here decodes its transfer syntax")

    def frame(self, number: int, *, colour: bool) -> tuple[Pixels, str]:
        """Return a frame, from 0, and its photometric interpretation.

        With `colour`, YBR becomes RGB.
        """
        stored = self._located.frame(number)
        if self.format.allocated == 1:
            return self._bits(number, stored), self.format.photometric
        source = encapsulate([stored], has_bot=False) if self._located.encapsulated else stored
        try:
            pixels, described = self._decoder.as_array(
                source, index=0, raw=not colour, **self._options
            )
        except MemoryError:
            raise
        except Exception as error:
            raise malformed(
                f"frame {number + 1} cannot be decoded ({type(error).__name__})"
            ) from error
        return pixels, str(described["photometric_interpretation"])

    def _bits(self, number: int, stored: bytes) -> Pixels:
        if self._located.encapsulated or self.format.samples != 1:
            raise unsupported("its single bits are encoded")
        bits = self._located.image.frame_bits
        begin = number * bits % 8
        flat = np.unpackbits(np.frombuffer(stored, np.uint8), bitorder="little")[
            begin : begin + bits
        ]
        return flat.reshape(self.format.rows, self.format.columns)


class Encoder:
    """The encoder of frames of one format into one transfer syntax.

    Raises PixelsRefusedError for frames that the transfer syntax cannot represent.
    """

    def __init__(self, target: str, form: Format) -> None:
        self.target, self._format = target, form
        self._check()
        self.photometric = form.photometric
        if form.photometric == "RGB":
            self.photometric = {JPEG_BASELINE: "YBR_FULL_422", JPEG_2000: "YBR_RCT"}.get(
                target, "RGB"
            )

    def encode(self, pixels: Pixels) -> bytes:
        """Encode a frame.

        A lossless one was decoded again and is identical.
        """
        if self.target == JPEG_BASELINE:
            return _jpeg(pixels)
        self._check_range(pixels)
        encoded = self._encoded(pixels)
        if not np.array_equal(self._again(encoded), pixels):
            raise unsupported("its pixels do not survive this encoding")
        return encoded

    def _encoded(self, pixels: Pixels) -> bytes:
        form = self._format
        if self.target in {JPEG_LOSSLESS, JPEG_LS}:
            return _with_gdcm(pixels, form, self.target)
        if self.target == JPEG_2000 and jpeg2000.applies(form.rows, form.columns, form.stored):
            if form.samples > 1 and form.allocated > 8:
                raise unsupported(
                    "colour of 16 bits below 32 pixels cannot be encoded as JPEG 2000"
                )
            return jpeg2000.encode(pixels, form.stored, colour=form.photometric == "RGB")
        return self._plugin(pixels)

    def _plugin(self, pixels: Pixels) -> bytes:
        options = {**self._format.options, "photometric_interpretation": self.photometric}
        try:
            return bytes(
                get_encoder(UID(self.target)).encode(pixels, encoding_plugin="pylibjpeg", **options)
            )
        except MemoryError:
            raise
        except Exception as error:
            raise unsupported(
                f"this encoder does not take its pixels ({type(error).__name__})"
            ) from error

    def _again(self, encoded: bytes) -> Pixels:
        decoder = get_decoder(UID(self.target))
        source, options = (
            encapsulate([encoded], has_bot=False),
            {**self._format.options, "photometric_interpretation": self.photometric},
        )
        options["planar_configuration"] = int(self.target == RLE and self._format.samples > 1)
        if self.target in _BY_GDCM:
            options["bits_stored"] = self._format.gdcm_bits_stored
        return decoder.as_array(source, index=0, raw=True, **options)[0]

    def _check(self) -> None:
        form = self._format
        if form.photometric not in _GREY | {"RGB", "YBR_FULL"} or (form.samples == 1) != (
            form.photometric in _GREY
        ):
            raise unsupported(
                f"pixels of {form.photometric or 'unknown colour'} cannot be encoded so"
            )
        if form.allocated not in {8, 16} or (form.signed and form.samples > 1):
            raise unsupported(
                f"samples of {form.allocated} bits{', signed,' if form.signed else ''} cannot be"
                " encoded so"
            )
        if self.target == JPEG_BASELINE and (form.allocated, form.stored, form.signed) != (
            8,
            8,
            False,
        ):
            raise unsupported(
                f"JPEG baseline has 8 bits for a sample, and these have {form.stored} in"
                f" {form.allocated}"
            )
        if self.target == JPEG_BASELINE and form.photometric == "PALETTE COLOR":
            raise unsupported("numbers of a palette's colours do not survive lossy compression")
        if self.target == JPEG_LS and form.stored < 2:
            raise unsupported("JPEG-LS has at least 2 bits for a sample")

    def _check_range(self, pixels: Pixels) -> None:
        """Check that the unused bits hold no overlay (retired, PS3.5 8.1.2): it would be lost."""
        form = self._format
        low, high = (
            (-(1 << form.stored - 1), (1 << form.stored - 1) - 1)
            if form.signed
            else (0, (1 << form.stored) - 1)
        )
        if pixels.size and not low <= int(pixels.min()) <= int(pixels.max()) <= high:
            raise unsupported(f"its pixels use more than their {form.stored} bits")


def little(pixels: Pixels) -> bytes:
    """Return a frame in native format."""
    return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()


def _jpeg(pixels: Pixels) -> bytes:
    made = io.BytesIO()
    Pictures.fromarray(pixels).save(made, "JPEG", quality=BASELINE_QUALITY, subsampling="4:2:2")
    return made.getvalue()


def _with_gdcm(pixels: Pixels, form: Format, target: str) -> bytes:
    writer = gdcm.ImageWriter()
    image = writer.GetImage()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((form.columns, form.rows, 1))
    kind = gdcm.PhotometricInterpretation.GetPIType(form.photometric)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.ExplicitVRLittleEndian))
    stored = form.gdcm_bits_stored
    image.SetPixelFormat(
        gdcm.PixelFormat(form.samples, form.allocated, stored, stored - 1, int(form.signed))
    )
    if form.samples > 1:
        image.SetPlanarConfiguration(0)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetByteStringValue(little(pixels))
    image.SetDataElement(element)
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(target)))
    change.SetInput(image)
    fragments = (
        change.GetOutput().GetDataElement().GetSequenceOfFragments() if change.Change() else None
    )
    if fragments is None or fragments.GetNumberOfFragments() != 1:
        raise unsupported("this encoder does not take its pixels")
    return bytes(
        fragments.GetFragment(0).GetByteValue().GetBuffer().encode("utf-8", "surrogateescape")
    )
