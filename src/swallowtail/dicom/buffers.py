"""Receive buffers, shared by every association: an idle one holds none, a busy one holds one, taken for each read."""

from typing import Final

BUFFER_SIZE: Final = 131_072
KEPT: Final = 16  # 2 MiB of spare buffers at most


class BufferPool:
    """Hands out buffers of one size and keeps a few that come back, most recently used first, so that they stay in the cache."""

    def __init__(self, size: int = BUFFER_SIZE, kept: int = KEPT) -> None:
        self.size = size
        self._kept = kept
        self._spare: list[bytearray] = []

    def take(self) -> bytearray:
        """Give a buffer of `size` bytes; what is in it is old data."""
        return self._spare.pop() if self._spare else bytearray(self.size)

    def give(self, buffer: bytearray) -> None:
        """Take a buffer back; nobody may use it afterwards."""
        if len(buffer) == self.size and len(self._spare) < self._kept:
            self._spare.append(buffer)
