"""Messages of calls as bytes.

MessagePack of msgspec structs, with a size limit and an error that names the field.
"""

from typing import Final, Generic, TypeVar

import msgspec

T = TypeVar("T")

MAX_MESSAGE: Final = 65_528  # wire §2: a MESSAGE is never split

_encoder = msgspec.msgpack.Encoder()


class MalformedCallError(Exception):
    """A message of a call could not be read."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the messages of calls."""


def encode(message: msgspec.Struct) -> bytes:
    """Return the bytes of `message`.

    Raises MalformedCallError when they do not fit into one MESSAGE.
    """
    data = _encoder.encode(message)
    if len(data) > MAX_MESSAGE:
        raise MalformedCallError(
            f"{type(message).__name__} takes {len(data)} bytes; a message holds {MAX_MESSAGE}"
        )
    return data


class Reader(Generic[T]):
    """A decoder of one kind of message, or of a union of tagged ones."""

    def __init__(self, kind: object, *, limit: int = MAX_MESSAGE) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kind)
        self._limit = limit

    def __call__(self, data: bytes | memoryview) -> T:
        """Return the message; raises MalformedCallError that names the field."""
        if len(data) > self._limit:
            raise MalformedCallError(f"a message of {len(data)} bytes; the limit is {self._limit}")
        try:
            return self._decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedCallError(str(error)) from error
