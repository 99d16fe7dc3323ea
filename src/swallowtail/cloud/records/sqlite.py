"""The embedded database.

SQLite in WAL mode with synchronous FULL, one writer thread that takes batches, a few reading
threads.
"""

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from swallowtail.cloud.model.audit import AuditKeys
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records.database import (
    MAX_BATCH,
    MAX_WAITING,
    Failed,
    FatalFailure,
    FatalStorageError,
    Intent,
    Query,
    run_batch,
    storage_error,
)
from swallowtail.cloud.records.migrations import upgrade

T = TypeVar("T")

_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # NORMAL may roll back commits after a power loss
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 5000",
    "PRAGMA case_sensitive_like = ON",  # as in PostgreSQL
    # pages: 16 MB; a checkpoint holds a commit back, so it comes once in hundreds of them
    "PRAGMA wal_autocheckpoint = 4000",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -16384",
)
_READERS: Final = 3

Resolve = tuple["asyncio.Future[Any]", Any]
Waiting = tuple[Intent[Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


def engine_of(path: Path, *, begin: str) -> Engine:
    """Return an engine whose transactions begin with `begin`, with the settings above."""
    engine = create_engine(
        f"sqlite:///{path}", poolclass=NullPool, connect_args={"check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = (
            None  # the driver's own BEGIN is deferred: it would fail, not wait, when another writes
        )
        for pragma in _PRAGMAS:
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


class SqliteDatabase:
    """The database in one file. Open it with `open`, end it with `close`."""

    def __init__(
        self,
        path: Path,
        *,
        audit_keys: AuditKeys,
        on_fatal: Callable[[StorageUnavailableError], None],
    ) -> None:
        self.audit_keys = audit_keys
        self._writing = engine_of(path, begin="BEGIN IMMEDIATE")
        self._reading = engine_of(path, begin="BEGIN")
        self._on_fatal = on_fatal
        self._refuse = FatalFailure()
        self._waiting: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="records-read")
        self._local = threading.local()
        self._connections: list[Connection] = []
        self._writer = threading.Thread(
            target=self._write_batches, name="records-write", daemon=True
        )

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        audit_keys: AuditKeys,
        on_fatal: Callable[[StorageUnavailableError], None],
    ) -> "SqliteDatabase":
        """Open or create the file, bring its tables up to date, start the threads.

        Raises StorageUnavailableError.

        `on_fatal` is called from the writer's thread when the disk has failed under a commit: stop
        the process there and then.
        """
        os.close(
            os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        )  # SQLite gives its other files the same mode
        database = cls(path, audit_keys=audit_keys, on_fatal=on_fatal)
        try:
            with database._writing.connect() as connection:
                upgrade(connection)
        except DBAPIError as error:
            raise storage_error(error) from error
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # the file's name is durable too
        finally:
            os.close(folder)
        database._writer.start()
        return database

    async def write(self, intent: Intent[T], *, tenant: Tenant | None = None) -> T:
        """Run a change and return when it is durable (`Database`)."""
        del tenant  # one writer serves all
        self._refuse.check()
        if self._waiting.qsize() >= MAX_WAITING:
            raise StorageUnavailableError(
                f"{MAX_WAITING} changes wait to be written; try again later"
            )
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._waiting.put((intent, done, loop))
        return await done

    async def read(self, query: Query[T], *, tenant: Tenant | None = None) -> T:
        """Run a query in a reading thread (`Database`)."""
        del tenant  # SQLite has no row-level security
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, query)

    async def close(self) -> None:
        """Write what waits, then end the threads and connections."""
        self._waiting.put(None)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._writer.join)
        await loop.run_in_executor(None, self._readers.shutdown)
        for connection in self._connections:
            connection.close()

    def _read(self, query: Query[T]) -> T:
        connection = getattr(self._local, "connection", None)
        try:
            if connection is None:
                connection = self._local.connection = self._reading.connect()
                self._connections.append(connection)
            with connection.begin():
                return query(connection)
        except DBAPIError as error:
            raise storage_error(error) from error

    def _write_batches(self) -> None:
        with self._writing.connect() as connection:
            while (first := self._waiting.get()) is not None:
                batch, more = self._gather(first)
                self._write(connection, batch)
                if not more:
                    return

    def _gather(self, first: Waiting) -> tuple[list[Waiting], bool]:
        batch = [first]
        while len(batch) < MAX_BATCH:
            try:
                waiting = self._waiting.get_nowait()
            except queue.Empty:
                break
            if waiting is None:
                return batch, False
            batch.append(waiting)
        return batch, True

    def _write(self, connection: Connection, batch: list[Waiting]) -> None:
        try:
            self._refuse.check()
            results = run_batch(connection, [intent for intent, _, _ in batch], self.audit_keys)
        except StorageUnavailableError as error:
            results = [Failed(error)] * len(batch)
            if isinstance(error, FatalStorageError) and self._refuse.reason is None:
                self._refuse.reason = error
                self._on_fatal(error)
        by_loop: dict[asyncio.AbstractEventLoop, list[Resolve]] = {}
        for (_, done, loop), result in zip(batch, results, strict=True):
            by_loop.setdefault(loop, []).append((done, result))
        for loop, resolved in by_loop.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(resolve, resolved)


def resolve(results: list[Resolve]) -> None:
    """Pass each caller its result, in the callers' loop.

    One that was cancelled is skipped.
    """
    for done, result in results:
        if done.done():
            continue
        if isinstance(result, Failed):
            done.set_exception(result.error)
        else:
            done.set_result(result)
