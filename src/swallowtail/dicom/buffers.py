"""Receive buffers, shared by every association.

An idle one holds none, a busy one holds one, taken for each read.

The number of large buffers is bounded, whoever connects: when hundreds of peers send a byte each at
the same moment, or many stop in the middle of a message, the rest get by with small ones.
"""

from typing import Final

LARGE: Final = 131_072
SMALL: Final = 8_192
LENT: Final = 32  # large buffers in use at most: 4 MiB
KEPT: Final = 8  # … and kept for the next read: 1 MiB


class BufferPool:
    """A pool of large buffers, most recently used first (still in the cache); else small ones."""

    def __init__(
        self, large: int = LARGE, *, small: int = SMALL, lent: int = LENT, kept: int = KEPT
    ) -> None:
        self.large = large
        self._small = small
        self._most = lent
        self._kept = kept
        self._spare: list[bytearray] = []
        self._lent: set[int] = set()

    @property
    def lent(self) -> int:
        """Return how many large buffers are in use."""
        return len(self._lent)

    def take(self) -> bytearray:
        """Return a buffer with old data in it.

        It goes back with `give`, or with `withdraw` when somebody may still look at it.
        """
        if len(self._lent) >= self._most:
            return bytearray(self._small)
        buffer = self._spare.pop() if self._spare else bytearray(self.large)
        self._lent.add(id(buffer))
        return buffer

    def give(self, buffer: bytearray) -> None:
        """Release a buffer to the pool; nobody may use it afterwards.

        One that is not from here is left alone.
        """
        if id(buffer) in self._lent:
            self._lent.remove(id(buffer))
            if len(self._spare) < self._kept:
                self._spare.append(buffer)

    def withdraw(self, buffer: bytearray) -> None:
        """Handle that a buffer will not come back."""
        self._lent.discard(id(buffer))
