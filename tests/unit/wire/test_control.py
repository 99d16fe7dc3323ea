"""The session's own messages."""

import msgspec
import pytest

from swallowtail.wire import control
from swallowtail.wire.reasons import WireError

MESSAGES = [
    control.Challenge(versions=(1, 2), nonce=b"n" * 32),
    control.Hello(
        version=1,
        release="1",
        capabilities=("a",),
        code="C",
        key=b"k" * 32,
        proof=b"p" * 64,
        budget=5,
        channels=6,
    ),
    control.Welcome(
        version=1,
        session=b"s" * 16,
        epoch=3,
        capabilities=(),
        budget=5,
        channels=6,
        time=0.0,
        dead_after=25.0,
    ),
    control.Refuse(reason="code", detail="d", retry_after=1.0),
    control.Echo(id=2**64 - 1),
    control.Echoed(id=0),
    control.Budget(bytes=5),
    control.Goodbye(reason="draining"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_messages_read_what_they_wrote(message):
    built = control.control_frame(message)
    assert built[:8] == bytes(8)
    assert msgspec.msgpack.decode(built[8:])["kind"] == type(message).__name__.lower()
    assert control.read_control(memoryview(built)[8:]) == message


def read(**fields):
    return control.read_control(memoryview(msgspec.msgpack.encode(fields)))


def test_unknown_kinds_and_keys_are_ignored():
    assert read(kind="new", anything=[1, 2]) is None
    assert read(kind="echo", id=4, more={}) == control.Echo(id=4)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"kind": 5},
        {"kind": "echo"},
        {"kind": "echo", "id": -1},
        {"kind": "goodbye", "reason": "r" * 65},
        {"kind": "refuse", "reason": "code", "retry_after": -1},
        {"kind": "refuse", "reason": "code", "retry_after": 1e9},
        {"kind": "refuse", "reason": "code", "retry_after": float("nan")},
        {"kind": "refuse", "reason": "code", "detail": "d" * 1025},
        {"kind": "challenge", "versions": [1, 1], "nonce": bytes(31), "time": 0.0, "release": ""},
    ],
)
def test_messages_that_are_refused(fields):
    with pytest.raises(WireError, match="CONTROL"):
        read(**fields)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xc1", b"\x81" * 60_000, b"\x91" * 60_000, b"\x81\xa4kind\xa4\xff\xff\xff\xff"],
)
def test_what_is_no_map_is_refused(payload):
    with pytest.raises(WireError):
        control.read_control(memoryview(payload))
