"""An SQLite database opened for reading, beside the Cloud that writes it or without one."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from swallowtail.cloud.model.audit import AuditKeys
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records.database import Intent, Query, storage_error
from swallowtail.cloud.records.migrations import is_current

T = TypeVar("T")


class SqliteReader:
    """A `Database` that refuses to write.

    Create it with `open`; verifying audit chains needs their keys.
    """

    def __init__(self, path: Path, audit_keys: AuditKeys | None = None) -> None:
        self.path, self._audit_keys = path, audit_keys
        self._engine = create_engine("sqlite://", poolclass=NullPool, creator=self._connect)

    @classmethod
    def open(cls, path: Path, audit_keys: AuditKeys | None = None) -> "SqliteReader":
        """Open the file; raises StorageUnavailableError when it is none of this release's."""
        if not path.exists():
            raise StorageUnavailableError(f"{path} does not exist; name the data folder of a Cloud")
        reader = cls(path, audit_keys)
        if not reader._ask(is_current):
            raise StorageUnavailableError(
                f"{path} belongs to another release; use the commands of the release that serves it"
            )
        return reader

    @property
    def audit_keys(self) -> AuditKeys:
        """The keys of the audit chains (`Database`)."""
        if self._audit_keys is None:
            raise StorageUnavailableError(f"{self.path} was opened without the keys of its audit")
        return self._audit_keys

    async def write(self, intent: Intent[T], *, tenant: Tenant | None = None) -> T:
        """Refuse (`Database`)."""
        raise StorageUnavailableError(f"{self.path} is open for reading only")

    async def read(self, query: Query[T], *, tenant: Tenant | None = None) -> T:
        """Run a query in a thread (`Database`)."""
        del tenant  # SQLite has no row-level security
        return await asyncio.to_thread(self._ask, query)

    async def damage(self, *, quick: bool) -> tuple[str, ...]:
        """Return what SQLite's own check finds, at most 100 lines.

        `quick` leaves out the indexes.
        """
        pragma = "quick_check" if quick else "integrity_check"

        def check() -> tuple[str, ...]:
            with closing(self._connect()) as connection:
                try:
                    rows = connection.execute(f"PRAGMA {pragma}(100)").fetchall()
                except sqlite3.Error as error:
                    return (str(error),)
            return tuple(str(text) for (text,) in rows if text != "ok")

        return await asyncio.to_thread(check)

    async def copy_to(self, target: Path) -> None:
        """Write one consistent state of the database to a new file; the caller makes it durable."""

        def copy() -> None:
            try:
                with closing(self._connect()) as source, closing(sqlite3.connect(target)) as copied:
                    source.backup(copied)
                    copied.execute("PRAGMA journal_mode = DELETE")  # one file, readable anywhere
            except sqlite3.Error as error:
                raise storage_error(error) from error

        await asyncio.to_thread(copy)

    def _connect(self) -> sqlite3.Connection:
        location = f"file:{quote(str(self.path))}?mode=ro"
        connection = sqlite3.connect(location, uri=True, check_same_thread=False)
        connection.execute("PRAGMA busy_timeout = 5000")
        connection.execute("PRAGMA case_sensitive_like = ON")  # as `sqlite` has it
        return connection

    def _ask(self, query: Callable[..., T]) -> T:
        try:
            with self._engine.connect() as connection, connection.begin():
                return query(connection)
        except (DBAPIError, sqlite3.Error) as error:
            raise storage_error(error) from error
