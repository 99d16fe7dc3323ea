"""The transport below a session, which carries complete messages (wire §1).

A WebSocket, or its replacement in a test.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from swallowtail.wire.frames import Frame

SUBPROTOCOL: Final = "swallowtail.1"  # wire §1
UNSENT_LIMIT: Final = 32 * 1024
"""Unsent bytes in each buffer below the scheduler, the kernel's and the transport's (wire §6)."""
JOIN_LIMIT: Final = 16 * 1024
"""Waiting frames are sent in one write up to this many bytes (wire §6)."""
WRITES_PER_TURN: Final = 4
"""Writes in one turn of the loop: a lost connection is reported in another one.

Asyncio logs a warning for the fifth write to it, and each further one.
"""
FLOOD_LIMIT: Final = 1024 * 1024
"""Unsent bytes at which the connection is aborted.

So many wait only when the peer pings, against wire §1, and does not read the pongs, which libraries
queue without bound.
"""


class TransportClosedError(Exception):
    """The transport is closed; `code` and `text` are the peer's, or 1006 when it sent none."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"closed with {code} {text}".rstrip())
        self.code, self.text = code, text


class FrameTransport(Protocol):
    """A transport that carries whole messages, in order.

    `send` and `receive` raise TransportClosedError once it is closed; `close` never fails.
    """

    async def send(self, frames: Sequence[Frame]) -> None:
        """Send each as one message, all in one write.

        Returns when little waits below (UNSENT_LIMIT). Frames are not changed afterwards.
        """

    async def receive(self) -> Sequence[bytes]:
        """Wait for binary messages.

        Returns all that are present, at least one; the caller owns their bytes.
        """

    async def close(self, code: int, text: str) -> None:
        """Close with a code and reason; returns within a few seconds, whatever the peer does."""
