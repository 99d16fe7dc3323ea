"""Whose rows a transaction may see: row-level security on PostgreSQL (ADR 0030).

Every statement names its tenant. On PostgreSQL the tenant is set for each transaction as well, and
policies hide the rows of all others, so that a statement without its condition finds nothing. On
SQLite these functions do nothing.
"""

from typing import Final

from sqlalchemy import Connection

from swallowtail.cloud.model.tenancy import Tenant

SET_TENANT: Final = "SELECT set_config('swallowtail.tenant', %s, true)"
SET_CREDENTIAL: Final = "SELECT set_config('swallowtail.credential', %s, true)"
LOCK: Final = (
    "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0)),"
    " set_config('swallowtail.tenant', %s, true)"
)
_ENTERED: Final = "tenant"


def setting_of(tenant: Tenant) -> str:
    """Return what the policies compare; the operator's tenant is '', as is a setting not made."""
    return f"={tenant}"


def enter(connection: Connection, tenant: Tenant) -> None:
    """Show a tenant's rows, and no other's, to the rest of this transaction."""
    if connection.dialect.name == "postgresql" and connection.info.get(_ENTERED) != tenant:
        connection.exec_driver_sql(SET_TENANT, (setting_of(tenant),))
        connection.info[_ENTERED] = tenant


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
    """Show the Link or token whose code or secret has this digest: it tells the tenant."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(SET_CREDENTIAL, (digest.hex(),))


def begun(connection: Connection) -> None:
    """Note that a transaction has begun, or gone back to its beginning: no tenant is entered."""
    connection.info.pop(_ENTERED, None)
