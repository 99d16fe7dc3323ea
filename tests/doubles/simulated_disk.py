"""A disk that discards at a crash what was not fsynced.

A file's content and a folder's entries are durable apart, as in POSIX.

`SimulatedDisk` is the platter and outlives crashes; `mount()` gives a process its `Disk`. After
`crash()` every mount of before is ended, so that what a killed process still runs (its `finally`
blocks) cannot touch what its successor finds.
"""

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from swallowtail.cloud.blobs.disk import FileFacts, OpenFile


@dataclass(slots=True)
class _File:
    content: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    modified: float = 0.0


@dataclass(slots=True)
class _Folder:
    entries: "dict[str, _File | _Folder]" = field(default_factory=dict)
    durable: "dict[str, _File | _Folder]" = field(default_factory=dict)

    def drop(self) -> None:
        """Revert to what is durable, here and below."""
        self.entries = dict(self.durable)
        for entry in self.entries.values():
            if isinstance(entry, _Folder):
                entry.drop()
            else:
                entry.content = bytearray(entry.durable)


class SimulatedDisk:
    """The durable contents of a simulated disk."""

    def __init__(self, *, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.root = _Folder()
        self.clock = clock
        self.generation = 0
        self.full = False
        """Set it: writing and creating fail with ENOSPC."""
        self.failing = False
        """Set it: every fsync fails with EIO."""

    def mount(self) -> "MountedDisk":
        """Return a process its disk."""
        return MountedDisk(self)

    def crash(self) -> None:
        """Discard power: discard what is not durable; the mounts of before are ended."""
        self.generation += 1
        self.root.drop()

    def kill(self) -> None:
        """Discard the process alone: its mount is ended, the kernel keeps what was written."""
        self.generation += 1

    def files(self) -> dict[str, bytes]:
        """Return every file with its present content, for an oracle."""
        return dict(_walk("", self.root, durable=False))

    def durable_files(self) -> dict[str, bytes]:
        """Return what a restart after a loss of power would find, for an oracle."""
        return dict(_walk("", self.root, durable=True))


def _walk(prefix: str, folder: _Folder, *, durable: bool) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for name, entry in sorted((folder.durable if durable else folder.entries).items()):
        if isinstance(entry, _Folder):
            found += _walk(f"{prefix}{name}/", entry, durable=durable)
        else:
            found.append((prefix + name, entry.durable if durable else bytes(entry.content)))
    return found


class MountedDisk:
    """One process's view of a simulated disk (`Disk`)."""

    def __init__(self, platter: SimulatedDisk) -> None:
        self._platter = platter
        self._generation = platter.generation

    def create(self, path: str) -> OpenFile:
        folder, name = self._place(path)
        if name in folder.entries:
            raise FileExistsError(errno.EEXIST, "exists", path)
        self.check_space()
        file = _File(modified=self._platter.clock())
        folder.entries[name] = file
        return _SimulatedFile(self, file)

    def make_folder(self, path: str) -> bool:
        folder, name = self._place(path)
        if name in folder.entries:
            return False
        self.check_space()
        folder.entries[name] = _Folder()
        return True

    def rename(self, old: str, new: str) -> None:
        (source, name), (target, new_name) = self._place(old), self._place(new)
        if name not in source.entries:
            raise FileNotFoundError(errno.ENOENT, "no such file", old)
        target.entries[new_name] = source.entries.pop(name)

    def unlink(self, path: str) -> None:
        folder, name = self._place(path)
        if folder.entries.pop(name, None) is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)

    def fsync_folder(self, path: str) -> None:
        folder = self._folder(path)
        self.check_sync()
        folder.durable = dict(folder.entries)

    def list(self, path: str) -> list[str]:
        try:
            return sorted(self._folder(path).entries)
        except FileNotFoundError:
            return []

    def facts(self, path: str) -> FileFacts | None:
        try:
            file = self._file(path)
        except FileNotFoundError:
            return None
        return FileFacts(length=len(file.content), modified=file.modified)

    def read(self, path: str, offset: int, length: int) -> bytes:
        return bytes(self._file(path).content[offset : offset + length])

    def path(self, path: str) -> Path | None:
        return None

    def check_running(self) -> None:
        """Raise if this process's machine has crashed."""
        if self._generation != self._platter.generation:
            raise OSError(errno.EIO, "the machine has crashed")

    def check_space(self) -> None:
        """Raise if nothing can be written."""
        self.check_running()
        if self._platter.full:
            raise OSError(errno.ENOSPC, "no space left on device")

    def check_sync(self) -> None:
        """Raise if nothing can be made durable."""
        self.check_running()
        if self._platter.failing:
            raise OSError(errno.EIO, "input/output error")

    def _folder(self, path: str) -> _Folder:
        self.check_running()
        folder = self._platter.root
        for part in path.split("/") if path else ():
            entry = folder.entries.get(part)
            if not isinstance(entry, _Folder):
                raise FileNotFoundError(errno.ENOENT, "no such folder", path)
            folder = entry
        return folder

    def _place(self, path: str) -> tuple[_Folder, str]:
        parent, _, name = path.rpartition("/")
        return self._folder(parent), name

    def _file(self, path: str) -> _File:
        folder, name = self._place(path)
        entry = folder.entries.get(name)
        if not isinstance(entry, _File):
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        return entry


class _SimulatedFile:
    def __init__(self, disk: MountedDisk, file: _File) -> None:
        self._disk = disk
        self._file = file

    def write(self, views: Sequence[memoryview]) -> None:
        self._disk.check_space()
        for view in views:
            self._file.content += view

    def fsync(self) -> None:
        self._disk.check_sync()
        self._file.durable = bytes(self._file.content)

    def close(self) -> None:
        """Do nothing."""
