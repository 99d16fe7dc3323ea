"""A stored image as a pixel worker sees it.

Its data set but for the pixels, and its frames one by one as they lie there.
"""

import io
from typing import BinaryIO, Final

from pydicom.dataset import Dataset

from swallowtail.cloud.data_set.elements import BIG_ENDIAN, DEFLATED, PIXEL_DATA, Element, Walk
from swallowtail.cloud.index import attributes, frame_offsets
from swallowtail.cloud.index.frame_offsets import Image
from swallowtail.cloud.index.parse import PIXELS, read_elements, vr_of
from swallowtail.cloud.index.source import Source, inflated
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
"""Offset tables, which are made anew, and padding; so are group lengths (PS3.5 7.2)."""
_CODE_STREAMS: Final = "1.2.840.10008.1.2.4."


class RefusedError(Exception):
    """What was asked cannot be made.

    The message is for a person and holds no values of the patient.
    """

    def __init__(self, cause: Cause, reason: str) -> None:
        super().__init__(reason)
        self.cause, self.reason = cause, reason


def unsupported(reason: str) -> RefusedError:
    """Say that the instance is sound but not of a kind that can be used."""
    return RefusedError(Cause.UNSUPPORTED, reason)


def malformed(reason: str) -> RefusedError:
    """Say that the instance is broken."""
    return RefusedError(Cause.MALFORMED, reason)


class StoredImage:
    """An open one; raises MalformedDataSetError and RefusedError where it cannot be read."""

    def __init__(self, blob: BinaryIO, syntax: str, length: int) -> None:
        if syntax in DEFLATED:
            content = inflated(blob, length)
            blob, length = io.BytesIO(content), len(content)
        self.syntax = syntax
        self.source = Source(blob, length)
        elements = Walk(self.source, syntax, vr_of).elements()
        self.pixels = next((one for one in elements if one.tag in PIXELS), None)
        self.rest = [
            one for one in elements if one.tag not in PIXELS | _DROPPED and one.tag & 0xFFFF
        ]
        if sum(one.end - one.begin for one in self.rest) > MAX_HEADER:
            raise RefusedError(
                Cause.TOO_LARGE, f"it has more than {MAX_HEADER // 2**20} MiB beside its pixels"
            )
        self.data: Dataset = read_elements(self.source, self.rest, syntax)
        self._extended = next((one for one in elements if one.tag == _EXTENDED), None)

    def image(self) -> "Image":
        """Give what it says of its pixels, within our limits."""
        image = attributes.image_of(self.data)
        if image is None or self.pixels is None:
            raise RefusedError(Cause.MISSING, "it has no pixels")
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
            raise RefusedError(
                Cause.TOO_LARGE,
                f"it claims {image.frames} frames of {image.columns}x{image.rows}; a frame may take"
                f" {MAX_FRAME // 2**20} MiB, and {MAX_FRAMES} of them are decoded at most",
            )
        return image

    def located(self, image: "Image") -> "Located":
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
                    "its frames cannot be told apart: there is no offset table, and the fragments"
                    " do not say"
                )
        return Located(self, self.pixels, image, index)

    @staticmethod
    def _length(element: Element) -> int:
        return element.end - element.start


class Located:
    """A stored image whose frames were found."""

    def __init__(
        self, stored: StoredImage, pixels: Element, image: Image, index: FrameIndex
    ) -> None:
        self._stored, self._pixels, self.image, self._index = stored, pixels, image, index

    @property
    def encapsulated(self) -> bool:
        """Are its frames encoded?"""
        return self._index.encapsulated

    def frame(self, number: int) -> bytes:
        """Give a frame from 0 as it lies there.

        Single bits of frames that do not begin at bytes come with what precedes them.
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
        """Of swapped words the last byte stands behind its end."""
        if self.image.frames > 1:
            raise unsupported("its frames are of an odd length in words of big-endian order")
        return self._stored.source.take(start, length + 1)

    def _check(self, encoded: bytes) -> None:
        """A decoder allocates what the code stream says, whatever the data set says.

        So they have to agree.
        """
        if not self._stored.syntax.startswith(_CODE_STREAMS):
            return
        claimed, image = size_of(encoded), self.image
        if claimed is None:
            raise malformed("a frame is not encoded as its transfer syntax says")
        if claimed != (image.rows, image.columns, image.samples):
            raise malformed(
                f"a frame is encoded as {claimed.columns}x{claimed.rows} of {claimed.samples}"
                f" samples, where the data set says {image.columns}x{image.rows} of {image.samples}"
            )
