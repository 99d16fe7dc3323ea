"""The body of a call, at both ends (wire §8): DATA …, then MESSAGE(TransferEnd) with FIN.

Two machines without I/O. The sender's counts what it sends and accepts a positive response only
with its own numbers, after everything was sent. The receiver's compares what arrived with what was
announced and with the sender's numbers, before the body is used.
"""

import zlib

from swallowtail.calls.codec import Call, MalformedCallError, Reader
from swallowtail.sansio.errors import LocalProtocolError
from swallowtail.sansio.machine import Bytes


class TransferEnd(Call, frozen=True, kw_only=True):
    """The last message of a body: its length in bytes and its CRC-32."""

    length: int
    crc32: int


class Confirmation(Call, frozen=True, kw_only=True):
    """Base of positive responses to a transfer, which repeat the receiver's numbers."""

    length: int
    crc32: int


read_transfer_end: Reader[TransferEnd] = Reader(TransferEnd)


class TransferDamagedError(Exception):
    """The body did not arrive as it was sent; the text names the difference."""


class OutgoingTransfer:
    """The sender's side of one transfer."""

    def __init__(self) -> None:
        self.length = 0
        self.crc32 = 0
        self.ended = False

    def update(self, data: Bytes) -> None:
        """Count bytes that are sent."""
        if self.ended:
            raise LocalProtocolError("bytes after the end of a transfer")
        self.length += len(data)
        self.crc32 = zlib.crc32(data, self.crc32)

    def end(self) -> TransferEnd:
        """Return the last message; nothing follows it."""
        self.ended = True
        return TransferEnd(length=self.length, crc32=self.crc32)

    def is_confirmed_by(self, response: Confirmation) -> bool:
        """Return whether `response` confirms this body, all of which was sent."""
        return self.ended and (response.length, response.crc32) == (self.length, self.crc32)


class IncomingTransfer:
    """The receiver's side of one transfer; `announced` is its length, where the call states it."""

    def __init__(self, announced: int | None = None) -> None:
        self._announced = announced
        self._length = 0
        self._crc32 = 0

    def update(self, data: Bytes) -> None:
        """Count bytes that arrived; raises TransferDamagedError if they are too many."""
        self._length += len(data)
        if self._announced is not None and self._length > self._announced:
            raise TransferDamagedError(f"more than the {self._announced} bytes that were announced")
        self._crc32 = zlib.crc32(data, self._crc32)

    def finish(self, end: TransferEnd | None) -> TransferEnd:
        """Return the end of a body that is complete; raises TransferDamagedError.

        None is a body that stopped without its end.
        """
        if end is None:
            raise TransferDamagedError("the body ended without its length and checksum")
        if self._announced is not None and end.length != self._announced:
            raise TransferDamagedError(
                f"{end.length} bytes were sent, {self._announced} were announced"
            )
        if end.length != self._length:
            raise TransferDamagedError(f"{self._length} of {end.length} bytes arrived")
        if end.crc32 != self._crc32:
            raise TransferDamagedError("the checksum does not match")
        return end


def read_end(message: bytes) -> TransferEnd:
    """Return the end of a body; raises TransferDamagedError."""
    try:
        return read_transfer_end(message)
    except MalformedCallError as error:
        raise TransferDamagedError(f"the end of the body is invalid: {error}") from error
