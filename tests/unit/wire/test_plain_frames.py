"""The short way gives what the general parser gives, whatever the chunking, and leaves every
judgement to it.
"""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol
from websockets.utils import apply_mask

from swallowtail.wire.plain_frames import PlainFrames, plain_head

MAX = 65_536
messages = st.lists(st.binary(max_size=300) | st.integers(0, MAX).map(bytes), max_size=6)


def framed(
    *contents: bytes, opcode: Opcode = Opcode.BINARY, fin: bool = True, mask: bool = True
) -> bytes:
    return b"".join(Frame(opcode, content, fin).serialize(mask=mask) for content in contents)


def fed(reader: PlainFrames, stream: bytes, cuts: list[int]) -> list[tuple[bool, bytes]]:
    """Feed a stream in pieces; stretches for the general parser are joined."""
    borders = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    found: list[tuple[bool, bytes]] = []
    for start, end in itertools.pairwise(borders):
        for plain, content in reader.feed(stream[start:end]):
            if not plain and found and not found[-1][0]:
                found[-1] = (False, found[-1][1] + content)
            else:
                found.append((plain, content))
    return found


@given(messages, st.lists(st.integers(0, 1 << 20), max_size=8))
def test_any_chunking_gives_the_same_messages(contents: list[bytes], cuts: list[int]) -> None:
    assert fed(PlainFrames(MAX, apply_mask), framed(*contents), cuts) == [
        (True, content) for content in contents
    ]


@given(messages, st.lists(st.integers(0, 1 << 20), max_size=8))
def test_a_client_is_not_sent_masks(contents: list[bytes], cuts: list[int]) -> None:
    assert fed(PlainFrames(MAX), framed(*contents, mask=False), cuts) == [
        (True, content) for content in contents
    ]
    masked = framed(b"x")
    assert fed(PlainFrames(MAX), masked, cuts) == [(False, masked)]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_a_head_is_what_the_library_writes(size: int) -> None:
    content, key = bytes(size), b"mask"
    assert plain_head(size) + content == framed(content, mask=False)
    assert fed(
        PlainFrames(MAX, apply_mask), plain_head(size, key) + apply_mask(content, key), []
    ) == [(True, content)]


@given(st.lists(st.integers(0, 1 << 20), max_size=8))
def test_control_frames_go_to_the_general_parser_whole_and_in_order(cuts: list[int]) -> None:
    ping, close = (
        framed(b"are you there", opcode=Opcode.PING),
        framed(b"\x03\xe8", opcode=Opcode.CLOSE),
    )
    stream = framed(b"one") + ping + framed(b"two") + close
    assert fed(PlainFrames(MAX, apply_mask), stream, cuts) == [
        (True, b"one"),
        (False, ping),
        (True, b"two"),
        (False, close),
    ]


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (framed(b"x", mask=False), 1002),
        (framed(bytes(MAX + 1)), 1009),
        (b"\xf2\x81mask" + b"x", 1002),
        (framed(b"rest", opcode=Opcode.CONT), 1002),
        (framed(b"first", fin=False) + framed(b"not the rest"), 1002),
    ],
    # the masks are random, so the streams cannot name the tests: parallel workers would collect
    # different ones
    ids=["unmasked", "too long", "reserved bits", "rest of nothing", "fragments interrupted"],
)
@given(cuts=st.lists(st.integers(0, 1 << 20), max_size=8))
def test_what_is_not_plain_is_the_general_parsers_to_judge(
    stream: bytes, code: int | None, cuts: list[int]
) -> None:
    general = Protocol(SERVER, max_size=MAX)
    (before, *rest) = fed(
        PlainFrames(MAX, apply_mask), framed(b"before") + stream + framed(b"after"), cuts
    )
    assert before == (True, b"before")
    assert all(not plain for plain, _ in rest)
    general.receive_data(b"".join(content for _, content in rest))
    assert (general.close_sent.code if general.close_sent else None) == code


@given(st.lists(st.integers(0, 1 << 20), max_size=8))
def test_text_and_fragments_go_to_the_general_parser_and_what_follows_is_plain_again(
    cuts: list[int],
) -> None:
    text, first, ping = (
        framed(b"text", opcode=Opcode.TEXT),
        framed(b"first", fin=False),
        framed(b"x", opcode=Opcode.PING),
    )
    rest, last = framed(b"", opcode=Opcode.CONT, fin=False), framed(b"last", opcode=Opcode.CONT)
    stream = text + framed(b"one") + first + ping + rest + last + framed(b"two")
    expected = [(False, text), (True, b"one"), (False, first + ping + rest + last), (True, b"two")]
    assert fed(PlainFrames(MAX, apply_mask), stream, cuts) == expected


def test_one_frame_is_cut_at_a_time() -> None:
    reader = PlainFrames(MAX, apply_mask)
    stream = framed(*[b"x"] * 1000)
    reader.add(stream)
    assert [reader.cut(), reader.cut()] == [(True, b"x")] * 2
    assert reader.held == len(stream) - 2 * len(framed(b"x"))


@given(st.binary(max_size=2000), st.lists(st.integers(0, 1 << 20), max_size=8))
def test_garbage_is_handed_on_or_held_and_nothing_else(stream: bytes, cuts: list[int]) -> None:
    reader = PlainFrames(MAX, apply_mask)
    found = fed(reader, stream, cuts)
    assert sum(len(content) for _, content in found) <= len(stream)
    assert reader.held <= MAX + 14
