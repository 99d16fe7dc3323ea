"""Opening the records on a PostgreSQL server: its tables, its roles, and what it must be set to.

Two roles: the owner of the tables changes them and is used at the start alone; the server's own
role owns no table, so that row-level security holds for it (ADR 0030).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError

from swallowtail.cloud.model.audit import AuditKeys
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.records.database import DRIVER_ERRORS, storage_error
from swallowtail.cloud.records.migrations import is_current, upgrade
from swallowtail.cloud.records.postgresql import PostgresqlDatabase, engine_of

REQUIRED: Final = {
    "synchronous_commit": ("on",),
    "fsync": ("on",),
    "full_page_writes": ("on",),
    "server_encoding": ("UTF8",),
}
"""Settings, and the values with which an acknowledged instance is durable, and any text stored."""
OLDEST: Final = 140_000
"""`server_version_num` of PostgreSQL 14."""
SORTS_BYTEWISE: Final = r"SELECT 'Z' < 'a' AND 'z' < U&'\00e9' AND 'a b' < 'a!a'"
"""Whether text sorts by code points, as on SQLite: lists, cursors and searches are the same."""
ROLE: Final = (
    "SELECT rolsuper OR rolbypassrls,"
    " EXISTS (SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
    " WHERE nspname = current_schema() AND relkind = 'r'"
    " AND pg_has_role(pg_roles.oid, relowner, 'MEMBER'))"
    " FROM pg_roles WHERE rolname = current_user"
)
ONE_MIGRATION: Final = "SELECT pg_advisory_lock(hashtextextended('swallowtail migrations', 0))"


class DatabaseUrlError(ValueError):
    """The address of a database is not usable; the message states why, without its password."""


@dataclass(frozen=True, slots=True)
class DatabaseServer:
    """The PostgreSQL server of the records: its address, the Cloud's role, the tables' owner."""

    url: URL
    owner: URL | None = None
    """None: the tables are brought up to date by somebody else."""


def parse_url(text: str) -> URL:
    """Check an address `postgresql://ROLE@HOST/DATABASE`; raises DatabaseUrlError."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise DatabaseUrlError(
            "the address cannot be read; one is postgresql://swallowtail@db.example/swallowtail"
        ) from None
    if url.drivername not in {"postgresql", "postgres"}:
        raise DatabaseUrlError("the address must begin with postgresql://")
    if not url.username or not url.database:
        raise DatabaseUrlError("the address must name a role and a database")
    return url.set(drivername="postgresql")


def open_database(server: DatabaseServer, *, audit_keys: AuditKeys) -> PostgresqlDatabase:
    """Upgrade the tables to date if the owner is given, check the server, and connect.

    Raises StorageUnavailableError.
    """
    if server.owner is not None:
        migrate(server.owner, role=str(server.url.username))
    with _connected(server.url) as connection:
        problems = [*_settings_problems(connection), *_role_problems(connection)]
        if problems:
            raise StorageUnavailableError("; ".join(problems))
        if not is_current(connection):
            raise StorageUnavailableError(
                "the tables are not those of this release; start once with"
                " --database-owner-url, or start the release that they belong to"
            )
    return PostgresqlDatabase(server.url, audit_keys=audit_keys)


def migrate(owner: URL, *, role: str) -> None:
    """Upgrade the tables to date, and let the server's role use them."""
    with _connected(owner) as connection:
        connection.exec_driver_sql("SET statement_timeout = 0")
        connection.exec_driver_sql("SET idle_in_transaction_session_timeout = 0")
        connection.exec_driver_sql(ONE_MIGRATION)
        connection.commit()
        upgrade(connection)
        quoted = connection.dialect.identifier_preparer.quote_identifier(role)
        for grant in (
            "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES",
            "USAGE, SELECT ON ALL SEQUENCES",
        ):
            connection.exec_driver_sql(f"GRANT {grant} IN SCHEMA public TO {quoted}")
        connection.exec_driver_sql(
            f"REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {quoted}"
        )
        connection.commit()


@contextmanager
def _connected(url: URL) -> Iterator[Connection]:
    engine = engine_of(url, begin="BEGIN")
    try:
        with engine.connect() as connection:
            yield connection
    except DRIVER_ERRORS as error:
        raise storage_error(error) from error
    finally:
        engine.dispose()


def _settings_problems(connection: Connection) -> Sequence[str]:
    problems = []
    version = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one())
    if version < OLDEST:
        problems.append("PostgreSQL is older than 14; upgrade it")
    for name, values in REQUIRED.items():
        value = connection.exec_driver_sql(f"SHOW {name}").scalar_one()
        if value not in values:
            problems.append(
                f"PostgreSQL is set to {name} = {value}, with which a stored instance can be lost;"
                f" set {name} = {values[0]}, for the role and the database too"
            )
    if not connection.exec_driver_sql(SORTS_BYTEWISE).scalar_one():
        problems.append(
            "the database sorts text by a language; create it with TEMPLATE template0"
            " ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    return problems


def _role_problems(connection: Connection) -> Sequence[str]:
    privileged, owns = connection.exec_driver_sql(ROLE).one()
    if privileged:
        return [
            (
                "the role in --database-url is a superuser or has BYPASSRLS, so that row-level"
                " security does not hold for it; connect as a plain role"
            )
        ]
    if owns:
        return [
            (
                "the role in --database-url owns tables or is a member of their owner, so that"
                " row-level security does not hold for it; give the owner in --database-owner-url"
            )
        ]
    return []
