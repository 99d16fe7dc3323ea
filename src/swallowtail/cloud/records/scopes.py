"""Whose rows a transaction may see: row-level security on PostgreSQL (ADR 0030).

Every statement names its tenant. On PostgreSQL the tenant is set for each transaction as well, and
policies hide the rows of all others, so that a statement without its condition finds nothing. On
SQLite these functions do nothing.
"""

from typing import Any, Final

import psycopg
from psycopg import sql
from sqlalchemy import Connection

from swallowtail.cloud.model.tenancy import Tenant

SET_TENANT: Final = "SELECT set_config('swallowtail.tenant', %s, true)"
SET_CREDENTIAL: Final = "SELECT set_config('swallowtail.credential', %s, true)"
LOCK: Final = (
    "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0)),"
    " set_config('swallowtail.tenant', %s, true)"
)
_ENTERED: Final = "tenant"
_TO_LOCK: Final = "tenant to lock"


def setting_of(tenant: Tenant) -> str:
    """Return what the policies compare; the operator's tenant is '', as is a setting not made."""
    return f"={tenant}"


def enter(connection: Connection, tenant: Tenant) -> None:
    """Show a tenant's rows, and no other's, to the rest of this transaction."""
    if connection.dialect.name == "postgresql" and connection.info.get(_ENTERED) != tenant:
        connection.exec_driver_sql(SET_TENANT, (setting_of(tenant),))
        connection.info[_ENTERED] = tenant


def execute(connection: Connection, statement: str) -> None:
    """Execute a statement without parameters or rows through the driver, which is quicker."""
    driver: Any = connection.connection.driver_connection
    driver.execute(statement)


def begin_with(connection: Connection, begin: str) -> None:
    """Start a transaction on PostgreSQL, in one round trip with `lock` where a tenant is named."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    tenant = connection.info.get(_TO_LOCK)
    if tenant is None:
        driver.execute(begin.encode())
        return
    setting = sql.Literal(setting_of(tenant))
    driver.execute(
        sql.SQL("{}; SELECT pg_advisory_xact_lock(hashtextextended({}, 0)),"
                " set_config('swallowtail.tenant', {}, true)").format(
            sql.SQL(begin), setting, setting
        )
    )  # fmt: skip
    connection.info[_ENTERED] = tenant


def begin_in(connection: Connection, tenant: Tenant | None) -> None:
    """Note the tenant whose lock the next transaction begins with; None: it begins with none."""
    connection.info.pop(_ENTERED, None)
    connection.info[_TO_LOCK] = tenant


def lock(connection: Connection, tenant: Tenant) -> None:
    """Enter a tenant and hold back every other writer of it until this transaction ends.

    The audit chain orders a tenant's changes anyway. On the same lock stand the places of its
    deliveries, its lanes and its alarms.
    """
    if connection.dialect.name == "postgresql":
        setting = setting_of(tenant)
        connection.exec_driver_sql(LOCK, (setting, setting))
        connection.info[_ENTERED] = tenant


def continue_in(connection: Connection, tenant: Tenant) -> None:
    """Lock and enter a tenant unless it is entered."""
    if connection.info.get(_ENTERED) != tenant:
        lock(connection, tenant)


def present(connection: Connection, digest: bytes) -> None:
    """Show the Link or token whose code or secret has this digest: it reports the tenant."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(SET_CREDENTIAL, (digest.hex(),))
