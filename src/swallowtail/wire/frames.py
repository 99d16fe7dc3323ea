"""Frames (wire §2): eight bytes of header, then at most 65,528 of payload.

One frame is one WebSocket message.

Frames to send are contiguous `bytes` or `bytearray`, built once; received ones are read in place
through a memoryview.
"""

import enum
import struct
from typing import Any, Final, NamedTuple

import msgspec

from swallowtail.wire.reasons import ResetReason, WireError

MAX_FRAME: Final = 65_536
MAX_PAYLOAD: Final = 65_528
HEADER: Final = struct.Struct(">BBHI")  # type, flags, reserved, channel
FIN: Final = 1
MAX_RESET_TEXT: Final = 256
MAX_OPENING_CREDIT: Final = 1 << 20  # wire §5

Frame = bytes | bytearray

_CREDIT = struct.Struct(">QQ")
_REASON = struct.Struct(">H")


class FrameType(enum.IntEnum):
    """The type of a frame (wire §2)."""

    CONTROL = 0
    OPEN = 1
    DATA = 2
    MESSAGE = 3
    CREDIT = 4
    RESET = 5


class ChannelPriority(enum.IntEnum):
    """The priority of a channel's frames; control (0) is the session's own (wire §6)."""

    INTERACTIVE = 1
    BULK = 2


class Opening(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The payload of OPEN."""

    call: str
    priority: ChannelPriority
    credit: int = 0
    body: bytes = b""


class Credit(NamedTuple):
    """The payload of CREDIT.

    Everything below `received` may be discarded, everything below `limit` may be sent.
    """

    received: int
    limit: int


_encoder = msgspec.msgpack.Encoder()
_opening: msgspec.msgpack.Decoder[Opening] = msgspec.msgpack.Decoder(Opening)


def frame(
    kind: FrameType, channel: int, payload: bytes | memoryview = b"", *, fin: bool = False
) -> bytes:
    """Build a frame; `payload` must be at most MAX_PAYLOAD long."""
    return b"".join((HEADER.pack(kind, fin, 0, channel), payload))


def opening_frame(channel: int, opening: Opening, *, fin: bool) -> bytes:
    """Build OPEN; the caller checks that it is at most MAX_FRAME long."""
    return frame(FrameType.OPEN, channel, _encoder.encode(opening), fin=fin)


def read_opening(payload: memoryview) -> Opening:
    """Read OPEN."""
    try:
        opening = _opening.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"OPEN cannot be read: {error} (wire §2)") from error
    if len(opening.call) > 64:
        raise WireError("OPEN names a call of more than 64 characters (wire §2)")
    if not 0 <= opening.credit <= MAX_OPENING_CREDIT:
        raise WireError(f"OPEN grants itself {opening.credit} bytes (wire §5)")
    return opening


def credit_frame(channel: int, credit: Credit) -> bytes:
    """Build CREDIT."""
    return frame(FrameType.CREDIT, channel, _CREDIT.pack(*credit))


def read_credit(payload: memoryview) -> Credit:
    """Read CREDIT."""
    return Credit._make(_unpack(_CREDIT, payload, "CREDIT"))


def reset_frame(channel: int, reason: ResetReason, text: str) -> bytes:
    """Build RESET; the text is cut to what the wire carries."""
    cut = text.encode("utf-8", "replace")[:MAX_RESET_TEXT].decode("utf-8", "ignore").encode()
    return frame(FrameType.RESET, channel, _REASON.pack(reason) + cut)


def read_reset(payload: memoryview) -> tuple[ResetReason, str]:
    """Read RESET."""
    if not _REASON.size <= len(payload) <= _REASON.size + MAX_RESET_TEXT:
        raise WireError(f"RESET has a payload of {len(payload)} bytes (wire §2)")
    (code,) = _REASON.unpack_from(payload)
    return ResetReason.read(code), str(payload[_REASON.size :], "utf-8", "replace")


def _unpack(layout: struct.Struct, payload: memoryview, name: str) -> tuple[Any, ...]:
    if len(payload) != layout.size:
        raise WireError(
            f"{name} has a payload of {len(payload)} bytes instead of {layout.size} (wire §2)"
        )
    return layout.unpack(payload)
