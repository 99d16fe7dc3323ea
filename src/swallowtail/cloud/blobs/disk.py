"""The interface between the blob store and a disk.

Calls block and raise OSError; they run in workers. Paths are relative to the disk's root, with `/`.

`OsDisk` is the machine's own. `simulated.SimulatedDisk` discards at a crash what was not made
durable: that is why a file's content (`OpenFile.fsync`) and a folder's entries (`fsync_folder`) are
two things here, as they are in POSIX.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

_VECTOR: Final = 512
"""Buffers per writev; Linux takes up to IOV_MAX = 1024."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file's length in bytes, and when it was last changed (UTC seconds)."""

    length: int
    modified: float


class OpenFile(Protocol):
    """A file that is being written."""

    def write(self, views: Sequence[memoryview]) -> None:
        """Append all the bytes."""

    def fsync(self) -> None:
        """Make the content durable.

        After an error the content is unknown and must not be relied on.
        """

    def close(self) -> None:
        """Close the file; a second call does nothing."""


class Disk(Protocol):
    """A tree of folders and files."""

    def create(self, path: str) -> OpenFile:
        """Make a new file; FileExistsError when there is one."""

    def make_folder(self, path: str) -> bool:
        """Make a folder in one that exists; False when it was there."""

    def rename(self, old: str, new: str) -> None:
        """Move a file to another name, atomically."""

    def unlink(self, path: str) -> None:
        """Remove a file's name."""

    def fsync_folder(self, path: str) -> None:
        """Make a folder's entries durable: names that came, went or moved."""

    def list(self, path: str) -> list[str]:
        """Name what is in a folder; empty when there is none."""

    def facts(self, path: str) -> FileFacts | None:
        """Return a file's facts; None when there is none."""

    def read(self, path: str, offset: int, length: int) -> bytes:
        """Read at most `length` bytes; fewer only at the file's end."""

    def path(self, path: str) -> Path | None:
        """Return a file's place on this machine, where it has one."""


class OsDisk:
    """A folder of this machine. What is made in it is for this user alone."""

    def __init__(self, root: Path) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root = f"{root}/"

    def create(self, path: str) -> OpenFile:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return _OsFile(os.open(self._root + path, flags, 0o600))

    def make_folder(self, path: str) -> bool:
        try:
            # the bare call, as everywhere in this class
            os.mkdir(self._root + path, 0o700)  # noqa: PTH102
        except FileExistsError:
            return False
        return True

    def rename(self, old: str, new: str) -> None:
        os.rename(self._root + old, self._root + new)  # noqa: PTH104

    def unlink(self, path: str) -> None:
        os.unlink(self._root + path)  # noqa: PTH108

    def fsync_folder(self, path: str) -> None:
        folder = os.open(self._root + path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def list(self, path: str) -> list[str]:
        try:
            return sorted(os.listdir(self._root + path))  # noqa: PTH208
        except FileNotFoundError:
            return []

    def facts(self, path: str) -> FileFacts | None:
        try:
            found = os.stat(self._root + path)  # noqa: PTH116
        except FileNotFoundError:
            return None
        return FileFacts(length=found.st_size, modified=found.st_mtime)

    def read(self, path: str, offset: int, length: int) -> bytes:
        file = os.open(self._root + path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(file, length, offset)
        finally:
            os.close(file)

    def path(self, path: str) -> Path | None:
        return Path(self._root + path)


class _OsFile:
    __slots__ = ("_file",)

    def __init__(self, file: int) -> None:
        self._file = file

    def write(self, views: Sequence[memoryview]) -> None:
        for start in range(0, len(views), _VECTOR):
            self._write_all(list(views[start : start + _VECTOR]))

    def _write_all(self, views: list[memoryview]) -> None:
        while views:
            written = os.writev(self._file, views)
            while views and written >= len(views[0]):
                written -= len(views.pop(0))
            if views:
                views[0] = views[0][written:]

    def fsync(self) -> None:
        os.fsync(self._file)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
