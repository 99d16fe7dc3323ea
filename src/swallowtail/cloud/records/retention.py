"""How long organisations keep what is deleted, and the end of removed ones: the statements of the port `Retentions`."""

from typing import Any, Final

from sqlalchemy import Connection, Table, delete, select, update

from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.tenancy import DAY, OPERATOR, Organisation, OrganisationState, Tenant
from swallowtail.cloud.records import purging, schema
from swallowtail.cloud.records.database import Database, Unit
from swallowtail.cloud.records.people import require_organisation

_organisation: Final = schema.organisation
KEPT: Final = frozenset({schema.audit, schema.audit_head, schema.audit_object, schema.unreferenced_blob})
"""What outlives its organisation: the audit, which says who removed it and when, and the blobs that still have to be swept."""
OF_TENANTS: Final[tuple[Table, ...]] = tuple(
    table for table in reversed(schema.metadata.sorted_tables) if "tenant" in table.c and table not in KEPT
)
ENDED: Final = (
    select(_organisation.c.id)
    .where(
        _organisation.c.state == OrganisationState.REMOVED,
        _organisation.c.purged.is_(None),
        _organisation.c.removed.is_not(None),
    )
    .order_by(_organisation.c.removed)
)


class RetentionRecords:
    """The port `Retentions` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def set_days(self, tenant: Tenant, days: int, *, now: float, event: AuditEvent) -> Organisation:
        def change(unit: Unit) -> Organisation:
            require_organisation(unit.connection, tenant)
            mine = update(_organisation).where(_organisation.c.id == tenant)
            unit.connection.execute(mine.values(retention_days=days))
            unit.audit(tenant, event, now)
            return require_organisation(unit.connection, tenant)

        return await self._database.write(change)

    async def ended(self, limit: int, *, now: float) -> tuple[Tenant, ...]:
        over = _organisation.c.removed + _organisation.c.retention_days * DAY <= now
        query = ENDED.where(over).limit(limit)

        def find(connection: Connection) -> tuple[Tenant, ...]:
            return tuple(Tenant(key) for key in connection.execute(query).scalars())

        return await self._database.read(find)

    async def purge(self, tenant: Tenant, *, limit: int, now: float, event: AuditEvent) -> int:
        def purge(unit: Unit) -> int:
            for table in (schema.instance, schema.deleted_instance):
                columns = (table.c[name] for name in purging.PURGED)
                rows = unit.connection.execute(select(*columns).where(table.c.tenant == tenant).limit(limit)).all()
                if rows:
                    purging.drop_instances(unit.connection, tenant, table, rows, now)
                    return len(rows)
            _drop_rest(unit.connection, tenant, now)
            unit.audit(tenant, event, now)
            unit.audit(OPERATOR, event, now)
            return 0

        return await self._database.write(purge)


def _drop_rest(connection: Connection, tenant: Tenant, now: float) -> None:
    for table in OF_TENANTS:
        connection.execute(delete(table).where(table.c.tenant == tenant))
    ended: dict[str, Any] = {"purged": now, "title": ""}
    connection.execute(update(_organisation).where(_organisation.c.id == tenant).values(ended))
