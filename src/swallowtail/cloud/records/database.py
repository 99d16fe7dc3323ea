"""Group commit.

An *intent* is one caller's change; a *batch* is whatever waits when the previous commit ends,
without a timer.

Every intent runs in a savepoint of its own: one that fails fails alone. A failure of the storage
itself (disk full, I/O error, a commit that does not succeed) fails the whole batch, since none of
it is durable. After an I/O error the content of the disk is unknown (PostgreSQL panics there,
and so do we): `on_fatal` is notified, and the process must stop.

The audit chain is extended once per batch, by the events of the intents that held, within the same
transaction.

Changes of one tenant are serialised. SQLite has one writer; on PostgreSQL a batch belongs to one
tenant and holds that tenant's lock (`scopes`), so that batches of different tenants commit in
parallel.
"""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from swallowtail.cloud.model.audit import AuditEvent, AuditKeys
from swallowtail.cloud.model.port_errors import ConflictError, StorageUnavailableError
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records import scopes
from swallowtail.cloud.records.chain import ChainEntry, extend

T = TypeVar("T")

MAX_BATCH: Final = 256
MAX_WAITING: Final = 8192

_FATAL_SQLITE: Final = {
    10,
    11,
    26,
}  # IOERR, CORRUPT, NOTADB: primary result codes of sqlite.org/rescode.html

_STORAGE_FAILED: Final = (OperationalError, sqlite3.OperationalError, psycopg.OperationalError)
_CONFLICTS: Final = (IntegrityError, sqlite3.IntegrityError, psycopg.IntegrityError)
DRIVER_ERRORS: Final = (DBAPIError, sqlite3.Error, psycopg.Error)
"""What a statement raises: through SQLAlchemy, or from the driver (`prepared`)."""


class FatalStorageError(StorageUnavailableError):
    """The storage failed in a way after which nothing can be trusted; the process must stop."""


class Unit:
    """The open transaction of an intent, and the audit events that commit with it."""

    __slots__ = ("connection", "entries")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.entries: list[ChainEntry] = []

    def audit(self, tenant: Tenant, event: AuditEvent, at: float) -> None:
        """Append `event` to the tenant's chain when this intent commits."""
        self.entries.append((tenant, at, event))

    def enter(self, tenant: Tenant) -> None:
        """Select the tenant whose rows an intent over several tenants changes from here on."""
        scopes.lock(self.connection, tenant)


Intent = Callable[[Unit], T]
Query = Callable[[Connection], T]


class Database(Protocol):
    """The interface to the database that runs statements."""

    @property
    def audit_keys(self) -> AuditKeys:
        """The keys of the audit chains."""

    async def write(self, intent: Intent[T], *, tenant: Tenant | None = None) -> T:
        """Run a change and return when it is durable.

        An intent over several tenants, or over one that it has to find, names none and enters
        each in turn. An intent may run again after a conflict with another transaction, so it
        changes nothing but rows. Raises what the intent raised, or StorageUnavailableError.
        """

    async def read(self, query: Query[T], *, tenant: Tenant | None = None) -> T:
        """Run a query on a consistent state that includes every write that has returned.

        A query over several tenants names none and enters each in turn (`scopes`).
        """


class Failed:
    """An intent that failed alone."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


def run_batch(
    connection: Connection,
    intents: Sequence[Intent[Any]],
    keys: AuditKeys,
    tenant: Tenant | None = None,
) -> list[Any]:
    """Run intents in one transaction and commit it; return each one's result or Failed.

    On PostgreSQL several intents are of one tenant; those of none come alone. Raises
    StorageUnavailableError (FatalStorageError) when the batch as a whole did not become durable.
    """
    try:
        return (
            _run_alone(connection, intents[0], keys, tenant)
            if len(intents) == 1
            else _run_together(connection, intents, keys, tenant)
        )
    except DRIVER_ERRORS as error:
        raise storage_error(error) from error


def _run_alone(
    connection: Connection, intent: Intent[Any], keys: AuditKeys, tenant: Tenant | None
) -> list[Any]:
    """Run one intent: where it fails there is nothing to commit, so it needs no savepoint."""
    unit = Unit(connection)
    scopes.begin_in(connection, tenant)
    with connection.begin() as transaction:
        try:
            result = intent(unit)
        except _STORAGE_FAILED:
            raise
        except Exception as error:  # noqa: BLE001 - its caller gets it
            transaction.rollback()
            return [Failed(_translated(error))]
        extend(connection, unit.entries, keys)
    return [result]


def _run_together(
    connection: Connection,
    intents: Sequence[Intent[Any]],
    keys: AuditKeys,
    tenant: Tenant | None,
) -> list[Any]:
    scopes.begin_in(connection, tenant)
    with connection.begin():
        results, entries = _run_intents(connection, intents)
        extend(connection, entries, keys)
    return results


def _run_intents(
    connection: Connection, intents: Sequence[Intent[Any]]
) -> tuple[list[Any], list[ChainEntry]]:
    results: list[Any] = []
    entries: list[ChainEntry] = []
    for intent in intents:
        unit = Unit(connection)
        scopes.execute(connection, "SAVEPOINT intent")
        try:
            results.append(intent(unit))
        except _STORAGE_FAILED:
            raise  # not the intent's failure
        # a bug in one intent must not fail its neighbours; its caller gets it
        except Exception as error:  # noqa: BLE001
            scopes.execute(connection, "ROLLBACK TO SAVEPOINT intent")
            results.append(Failed(_translated(error)))
        else:
            entries += unit.entries
        scopes.execute(connection, "RELEASE SAVEPOINT intent")
    return results, entries


def _translated(error: Exception) -> Exception:
    if not isinstance(error, _CONFLICTS):
        return error
    conflict = ConflictError("the name or id is taken; choose another or change the existing one")
    conflict.__cause__ = error
    return conflict


def storage_error(
    error: DBAPIError | sqlite3.Error | psycopg.Error,
) -> StorageUnavailableError:
    """Translate a failure of the storage.

    The message names the database's reason and holds no values.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, psycopg.Error):
        return _postgresql_error(cause)
    reason = f"the database refused: {cause}"
    code = getattr(cause, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in _FATAL_SQLITE:
        return FatalStorageError(
            f"{reason}; the process must stop, check the disk before it is started again"
        )
    return StorageUnavailableError(f"{reason}; check free space and the disk, then try again")


def _postgresql_error(cause: psycopg.Error) -> StorageUnavailableError:
    """Name PostgreSQL's reason without the line of details, which quotes values of rows."""
    reason = cause.diag.message_primary or type(cause).__name__
    state = f" (SQLSTATE {cause.sqlstate})" if cause.sqlstate else ""
    return StorageUnavailableError(
        f"the database refused: {reason}{state}; check that PostgreSQL runs and has free space,"
        " then try again"
    )


class FatalFailure:
    """The answer to everything after a fatal failure."""

    def __init__(self) -> None:
        self.reason: StorageUnavailableError | None = None

    def check(self) -> None:
        """Raise if the storage has failed permanently."""
        if self.reason is not None:
            raise FatalStorageError(str(self.reason))
