"""Stray frames (wire §2): on channels that have ended here, or of unknown types.

A conforming peer sends them too: bytes that it was granted may be in flight when we reset a
channel, and a later release may have more types. Those are accepted; the session of a peer that
sends more is closed.
"""

from typing import Final

from swallowtail.sansio.token_bucket import Rate, TokenBucket
from swallowtail.wire.reasons import CloseCode, WireError

CROSSING_FRAMES: Final = 3
"""Frames without payload that may cross the end of a channel.

An empty FIN, RESET, and the CREDIT that answers OPEN.
"""
MAX_CROSSING: Final = 64 * 1024 * 1024
"""More than a session can ever have granted at once (wire §5)."""
UNCOVERED: Final = Rate(per_second=16.0, burst=256.0)
"""Rate of the frames that `crossing` does not cover (wire §2)."""


class Strays:
    """The account of stray frames.

    Units are payload bytes; a frame without payload, and CREDIT, counts as one.

    Rejected: a plain rate of frames, which a conforming peer exceeds whenever a channel that fills
    its window is reset.
    """

    def __init__(self, now: float) -> None:
        self.crossing = 0
        self._uncovered = TokenBucket(UNCOVERED, now)

    def channel_ended(self, in_flight: int) -> None:
        """Add what a conforming peer may have in flight on a channel that has ended."""
        self.crossing = min(self.crossing + in_flight, MAX_CROSSING)

    def on_ended(self, size: int, now: float) -> None:
        """Count a frame of `size` units on a channel that has ended.

        Raises WireError beyond the limit.
        """
        if size <= self.crossing:
            self.crossing -= size
        else:
            self.unknown(now)

    def unknown(self, now: float) -> None:
        """Count a frame of unknown type; raises WireError beyond the limit."""
        if self._uncovered.take(now):
            raise WireError(
                "too many frames that belong to no channel or call (wire §2)", CloseCode.LIMIT
            )
