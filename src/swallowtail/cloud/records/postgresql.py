"""The database on a PostgreSQL server, for a Cloud of many organisations.

A batch is what one tenant waits to have written: one transaction, in which every intent has a
savepoint (`database`). A few threads commit batches of different tenants at the same time; an
intent that names no tenant commits alone. Each transaction sets whose rows it may see (`scopes`).

A connection that is lost while it commits leaves the outcome unknown. The caller is notified that
the storage was unavailable: the sender repeats, and a repeat is harmless. A thread connects again
at its next batch. Deadlocks and serialisation failures are tried again here, since nothing of them
is kept.
"""

import asyncio
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import Buffer
from psycopg.types.string import StrDumperUnknown
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from swallowtail.cloud.model.audit import AuditKeys
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records import scopes
from swallowtail.cloud.records.database import (
    DRIVER_ERRORS,
    MAX_BATCH,
    MAX_WAITING,
    Failed,
    Intent,
    Query,
    run_batch,
    storage_error,
)
from swallowtail.cloud.records.sqlite import Resolve, Waiting, resolve

T = TypeVar("T")

WRITERS: Final = 4
READERS: Final = 3
ATTEMPTS: Final = 4
_CONFLICTS: Final = frozenset({"40001", "40P01"})
"""SQLSTATE serialization_failure and deadlock_detected (PostgreSQL, appendix A)."""
_OPTIONS: Final = (
    "-c statement_timeout=15s -c lock_timeout=10s -c idle_in_transaction_session_timeout=30s"
    " -c timezone=UTC"
)
_KEEPALIVE: Final = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""What libpq receives: a server that is not reached fails a call within the senders' deadline."""
BEGIN_WRITE: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
"""Each statement sees what was committed before it, so that what follows a lock is current."""
BEGIN_READ: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class _WithoutNul(StrDumperUnknown):
    """Text without NUL, which PostgreSQL cannot store, and SQLite can.

    The replacement character (U+FFFD) takes its place, in searches too.
    """

    def dump(self, obj: str) -> Buffer | None:
        """Return the text as it is sent."""
        return super().dump(obj.replace("\0", "\ufffd") if "\0" in obj else obj)


def engine_of(url: URL, *, begin: str) -> Engine:
    """Return an engine whose transactions begin with `begin`."""
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        poolclass=NullPool,
        connect_args={**_KEEPALIVE, "options": _OPTIONS, "application_name": "swallowtail"},
        use_native_hstore=False,
    )

    @event.listens_for(engine, "connect")
    def connected(connection: psycopg.Connection[Any], _record: object) -> None:
        connection.autocommit = True  # transactions begin as above, not by the driver
        connection.adapters.register_dumper(str, _WithoutNul)

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        scopes.begin_with(connection, begin)

    return engine


class _Connections:
    """A connection for each thread, opened where there is none or the last one was lost."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: set[Connection] = set()

    def get(self) -> Connection:
        """Return this thread's connection."""
        present: Connection | None = getattr(self._local, "connection", None)
        if present is None:
            present = self._local.connection = self._engine.connect()
            with self._lock:
                self._open.add(present)
        return present

    def drop(self) -> None:
        """Close this thread's connection, whose state is unknown."""
        present: Connection | None = getattr(self._local, "connection", None)
        self._local.connection = None
        if present is not None:
            with self._lock:
                self._open.discard(present)
            present.invalidate()
            present.close()

    def close(self) -> None:
        """Close them all, when no thread uses one any more."""
        for connection in self._open:
            connection.close()
        self._open.clear()


class PostgresqlDatabase:
    """The database of one server. Open it with `postgresql_server.open_database`."""

    def __init__(self, url: URL, *, audit_keys: AuditKeys) -> None:
        self.audit_keys = audit_keys
        self._writing = _Connections(engine_of(url, begin=BEGIN_WRITE))
        self._reading = _Connections(engine_of(url, begin=BEGIN_READ))
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="records-write")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="records-read")
        self._lock = threading.Condition()
        self._waiting: dict[Tenant | None, deque[Waiting]] = {}
        """What waits, by tenant; a tenant is in it as long as a thread writes for it."""
        self._count = 0

    async def write(self, intent: Intent[T], *, tenant: Tenant | None = None) -> T:
        """Run a change and return when it is durable (`Database`)."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        with self._lock:
            if self._count >= MAX_WAITING:
                raise StorageUnavailableError(
                    f"{MAX_WAITING} changes wait to be written; try again later"
                )
            self._count += 1
            idle = tenant not in self._waiting
            self._waiting.setdefault(tenant, deque()).append((intent, done, loop))
        if idle:
            self._writers.submit(self._write_next, tenant)
        return await done

    async def read(self, query: Query[T], *, tenant: Tenant | None = None) -> T:
        """Run a query in a reading thread (`Database`)."""
        return await asyncio.get_running_loop().run_in_executor(
            self._readers, self._read, query, tenant
        )

    async def close(self) -> None:
        """Write what waits, then end the threads and connections."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._lock:
            self._lock.wait_for(lambda: not self._waiting)
        self._writers.shutdown()
        self._readers.shutdown()
        self._writing.close()
        self._reading.close()

    def _read(self, query: Query[T], tenant: Tenant | None) -> T:
        try:
            connection = self._reading.get()
            scopes.begin_in(connection, None)
            with connection.begin():
                if tenant is not None:
                    scopes.enter(connection, tenant)
                return query(connection)
        except DRIVER_ERRORS as error:
            if is_lost(error):
                self._reading.drop()
            raise storage_error(error) from error

    def _write_next(self, tenant: Tenant | None) -> None:
        """Write a batch of a tenant, and have the next one written where more waits."""
        with self._lock:
            waiting = self._waiting[tenant]
            most = min(len(waiting), MAX_BATCH if tenant is not None else 1)
            batch = [waiting.popleft() for _ in range(most)]
        try:
            results = self._write([intent for intent, _, _ in batch], tenant)
        except Exception as error:  # noqa: BLE001 - a bug, which the callers get
            results = [Failed(error)] * len(batch)
        by_loop: dict[asyncio.AbstractEventLoop, list[Resolve]] = {}
        for (_, done, loop), result in zip(batch, results, strict=True):
            by_loop.setdefault(loop, []).append((done, result))
        for loop, resolved in by_loop.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(resolve, resolved)
        with self._lock:
            self._count -= len(batch)
            more = bool(waiting)
            if not more:
                del self._waiting[tenant]
                self._lock.notify_all()
        if more:
            self._writers.submit(self._write_next, tenant)

    def _write(self, intents: list[Intent[Any]], tenant: Tenant | None) -> list[Any]:
        for left in reversed(range(ATTEMPTS)):
            try:
                connection = self._writing.get()
                return run_batch(connection, intents, self.audit_keys, tenant)
            except DRIVER_ERRORS as error:  # while connecting
                return [Failed(storage_error(error))] * len(intents)
            except StorageUnavailableError as error:
                if is_conflict(error.__cause__) and left:
                    continue
                if is_lost(error.__cause__):
                    self._writing.drop()
                return [Failed(error)] * len(intents)
        raise AssertionError("unreachable")


def is_conflict(error: BaseException | None) -> bool:
    """Return whether the transaction lost against another one and may be tried again."""
    return isinstance(cause := _driver_error(error), psycopg.Error) and cause.sqlstate in _CONFLICTS


def is_lost(error: BaseException | None) -> bool:
    """Return whether the connection can no longer be used."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    cause = _driver_error(error)
    return isinstance(cause, psycopg.OperationalError) and (
        cause.sqlstate is None or cause.sqlstate[:2] in {"08", "57"}
    )


def _driver_error(error: BaseException | None) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error
