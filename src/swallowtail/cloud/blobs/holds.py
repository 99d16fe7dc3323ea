"""The blobs that are in use at this moment.

Stores hold it until their commit has ended, the sweep removes what nobody holds.

The data folder belongs to one process (`cloud.data_folder.data_folder`), so this is kept in memory.
The order is what makes it safe:

    store    hold ─▶ find the file, or write it ─▶ commit the row ─▶ release
    sweep    condemn ─▶ ask whether a row refers to it ─▶ remove

A hold before `condemn` refuses it, one after it lifts it, so a removal has seen every row that was
committed under a hold that began before it; a hold that begins while the file is being removed
waits, and finds none.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Holds:
    """The holds of one data folder; its calls come from the loop and from workers."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: Counter[str] = Counter()
        self._condemned: set[str] = set()
        self._removing: set[str] = set()

    def hold(self, path: str) -> None:
        """Keep a blob, whether it is there or not, until `release`.

        Waits while it is being removed.
        """
        with self._changed:
            while path in self._removing:
                self._changed.wait()
            self._held[path] += 1
            self._condemned.discard(path)

    def release(self, path: str) -> None:
        """End a hold."""
        with self._changed:
            self._held[path] -= 1
            if not self._held[path]:
                del self._held[path]

    def condemn(self, path: str) -> bool:
        """Announce a removal; False when the blob is held."""
        with self._changed:
            if path in self._held:
                return False
            self._condemned.add(path)
            return True

    def pardon(self, path: str) -> None:
        """End an announcement, whether the blob was removed or not."""
        with self._changed:
            self._condemned.discard(path)

    @contextmanager
    def removing(self, path: str) -> Iterator[bool]:
        """Return whether the blob is condemned still; nobody can hold it within."""
        with self._changed:
            allowed = path in self._condemned
            if allowed:
                self._condemned.discard(path)
                self._removing.add(path)
        try:
            yield allowed
        finally:
            if allowed:
                with self._changed:
                    self._removing.discard(path)
                    self._changed.notify_all()
