import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swallowtail.cloud.data_set.elements import (
    BIG_ENDIAN,
    IMPLICIT,
    MAX_DEPTH,
    MAX_ITEMS,
    PIXEL_DATA,
    Bytes,
    LocatedElement,
    MalformedDataSetError,
    Walk,
    name_of,
)
from swallowtail.cloud.index.source import FileSource

EXPLICIT = "1.2.840.10008.1.2.1"
END = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
SEQUENCE_END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
UNDEFINED = 0xFFFFFFFF


def walk(content: bytes, syntax: str = EXPLICIT) -> list[LocatedElement]:
    sequences = {0x00081140}
    return Walk(
        FileSource(io.BytesIO(content), len(content)),
        syntax,
        lambda tag: b"SQ" if tag in sequences else b"LO",
    ).elements()


def short(tag: int, value: bytes, vr: bytes = b"LO", claim: int | None = None) -> bytes:
    return (
        struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value) if claim is None else claim)
        + value
    )


def long(tag: int, value: bytes, vr: bytes = b"SQ", claim: int | None = None) -> bytes:
    return (
        struct.pack("<HH2s2xI", tag >> 16, tag & 0xFFFF, vr, len(value) if claim is None else claim)
        + value
    )


def item(value: bytes, claim: int | None = None) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value) if claim is None else claim) + value


NAME = short(0x00100010, b"Heron^Ada ", b"PN")


def test_top_level_elements_are_found_where_they_lie() -> None:
    content = NAME + long(0x00081140, item(NAME)) + long(PIXEL_DATA, b"pixels", b"OW")
    found = walk(content)
    assert [(one.tag, one.vr, content[one.start : one.end]) for one in found] == [
        (0x00100010, b"PN", b"Heron^Ada "),
        (0x00081140, b"SQ", item(NAME)),
        (PIXEL_DATA, b"OW", b"pixels"),
    ]
    assert [one.begin for one in found] == [0, len(NAME), len(NAME) + 12 + len(item(NAME))]


def test_fragments_are_told_with_the_offset_table_first() -> None:
    content = NAME + long(
        PIXEL_DATA, item(b"") + item(b"jpeg one") + item(b"two!") + SEQUENCE_END, b"OB", UNDEFINED
    )
    fragments = walk(content)[1].fragments
    assert fragments is not None
    assert [content[start : start + length] for start, length in fragments] == [
        b"",
        b"jpeg one",
        b"two!",
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        long(0x00081140, b""),
        long(0x00081140, item(b"") * 3),
        long(0x00081140, item(NAME) + SEQUENCE_END, claim=UNDEFINED),
        long(0x00081140, item(NAME + END, UNDEFINED) + item(NAME) + SEQUENCE_END, claim=UNDEFINED),
        long(
            0x00091001,
            item(struct.pack("<HHI", 0x10, 0x10, 4) + b"Ada ") + SEQUENCE_END,
            b"UN",
            UNDEFINED,
        ),
    ],
    ids=range(6),
)
def test_every_legal_form_of_a_sequence_is_walked(content: bytes) -> None:
    assert sum(one.end - one.begin for one in walk(content)) == len(content)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (NAME[:-1], "claims 10 bytes where 9 are left"),
        (NAME[:6], "ends at 6"),
        (NAME + b"\0", "ends at 19"),
        (
            long(PIXEL_DATA, b"1234", b"OW", 0xFFFFFFFE),
            r"\(7FE0,0010\) at 12 claims 4294967294 bytes where 4 are left",
        ),
        (short(0x00100010, b"", b"zz"), "no known VR"),
        (long(0x00081140, item(NAME, 99)), "claims 99 bytes"),
        (long(0x00081140, NAME), "is in the place of an item"),
        (long(0x00081140, item(NAME), claim=UNDEFINED), "a sequence has no end"),
        (long(0x00081140, item(NAME, UNDEFINED)), "has no end"),
        (long(0x00081140, SEQUENCE_END), "is in the place of an item"),
        (long(0x00081140, item(NAME, len(NAME) + 4) + NAME), "claims"),
        (END + NAME, "is in the place of an element"),
        (long(PIXEL_DATA, item(b"") + item(b"jpeg"), b"OB", UNDEFINED), "no end"),
        (
            long(PIXEL_DATA, item(b"") + NAME + SEQUENCE_END, b"OB", UNDEFINED),
            "in the place of a fragment",
        ),
        (
            long(PIXEL_DATA, item(b"", UNDEFINED) + SEQUENCE_END, b"OB", UNDEFINED),
            "in the place of a fragment",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(content: bytes, problem: str) -> None:
    with pytest.raises(MalformedDataSetError, match=problem):
        walk(content)


def nested(depth: int) -> bytes:
    content = NAME
    for _ in range(depth):
        content = long(0x00081140, item(content))
    return content


def test_depth_is_bounded() -> None:
    assert len(walk(nested(MAX_DEPTH))) == 1
    with pytest.raises(MalformedDataSetError, match="nested more than 64 deep"):
        walk(nested(MAX_DEPTH + 1))


def test_items_are_bounded() -> None:
    assert len(walk(long(0x00081140, item(b"") * MAX_ITEMS))) == 1
    with pytest.raises(MalformedDataSetError, match="more than 100000 items"):
        walk(long(0x00081140, item(b"") * (MAX_ITEMS + 1)))


def test_elements_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swallowtail.cloud.data_set.elements.MAX_ELEMENTS", 100)
    assert len(walk(NAME * 100)) == 100
    with pytest.raises(MalformedDataSetError, match="more than 100 elements"):
        walk(NAME * 50 + long(0x00081140, item(NAME * 51)))


def test_implicit_vr_takes_sequences_from_the_dictionary() -> None:
    inner = struct.pack("<HHI", 0x10, 0x10, 4) + b"Ada "
    content = struct.pack("<HHI", 0x08, 0x1140, 8 + len(inner)) + item(inner)
    assert [one.vr for one in walk(content + inner, IMPLICIT)] == [b"SQ", b"LO"]
    with pytest.raises(MalformedDataSetError):
        walk(struct.pack("<HHI", 0x08, 0x1140, len(inner)) + inner, IMPLICIT)


def test_big_endian_is_read_as_such() -> None:
    content = struct.pack(">HH2sH", 0x10, 0x10, b"PN", 4) + b"Ada "
    assert [(one.tag, one.end) for one in walk(content, BIG_ENDIAN)] == [(0x00100010, 12)]


def test_a_tag_is_named_as_people_write_it() -> None:
    assert name_of(PIXEL_DATA) == "(7FE0,0010)"


@given(st.binary(max_size=200), st.sampled_from([EXPLICIT, IMPLICIT, BIG_ENDIAN]))
def test_garbage_is_walked_whole_or_malformed(content: bytes, syntax: str) -> None:
    try:
        found = walk(content, syntax)
    except MalformedDataSetError:
        return
    assert sum(one.end - one.begin for one in found) == len(content)


def test_a_beginning_tells_what_stands_whole_in_it_and_complains_of_nothing() -> None:
    content = (
        NAME
        + long(0x00101002, item(NAME))
        + short(0x0020000D, b"1.2.3\0", b"UI")
        + short(0x00200010, b"S1")
    )
    for cut in range(len(content)):
        found = Walk(Bytes(content[:cut]), EXPLICIT, lambda _: b"UN").beginning(0x0020000D)
        ends = [one.end for one in walk(content)]
        assert [one.end for one in found] == [end for end in ends[:3] if end <= cut], cut
    assert len(Walk(Bytes(content), EXPLICIT, lambda _: b"UN").beginning(0x0020000D)) == 3


def test_large_values_within_sequences_are_told_with_their_path() -> None:
    big = long(0x54001010, b"w" * 1100, b"OW")
    icon = long(PIXEL_DATA, item(b"") + item(b"jpeg") + SEQUENCE_END, b"OB", UNDEFINED)
    inner = item(NAME) + item(
        long(0x00091010, b"", claim=UNDEFINED) + item(big, UNDEFINED) + END + SEQUENCE_END
    )
    content = long(0x54000100, inner) + long(0x00880200, item(icon))
    source = Bytes(content)
    one = Walk(source, EXPLICIT, lambda _: b"UN")
    one.elements()
    assert list(one.large) == [
        (0x54000100, 1, 0x00091010, 0, 0x54001010),
        (0x00880200, 0, PIXEL_DATA),
    ]
    waveform, pixels = one.large.values()
    assert source.take(waveform.start, waveform.end - waveform.start) == b"w" * 1100
    assert [source.take(*fragment) for fragment in pixels.fragments or ()] == [b"", b"jpeg"]
