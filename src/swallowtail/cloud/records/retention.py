"""The retention of deleted instances, and the end of removed organisations.

The statements of the port `Retentions`.
"""

from typing import Any, Final

from sqlalchemy import Connection, Table, bindparam, delete, insert, select, update

from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.deletion import RetentionLock
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.tenancy import DAY, OPERATOR, Organisation, OrganisationState, Tenant
from swallowtail.cloud.records import purging, schema, scopes
from swallowtail.cloud.records.database import Database, Unit
from swallowtail.cloud.records.organisations import require_organisation
from swallowtail.cloud.records.rows import Listing, of, paged, values

_organisation: Final = schema.organisation
KEPT: Final = frozenset(
    {schema.audit, schema.audit_head, schema.audit_object, schema.unreferenced_blob}
)
"""What outlives its organisation.

The audit, which states who removed it and when, and the blobs that still have to be swept.
"""
OF_TENANTS: Final[tuple[Table, ...]] = tuple(
    table
    for table in reversed(schema.metadata.sorted_tables)
    if "tenant" in table.c and table not in KEPT
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

LOCKS = Listing(
    select(schema.retention_lock).where(schema.retention_lock.c.tenant == bindparam("tenant")),
    RetentionLock,
    (schema.retention_lock.c.study,),
)
LOCKED = LOCKS.query.limit(1)
LOCK = LOCKS.query.where(schema.retention_lock.c.study == bindparam("study"))
OF_STUDY: Final = tuple(
    select(table.c.id)
    .where(table.c.tenant == bindparam("tenant"), table.c.study == bindparam("study"))
    .limit(1)
    for table in (schema.instance, schema.deleted_instance)
)


class RetentionRecords:
    """The port `Retentions` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def set_days(
        self, tenant: Tenant, days: int, *, now: float, event: AuditEvent
    ) -> Organisation:
        def change(unit: Unit) -> Organisation:
            require_organisation(unit.connection, tenant)
            mine = update(_organisation).where(_organisation.c.id == tenant)
            unit.connection.execute(mine.values(retention_days=days))
            unit.audit(tenant, event, now)
            return require_organisation(unit.connection, tenant)

        return await self._database.write(change, tenant=tenant)

    async def ended(self, limit: int, *, now: float) -> tuple[Tenant, ...]:
        over = _organisation.c.removed + _organisation.c.retention_days * DAY <= now

        def find(connection: Connection) -> tuple[Tenant, ...]:
            found: list[Tenant] = []
            for key in connection.execute(ENDED.where(over)).scalars().all():
                tenant = Tenant(key)
                scopes.enter(connection, tenant)
                if (
                    len(found) < limit
                    and not connection.execute(LOCKED, {"tenant": tenant}).first()
                ):
                    found.append(tenant)
            return tuple(found)

        return await self._database.read(find)

    async def purge(self, tenant: Tenant, *, limit: int, now: float, event: AuditEvent) -> int:
        def purge(unit: Unit) -> int:
            for table in (schema.instance, schema.deleted_instance):
                columns = (table.c[name] for name in purging.PURGED)
                rows = unit.connection.execute(
                    select(*columns).where(table.c.tenant == tenant).limit(limit)
                ).all()
                if rows:
                    purging.drop_instances(unit.connection, tenant, table, rows, now)
                    return len(rows)
            _drop_rest(unit.connection, tenant, now)
            unit.audit(tenant, event, now)
            unit.audit(OPERATOR, event, now)
            return 0

        return await self._database.write(purge, tenant=tenant)

    async def lock(
        self, tenant: Tenant, lock: RetentionLock, *, now: float, event: AuditEvent
    ) -> RetentionLock:
        def keep(unit: Unit) -> RetentionLock:
            known = (
                unit.connection.execute(LOCK, {"tenant": tenant, "study": lock.study})
                .mappings()
                .first()
            )
            if known is not None:
                return of(known, RetentionLock)
            key = {"tenant": tenant, "study": lock.study}
            if not any(unit.connection.execute(statement, key).first() for statement in OF_STUDY):
                raise NotFoundError("there is no such study")
            unit.connection.execute(
                insert(schema.retention_lock), values(lock) | {"tenant": tenant}
            )
            unit.audit(tenant, event, now)
            return lock

        return await self._database.write(keep, tenant=tenant)

    async def unlock(self, tenant: Tenant, study: str, *, now: float, event: AuditEvent) -> None:
        def drop(unit: Unit) -> None:
            mine = (
                schema.retention_lock.c.tenant == tenant,
                schema.retention_lock.c.study == study,
            )
            if not unit.connection.execute(delete(schema.retention_lock).where(*mine)).rowcount:
                raise NotFoundError("there is no such lock")
            unit.audit(tenant, event, now)

        await self._database.write(drop, tenant=tenant)

    async def locks(self, tenant: Tenant, page: PageRequest = FIRST_PAGE) -> Page[RetentionLock]:
        return await self._database.read(
            lambda connection: paged(connection, LOCKS, {"tenant": tenant}, page), tenant=tenant
        )


def _drop_rest(connection: Connection, tenant: Tenant, now: float) -> None:
    for table in OF_TENANTS:
        connection.execute(delete(table).where(table.c.tenant == tenant))
    ended: dict[str, Any] = {"purged": now, "title": ""}
    connection.execute(update(_organisation).where(_organisation.c.id == tenant).values(ended))
