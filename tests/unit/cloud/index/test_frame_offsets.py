import io
import struct

import pytest

from swallowtail.cloud.data_set.elements import PIXEL_DATA, LocatedElement, MalformedDataSetError
from swallowtail.cloud.index.frame_offsets import Image, encapsulated, native
from swallowtail.cloud.index.source import FileSource
from swallowtail.cloud.model.indexing import FrameIndex


def image(frames: int = 1, **more: object) -> Image:
    return Image(
        **({"frames": frames, "rows": 4, "columns": 5, "samples": 1, "bits_allocated": 16} | more)
    )


def pixels(length: int) -> LocatedElement:
    return LocatedElement(PIXEL_DATA, b"OW", 88, 100, 100 + length)


@pytest.mark.parametrize(
    ("length", "what", "spans"),
    [
        (40, image(), ((100, 40),)),
        (120, image(3), ((100, 40), (140, 40), (180, 40))),
        (42, image(), ((100, 40),)),
        (60, image(bits_allocated=8, samples=3), ((100, 60),)),
        (40, image(bits_allocated=8, samples=3, photometric="YBR_FULL_422"), ((100, 40),)),
        (4, image(bits_allocated=1), ()),
        (0, image(rows=0), ()),
    ],
)
def test_native_frames_lie_one_after_the_other(
    length: int, what: Image, spans: tuple[tuple[int, int], ...]
) -> None:
    assert native(pixels(length), what) == FrameIndex(spans=spans)


def test_too_few_pixels_are_malformed() -> None:
    with pytest.raises(MalformedDataSetError, match="119 bytes where 3 frames need 120"):
        native(pixels(119), image(3))


def fragmented(*fragments: bytes, table: bytes = b"") -> tuple[LocatedElement, FileSource]:
    content = bytearray()
    places = []
    for fragment in (table, *fragments):
        content += struct.pack("<HHI", 0xFFFE, 0xE000, len(fragment))
        places.append((len(content), len(fragment)))
        content += fragment
    return LocatedElement(PIXEL_DATA, b"OB", 0, 0, len(content), tuple(places)), FileSource(
        io.BytesIO(bytes(content)), len(content)
    )


def frames_of(
    frames: int, *fragments: bytes, table: bytes = b"", extended: bytes = b""
) -> list[bytes]:
    element, source = fragmented(*fragments, table=table)
    found = encapsulated(element, image(frames), source, extended=extended)
    assert found.encapsulated
    return [
        b"".join(source.take(*span[start : start + 2]) for start in range(0, len(span), 2))
        for span in found.spans
    ]


END = b"\xff\xd9"


def test_one_fragment_is_one_frame() -> None:
    assert frames_of(2, b"one.", b"two.") == [b"one.", b"two."]


def test_a_single_frame_takes_all_fragments() -> None:
    assert frames_of(1, b"one.", b"two.") == [b"one.two."]


@pytest.mark.parametrize("layout", ["<I", "<Q"])
def test_a_table_groups_fragments(layout: str) -> None:
    table = struct.pack(layout, 0) + struct.pack(layout, 24)
    given = {"table": table} if layout == "<I" else {"extended": table}
    assert frames_of(2, b"on..", b"one.", b"two.", **given) == [b"on..one.", b"two."]


def test_without_table_a_frame_ends_with_its_image() -> None:
    assert frames_of(2, b"on", b"e " + END, b"tw", b"o " + END) == [b"one " + END, b"two " + END]


@pytest.mark.parametrize("table", [b"", struct.pack("<II", 0, 99), struct.pack("<II", 4, 24)])
def test_frames_that_cannot_be_told_apart_are_not_told(table: bytes) -> None:
    assert frames_of(2, b"abcd", b"efgh", b"ijkl", table=table) == []


def test_no_fragment_at_all_is_malformed() -> None:
    with pytest.raises(MalformedDataSetError, match="no fragment"):
        frames_of(1)
