"""Frames byte by byte, and what each reader refuses."""

import msgspec
import pytest

from swallowtail.wire import frames
from swallowtail.wire.frames import ChannelPriority, Credit, FrameType, Opening
from swallowtail.wire.reasons import ResetReason, WireError


def test_frames_are_the_page_s_byte_by_byte():
    assert (
        frames.frame(FrameType.DATA, 0x01020304, b"ab", fin=True)
        == b"\x02\x01\x00\x00\x01\x02\x03\x04ab"
    )
    assert (
        frames.credit_frame(5, Credit(1, 2))
        == b"\x04\0\0\0\0\0\0\5" + bytes(7) + b"\1" + bytes(7) + b"\2"
    )
    assert frames.reset_frame(5, ResetReason.LIMIT, "é") == b"\x05\0\0\0\0\0\0\5\0\6\xc3\xa9"
    opening = frames.opening_frame(
        1, Opening(call="c", priority=ChannelPriority.BULK, credit=3), fin=False
    )
    assert opening[:8] == b"\x01\0\0\0\0\0\0\1"
    assert msgspec.msgpack.decode(opening[8:]) == {"call": "c", "priority": 2, "credit": 3}


def test_a_reset_s_text_is_cut_between_characters():
    text = "é" * 200
    assert frames.read_reset(memoryview(frames.reset_frame(1, ResetReason.INTERNAL, text)[8:])) == (
        ResetReason.INTERNAL,
        "é" * 128,
    )


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"call": "c"},
        {"call": "c", "priority": 3},
        {"call": "c" * 65, "priority": 1},
        {"call": "c", "priority": 1, "credit": -1},
        {"call": "c", "priority": 1, "credit": (1 << 20) + 1},
        {"call": "c", "priority": 1, "body": 5},
    ],
)
def test_openings_that_are_refused(fields):
    with pytest.raises(WireError, match="OPEN"):
        frames.read_opening(memoryview(msgspec.msgpack.encode(fields)))


def test_unknown_keys_are_ignored():
    payload = msgspec.msgpack.encode({"call": "c", "priority": 1, "colour": "red"})
    assert frames.read_opening(memoryview(payload)) == Opening(
        call="c", priority=ChannelPriority.INTERACTIVE
    )
