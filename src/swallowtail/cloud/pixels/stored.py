"""An instance with pixel data in a pixel worker.

Its data set without the pixels, and its frames.
"""

import io
from typing import BinaryIO, Final

from pydicom.dataset import Dataset

from swallowtail.cloud.data_set.elements import (
    BIG_ENDIAN,
    DEFLATED,
    PIXEL_DATA,
    LocatedElement,
    Walk,
)
from swallowtail.cloud.index import attributes, frame_offsets
from swallowtail.cloud.index.frame_offsets import Image
from swallowtail.cloud.index.parse import PIXELS, read_elements, vr_of
from swallowtail.cloud.index.source import FileSource, inflated
from swallowtail.cloud.model.indexing import FrameIndex
from swallowtail.cloud.model.transcoding import Cause
from swallowtail.cloud.pixels.codestream import size_of

MAX_HEADER: Final = 64 * 1024 * 1024
"""Bytes of everything but the pixels, which are held in memory."""
MAX_FRAME: Final = 192 * 1024 * 1024
"""Bytes of one decoded frame; a worker needs some four times as much."""
MAX_FRAMES: Final = 100_000
_EXTENDED: Final = 0x7FE00001
_DROPPED: Final = frozenset({_EXTENDED, 0x7FE00002, 0xFFFCFFFC})
"""Offset tables, which are computed again, and padding; so are group lengths (PS3.5 7.2)."""
_CODE_STREAMS: Final = "1.2.840.10008.1.2.4."


class PixelsRefusedError(Exception):
    """The requested result cannot be made.

    The message is for a person and holds no values of the patient.
    """

    def __init__(self, cause: Cause, reason: str) -> None:
        super().__init__(reason)
        self.cause, self.reason = cause, reason


def unsupported(reason: str) -> PixelsRefusedError:
    """Return the error for a valid instance of a kind that is not supported."""
    return PixelsRefusedError(Cause.UNSUPPORTED, reason)


def malformed(reason: str) -> PixelsRefusedError:
    """Return the error for an invalid instance."""
    return PixelsRefusedError(Cause.MALFORMED, reason)


class StoredImage:
    """An open instance.

    Raises MalformedDataSetError and PixelsRefusedError where it cannot be read.
    """

    def __init__(self, blob: BinaryIO, syntax: str, length: int) -> None:
        if syntax in DEFLATED:
            content = inflated(blob, length)
            blob, length = io.BytesIO(content), len(content)
        self.syntax = syntax
        self.source = FileSource(blob, length)
        elements = Walk(self.source, syntax, vr_of).elements()
        self.pixels = next((one for one in elements if one.tag in PIXELS), None)
        self.rest = [
            one for one in elements if one.tag not in PIXELS | _DROPPED and one.tag & 0xFFFF
        ]
        if sum(one.end - one.begin for one in self.rest) > MAX_HEADER:
            raise PixelsRefusedError(
                Cause.TOO_LARGE, f"it has more than {MAX_HEADER // 2**20} MiB beside its pixels"
            )
        self.data: Dataset = read_elements(self.source, self.rest, syntax)
        self._extended = next((one for one in elements if one.tag == _EXTENDED), None)

    def image(self) -> "Image":
        """Return the attributes of its pixels, within our limits."""
        image = attributes.image_of(self.data)
        if image is None or self.pixels is None:
            raise PixelsRefusedError(Cause.MISSING, "it has no pixels")
        if self.pixels.tag != PIXEL_DATA:
            raise unsupported("its pixels are floating-point numbers")
        if (
            0 in {image.rows, image.columns}
            or image.samples not in {1, 3}
            or image.bits_allocated not in {1, 8, 16, 32}
        ):
            raise malformed(
                f"nobody can have {image.samples} samples of {image.bits_allocated} bits in each of"
                " its pixels"
            )
        size = image.rows * image.columns * image.samples * max(1, image.bits_allocated // 8)
        if size > MAX_FRAME or image.frames > MAX_FRAMES:
            raise PixelsRefusedError(
                Cause.TOO_LARGE,
                f"it claims {image.frames} frames of {image.columns}x{image.rows}; a frame may take"
                f" {MAX_FRAME // 2**20} MiB, and {MAX_FRAMES} of them are decoded at most",
            )
        return image

    def located(self, image: "Image") -> "LocatedFrames":
        """Find its frames."""
        assert self.pixels is not None
        if self.pixels.fragments is None:
            index = frame_offsets.native(self.pixels, image)
        else:
            extended = (
                self.source.take(self._extended.start, self._length(self._extended))
                if self._extended
                else b""
            )
            index = frame_offsets.encapsulated(self.pixels, image, self.source, extended=extended)
            if len(index.spans) != image.frames:
                raise malformed(
                    "its frames cannot be separated: it has no offset table, and the number of"
                    " fragments differs from the number of frames"
                )
        return LocatedFrames(self, self.pixels, image, index)

    @staticmethod
    def _length(element: LocatedElement) -> int:
        return element.end - element.start


class LocatedFrames:
    """An open instance whose frames were found."""

    def __init__(
        self, stored: StoredImage, pixels: LocatedElement, image: Image, index: FrameIndex
    ) -> None:
        self._stored, self._pixels, self.image, self._index = stored, pixels, image, index

    @property
    def encapsulated(self) -> bool:
        """Return whether its frames are encoded."""
        return self._index.encapsulated

    def frame(self, number: int) -> bytes:
        """Return a frame, from 0, as stored.

        If frames of single bits do not begin at a byte, the preceding bits are included.
        """
        source, image = self._stored.source, self.image
        if self._index.spans:
            flat = self._index.spans[number]
            if self._stored.syntax == BIG_ENDIAN and flat[1] % 2:
                return self._odd(*flat)
            encoded = b"".join(
                source.take(start, length)
                for start, length in zip(flat[::2], flat[1::2], strict=True)
            )
            if self._index.encapsulated:
                self._check(encoded)
            return encoded
        bits = image.frame_bits
        first, last = number * bits // 8, -(-(number + 1) * bits // 8)
        return source.take(self._pixels.start + first, last - first)

    def _odd(self, start: int, length: int) -> bytes:
        """Return the last byte of swapped words, which is behind their end."""
        if self.image.frames > 1:
            raise unsupported("its frames are of an odd length in words of big-endian order")
        return self._stored.source.take(start, length + 1)

    def _check(self, encoded: bytes) -> None:
        """Check that the code stream's size agrees with the data set's.

        A decoder allocates memory for the former, whatever the data set states.
        """
        if not self._stored.syntax.startswith(_CODE_STREAMS):
            return
        claimed, image = size_of(encoded), self.image
        if claimed is None:
            raise malformed("a frame is not encoded in its transfer syntax")
        if claimed != (image.rows, image.columns, image.samples):
            raise malformed(
                f"a frame is encoded as {claimed.columns}x{claimed.rows} of {claimed.samples}"
                f" samples, its data set declares {image.columns}x{image.rows} of {image.samples}"
            )
