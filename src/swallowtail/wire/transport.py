"""The transport below a session, which carries complete messages (wire §1).

A WebSocket, or its twin in a test.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from swallowtail.wire.frames import Frame

SUBPROTOCOL: Final = "swallowtail.1"  # wire §1
UNSENT_LIMIT: Final = (
    32 * 1024
)  # wire §6: of each buffer below the scheduler, the kernel's and the transport's
JOIN_LIMIT: Final = (
    16 * 1024
)  # wire §6: frames that wait together leave in one write, until they are so long
WRITES_PER_TURN: Final = 4
"""A lost connection is reported in another turn of the loop.

Asyncio logs a warning for the fifth write to it, and each further one.
"""
FLOOD_LIMIT: Final = 1024 * 1024
"""More than this waits only when the peer pings (wire §1.

Nobody does) and reads no pong, which libraries keep without bound.
"""


class TransportClosedError(Exception):
    """The transport is closed; `code` and `text` are the peer's, or 1006 when it stated nothing."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"closed with {code} {text}".rstrip())
        self.code, self.text = code, text


class FrameTransport(Protocol):
    """Carries whole messages, in order.

    `send` and `receive` raise TransportClosedError once it is closed; `close` never fails.
    """

    async def send(self, frames: Sequence[Frame]) -> None:
        """Send each as one message, all in one write.

        Returns when little waits below (UNSENT_LIMIT). Frames are not changed afterwards.
        """

    async def receive(self) -> Sequence[bytes]:
        """Wait for binary messages.

        Gives all that are present, one at least, whose bytes the caller then owns.
        """

    async def close(self, code: int, text: str) -> None:
        """Close, reporting the peer why; returns within a few seconds, whatever the peer does."""
