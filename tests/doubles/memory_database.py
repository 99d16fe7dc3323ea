"""The twin.

The adapters' own statements on a database in memory, on the caller's loop, without threads.

`CommittedRows` is what is durable and outlives a crash; a `MemoryDatabase` is one process's access
to it, and after `crash()` a ended one's. The moments before and after a commit take time from
`delay`, which a simulated environment draws from its seed; a crash may fall into either, so a
commit can be lost, or be durable with its answer lost.
"""

import asyncio
import functools
import weakref
from collections.abc import Callable
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, StaticPool, create_engine, event

from swallowtail.cloud.model.audit import AuditKeys
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records.database import Failed, Intent, Query, run_batch
from swallowtail.cloud.records.schema import metadata
from swallowtail.cloud.records.sqlite import Resolve, resolve

T = TypeVar("T")

_ANY_THREAD: Final = {"check_same_thread": False}
"""Whichever thread collects discarded rows closes their connection.

Sqlite3 would refuse it to all but the one that made it.
"""
INVENTED_KEYS: Final = AuditKeys({1: b"audit key of rows in memory only"})


@functools.cache
def _empty_tables() -> bytes:
    """Return a database without rows, made once: a simulated environment requires hundreds."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args=_ANY_THREAD)
    metadata.create_all(engine)
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        image: bytes = driver.serialize()
    engine.dispose()
    return image


class CommittedRows:
    """The rows that are durable. Set `unavailable` to make every write fail as a full disk does."""

    def __init__(self, audit_keys: AuditKeys = INVENTED_KEYS) -> None:
        self.unavailable = False
        self.audit_keys = audit_keys
        engine = create_engine("sqlite://", poolclass=StaticPool, connect_args=_ANY_THREAD)

        @event.listens_for(engine, "connect")
        def connected(connection: Any, _record: object) -> None:
            connection.isolation_level = None
            connection.deserialize(_empty_tables())
            connection.execute("PRAGMA case_sensitive_like = ON")
            connection.execute("PRAGMA foreign_keys = ON")

        @event.listens_for(engine, "begin")
        def begun(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN")

        self.connection = engine.connect()
        self._end = weakref.finalize(self, _close, self.connection)

    def run(self, intents: list[Intent[Any]]) -> list[Any]:
        """Commit a batch (`run_batch`)."""
        if self.unavailable:
            raise StorageUnavailableError
        return run_batch(self.connection, intents, self.audit_keys)

    def close(self) -> None:
        """Discard everything; done also when nobody holds the rows any more."""
        self._end()


def _close(connection: Connection) -> None:
    connection.close()
    connection.engine.dispose()


class MemoryDatabase:
    """One process's database, which discards what was not committed."""

    def __init__(self, rows: CommittedRows, *, delay: Callable[[], float] = lambda: 0.0) -> None:
        self._rows = rows
        self.audit_keys = rows.audit_keys
        self._delay = delay
        self._waiting: list[tuple[Intent[Any], asyncio.Future[Any]]] = []
        self._answers: list[Resolve] = []
        self._step: asyncio.TimerHandle | None = None
        self._dead = False

    async def write(self, intent: Intent[T], *, tenant: Tenant | None = None) -> T:
        """Run a change and return when it is durable (`Database`)."""
        del tenant
        self._check_running()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._waiting.append((intent, done))
        if self._step is None:
            self._step = loop.call_later(self._delay(), self._commit, loop)
        return await done

    async def read(self, query: Query[T], *, tenant: Tenant | None = None) -> T:
        """Run a query (`Database`)."""
        del tenant
        await asyncio.sleep(0)
        self._check_running()
        with self._rows.connection.begin():
            return query(self._rows.connection)

    def crash(self) -> None:
        """Discard what was not committed, as a crash does.

        Those who wait for an answer are cancelled, as their process is.
        """
        self._dead = True
        if self._step is not None:
            self._step.cancel()
        for done in [done for _, done in self._waiting] + [done for done, _ in self._answers]:
            done.cancel()

    def _check_running(self) -> None:
        if self._dead:
            raise StorageUnavailableError("the process of this database has crashed")

    def _commit(self, loop: asyncio.AbstractEventLoop) -> None:
        batch, self._waiting = self._waiting, []
        try:
            results = self._rows.run([intent for intent, _ in batch])
        except StorageUnavailableError as error:
            results = [Failed(error)] * len(batch)
        self._answers = [(done, result) for (_, done), result in zip(batch, results, strict=True)]
        self._step = loop.call_later(self._delay(), self._answer, loop)

    def _answer(self, loop: asyncio.AbstractEventLoop) -> None:
        answers, self._answers = self._answers, []
        self._step = loop.call_later(self._delay(), self._commit, loop) if self._waiting else None
        resolve(answers)
