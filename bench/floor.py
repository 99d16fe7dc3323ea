"""The durability floor.

The time that the disk alone takes for a set, one object after the other, in one thread and a bare
loop.
"""

import os
import sqlite3
import time
from pathlib import Path

from bench.sets import Set


def floor(what: Set, folder: Path) -> float:
    """Write, fsync, rename, fsync the folder and commit one SQLite row (WAL, FULL) per object.

    Returns the seconds.
    """
    folder.mkdir(parents=True)
    bodies = [path.read_bytes() for path in what.files]
    rows = sqlite3.connect(folder / "rows.db", isolation_level=None)
    rows.execute("PRAGMA journal_mode=WAL")
    rows.execute("PRAGMA synchronous=FULL")
    rows.execute("CREATE TABLE instance (number INTEGER PRIMARY KEY, name TEXT, size INTEGER)")
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    started = time.monotonic()
    for number, body in enumerate(bodies):
        temporary, final = folder / f"{number}.tmp", folder / f"{number}.dcm"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        written = 0
        while written < len(body):
            written += os.write(fd, memoryview(body)[written:])
        os.fsync(fd)
        os.close(fd)
        temporary.rename(final)
        os.fsync(folder_fd)
        rows.execute("BEGIN IMMEDIATE")
        rows.execute("INSERT INTO instance VALUES (?, ?, ?)", (number, final.name, len(body)))
        rows.execute("COMMIT")
    seconds = time.monotonic() - started
    os.close(folder_fd)
    rows.close()
    return seconds
