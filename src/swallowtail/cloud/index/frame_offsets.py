"""The byte ranges of the frames in a blob.

With them one frame is read by range, without decoding.
"""

import struct
from dataclasses import dataclass
from typing import Final

from swallowtail.cloud.data_set.elements import LocatedElement, MalformedDataSetError
from swallowtail.cloud.index.source import FileSource
from swallowtail.cloud.model.indexing import FrameIndex

_END_OF_IMAGE: Final = b"\xff\xd9"  # JPEG, JPEG-LS and JPEG 2000 code streams end with it


@dataclass(frozen=True, slots=True)
class Image:
    """The attributes of the Image Pixel module (PS3.3 C.7.6.3)."""

    frames: int
    rows: int
    columns: int
    samples: int
    bits_allocated: int
    photometric: str = ""

    @property
    def frame_bits(self) -> int:
        """Return the number of bits of one frame in native format.

        Chrominance of YBR_FULL_422 is halved (PS3.3 C.7.6.3.1.2).
        """
        samples = 2 if self.photometric == "YBR_FULL_422" else self.samples
        return self.rows * self.columns * samples * self.bits_allocated


def native(pixels: LocatedElement, image: Image) -> FrameIndex:
    """Index uncompressed pixel data (PS3.5 8.1.1).

    Raises MalformedDataSetError when it is too short for its frames.
    """
    bits, length = image.frame_bits, pixels.end - pixels.start
    if bits * image.frames > length * 8:
        raise MalformedDataSetError(
            f"the pixel data has {length} bytes where {image.frames} frames need"
            f" {bits * image.frames // 8}"
        )
    if bits == 0 or bits % 8:
        return FrameIndex()  # frames of single bits do not begin at bytes
    size = bits // 8
    return FrameIndex(
        spans=tuple((pixels.start + number * size, size) for number in range(image.frames))
    )


def encapsulated(
    pixels: LocatedElement, image: Image, source: FileSource, *, extended: bytes = b""
) -> FrameIndex:
    """Index encapsulated pixel data (PS3.5 A.4).

    `extended` is the Extended Offset Table (7FE0,0001) where there is one.
    """
    table, *fragments = pixels.fragments or ((0, 0),)
    if not fragments:
        raise MalformedDataSetError("the encapsulated pixel data has no fragment")
    offsets = _offsets(source.take(*table), "<I", image.frames) or _offsets(
        extended, "<Q", image.frames
    )
    groups = (
        _one_each(fragments, image.frames)
        or _by_offset(fragments, offsets)
        or _by_end_of_image(fragments, image.frames, source)
    )
    spans = tuple(tuple(number for fragment in group for number in fragment) for group in groups)
    return FrameIndex(spans=spans, encapsulated=True)


def video(pixels: LocatedElement) -> FrameIndex:
    """Index a video (PS3.5 8.2.5 to 8.2.8): all of its fragments together are one stream."""
    _, *fragments = pixels.fragments or ((0, 0),)
    return FrameIndex(
        spans=(tuple(number for fragment in fragments for number in fragment),), encapsulated=True
    )


Groups = list[list[tuple[int, int]]]


def _offsets(table: bytes, layout: str, frames: int) -> list[int]:
    width = struct.calcsize(layout)
    if len(table) != width * frames:
        return []
    return [number for (number,) in struct.iter_unpack(layout, table)]


def _one_each(fragments: list[tuple[int, int]], frames: int) -> Groups:
    if frames == 1:
        return [fragments]
    return [[fragment] for fragment in fragments] if len(fragments) == frames else []


def _by_offset(fragments: list[tuple[int, int]], offsets: list[int]) -> Groups:
    """Group the fragments by an offset table.

    Its offsets count from the first fragment's item tag, 8 bytes before its value.
    """
    base = fragments[0][0]
    groups: Groups = []
    begins = set(offsets)
    for start, length in fragments:
        if start - base in begins:
            groups.append([])
        if not groups:
            return []
        groups[-1].append((start, length))
    return groups if len(groups) == len(offsets) else []


def _by_end_of_image(fragments: list[tuple[int, int]], frames: int, source: FileSource) -> Groups:
    groups: Groups = [[]]
    for start, length in fragments:
        groups[-1].append((start, length))
        tail = min(length, 10)
        if _END_OF_IMAGE in source.take(start + length - tail, tail):
            groups.append([])
    groups = [group for group in groups if group]
    return groups if len(groups) == frames else []
