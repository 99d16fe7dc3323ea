"""The payloads of the wire's frames: a frame type, then the payload.

What is read survives its own bytes.
"""

from swallowtail.wire.control import control_frame, read_control
from swallowtail.wire.frames import (
    HEADER,
    MAX_FRAME,
    MAX_PAYLOAD,
    FrameType,
    credit_frame,
    opening_frame,
    read_credit,
    read_opening,
    read_reset,
    reset_frame,
)
from swallowtail.wire.reasons import WireError


def check(data: bytes) -> None:
    """Decode, encode, decode, by the type that the first byte names."""
    if not data:
        return
    payload = memoryview(data)[1 : 1 + MAX_PAYLOAD]
    try:
        _check(data[0] % len(FrameType), payload)
    except WireError:
        return


def _check(kind: int, payload: memoryview) -> None:
    match kind:
        case FrameType.CONTROL:
            if (message := read_control(payload)) is not None:
                raw = control_frame(message)
                again = read_control(memoryview(raw)[HEADER.size :])
                assert again is not None
                assert control_frame(again) == raw  # bytes, since a time may be NaN
        case FrameType.OPEN:
            opening = read_opening(payload)
            raw = opening_frame(1, opening, fin=False)
            assert len(raw) <= MAX_FRAME
            assert read_opening(memoryview(raw)[HEADER.size :]) == opening
        case FrameType.CREDIT:
            credit = read_credit(payload)
            assert credit_frame(1, credit)[HEADER.size :] == payload
        case FrameType.RESET:
            reason, text = read_reset(payload)
            again_reason, again_text = read_reset(
                memoryview(reset_frame(1, reason, text))[HEADER.size :]
            )
            assert again_reason is reason
            assert text.startswith(again_text)  # what was no UTF-8 takes more room and may be cut
