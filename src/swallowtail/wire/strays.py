"""Frames that belong to nothing (wire §2).

On channels that have ended here, or of kinds that this release does not have.

An honest peer sends them too: what it was granted may be on its way when we reset a channel, and
what a later release states may be unknown here. Those are accepted; beyond them a peer that only
costs us time is closed.
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
"""Frames that no channel explains (wire §2)."""


class Strays:
    """The account of stray frames.

    Units are payload bytes; a frame without payload, and CREDIT, counts as one.

    Rejected: a plain rate of frames, which an honest peer exceeds whenever a channel that fills its
    window is reset.
    """

    def __init__(self, now: float) -> None:
        self.crossing = 0
        self._uncovered = TokenBucket(UNCOVERED, now)

    def channel_ended(self, under_way: int) -> None:
        """Record how much an honest peer may still have on its way on a channel that has ended."""
        self.crossing = min(self.crossing + under_way, MAX_CROSSING)

    def on_ended(self, size: int, now: float) -> None:
        """Count a frame of `size` units on a channel that has ended.

        Raises WireError when it is one too many.
        """
        if size <= self.crossing:
            self.crossing -= size
        else:
            self.unknown(now)

    def unknown(self, now: float) -> None:
        """Count a frame without a channel; raises WireError when it is one too many."""
        if self._uncovered.take(now):
            raise WireError(
                "too many frames that belong to no channel or call (wire §2)", CloseCode.LIMIT
            )
