"""The session's own messages (wire §3, §4, §6).

MessagePack maps in CONTROL frames, distinguished by `kind`.
"""

import enum
from typing import Annotated, Final

import msgspec

from swallowtail.wire.frames import FrameType, frame
from swallowtail.wire.reasons import WireError

LOWEST_VERSION: Final = 1
HIGHEST_VERSION: Final = 1
"""The versions of the wire that this release supports (wire §3)."""
MAX_ECHO_AFTER: Final = 20.0  # wire §4
MAX_DEAD_AFTER: Final = 45.0

U64 = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Bytes16 = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Bytes32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Bytes64 = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]
Name = Annotated[str, msgspec.Meta(max_length=64)]
Text = Annotated[str, msgspec.Meta(max_length=1024)]
Names = Annotated[tuple[Name, ...], msgspec.Meta(max_length=256)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]


class RefuseReason(enum.StrEnum):
    """Why a hello was refused (wire §3)."""

    VERSION = "version"
    CODE = "code"
    KEY = "key"
    BUSY = "busy"
    CAPABILITY = "capability"


class GoodbyeReason(enum.StrEnum):
    """Why a session ends (wire §6)."""

    REPLACED = "replaced"
    REVOKED = "revoked"
    ROTATED = "rotated"
    DRAINING = "draining"
    REBOUND = "rebound"


class Control(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Base of the session's messages."""


class Challenge(Control, tag="challenge", frozen=True, kw_only=True):
    """Cloud → Link, the first message: the versions that the Cloud supports, and a nonce."""

    versions: tuple[int, int]
    nonce: Bytes32


class Hello(Control, tag="hello", frozen=True, kw_only=True):
    """Link → Cloud: its identity, and the proof of its key."""

    version: int
    release: Text
    capabilities: Names
    code: Text
    key: Bytes32
    proof: Bytes64
    budget: U64
    channels: U64

    def __repr__(self) -> str:
        return f"Hello(version={self.version}, release={self.release!r})"  # the code is a secret


class Welcome(Control, tag="welcome", frozen=True, kw_only=True):
    """Cloud → Link: the session is open."""

    version: int
    session: Bytes16
    epoch: U64
    capabilities: Names
    budget: U64
    channels: U64
    time: float
    echo_after: Annotated[float, msgspec.Meta(gt=0, le=MAX_ECHO_AFTER)] = MAX_ECHO_AFTER
    dead_after: Annotated[float, msgspec.Meta(gt=0, le=MAX_DEAD_AFTER)] = MAX_DEAD_AFTER


class Refuse(Control, tag="refuse", frozen=True, kw_only=True):
    """Cloud → Link: the hello is refused.

    `reason` is one of RefuseReason, or one that a newer Cloud has.
    """

    reason: Name
    detail: Text = ""
    retry_after: Seconds = 0.0


class Echo(Control, tag="echo", frozen=True, kw_only=True):
    """A request for `echoed`, sent after silence or to measure the round trip."""

    id: Annotated[int, msgspec.Meta(ge=0)]


class Echoed(Control, tag="echoed", frozen=True, kw_only=True):
    """The answer to `echo`, with its `id`."""

    id: Annotated[int, msgspec.Meta(ge=0)]


class Budget(Control, tag="budget", frozen=True, kw_only=True):
    """The bytes that the sender of this message accepts on all channels together (wire §5)."""

    bytes: U64


class Goodbye(Control, tag="goodbye", frozen=True, kw_only=True):
    """The session ends; `reason` is one of GoodbyeReason, or one that a newer peer has."""

    reason: Name
    detail: Text = ""
    retry_after: Seconds = 0.0


class _Kind(msgspec.Struct):
    kind: str


_encoder = msgspec.msgpack.Encoder()
_kind = msgspec.msgpack.Decoder(_Kind)
_decoders: Final = {
    str(kind.__struct_config__.tag): msgspec.msgpack.Decoder(kind)
    for kind in (Challenge, Hello, Welcome, Refuse, Echo, Echoed, Budget, Goodbye)
}


def control_frame(message: Control) -> bytes:
    """Build the CONTROL frame of `message`."""
    return frame(FrameType.CONTROL, 0, _encoder.encode(message))


def read_control(payload: memoryview) -> Control | None:
    """Read a CONTROL payload; None when its kind is unknown and to be ignored (wire §3)."""
    try:
        decoder = _decoders.get(_kind.decode(payload).kind)
        return None if decoder is None else decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"a CONTROL message cannot be read: {error} (wire §3)") from error
