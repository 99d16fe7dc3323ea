"""Purging what was deleted, and the blobs that no row refers to.

The end of `Deletions`, and the port `UnreferencedBlobs`.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Table,
    delete,
    exists,
    insert,
    select,
    tuple_,
    update,
)

from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.delivery import INSTANCE
from swallowtail.cloud.model.port_errors import ConflictError
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records import deliveries, schema, scopes
from swallowtail.cloud.records.database import Database, Unit
from swallowtail.cloud.records.instances import REFERENCED
from swallowtail.cloud.records.inventory import tenants_of

_instance, _deleted, _blob = schema.instance, schema.deleted_instance, schema.unreferenced_blob
_lock = schema.retention_lock
PURGED: Final = ("id", "facility", "study", "series", "sha256")
"""What is read of an instance that is purged."""
_PLACES: Final = {
    schema.study: (("facility", "uid"), ("facility", "study")),
    schema.series: (("facility", "study", "uid"), ("facility", "study", "series")),
}
"""The columns that name a study or series, there and in the rows of instances."""
MARK = select(schema.high_water.c.value).where(schema.high_water.c.name == "instance")
_BY_INSTANCE: Final = (schema.index_document, schema.index_job, schema.routing)


def purge_rows(
    connection: Connection, tenant: Tenant, rows: Sequence[Row[Any]], now: float
) -> Sequence[Row[Any]]:
    """Remove deleted instances with everything that is theirs; returns those that were.

    One that is being delivered stays.
    """
    busy = deliveries.under_way(connection, tenant, INSTANCE, [row.id for row in rows], now)
    removed = [row for row in rows if row.id not in busy]
    drop_instances(connection, tenant, _deleted, removed, now)
    places = {(row.facility, row.study, row.series) for row in removed if row.study}
    _drop_empty(connection, tenant, schema.series, places)
    _drop_empty(
        connection, tenant, schema.study, {(facility, study) for facility, study, _ in places}
    )
    return removed


def is_locked(table: FromClause) -> ColumnElement[bool]:
    """Return whether a retention lock keeps a row of instances, or of deleted ones."""
    return exists().where(_lock.c.tenant == table.c.tenant, _lock.c.study == table.c.study)


def check_unlocked(connection: Connection, table: Table, *mine: ColumnElement[bool]) -> None:
    """Raise ConflictError where a retention lock keeps one of these rows."""
    if (
        connection.execute(select(table.c.id).where(*mine, is_locked(table)).limit(1)).first()
        is not None
    ):
        raise ConflictError(
            "a retention lock keeps the study; remove the lock first, if it may be removed"
        )


def drop_instances(
    connection: Connection, tenant: Tenant, table: Table, rows: Sequence[Row[Any]], now: float
) -> None:
    """Remove rows of instances, with documents, jobs and deliveries.

    Note the blobs that no row refers to any more.
    """
    ids = [row.id for row in rows]
    deliveries.removed(connection, tenant, INSTANCE, ids, now)
    for of_instance in _BY_INSTANCE:
        connection.execute(delete(of_instance).where(of_instance.c.instance.in_(ids)))
    connection.execute(delete(table).where(table.c.tenant == tenant, table.c.id.in_(ids)))
    raise_mark(connection, max(ids, default=0))
    digests = {row.sha256 for row in rows}
    connection.execute(
        delete(_blob).where(_blob.c.tenant == tenant, _blob.c.sha256.in_(digests))
    )  # their time begins now
    _mark(connection, tenant, digests, now)


def raise_mark(connection: Connection, highest: int) -> None:
    """Keep the ids that are given from now on above those that leave the table."""
    mark = connection.execute(MARK).scalar()
    if mark is None:
        connection.execute(insert(schema.high_water), {"name": "instance", "value": highest})
    elif mark < highest:
        connection.execute(
            update(schema.high_water)
            .where(schema.high_water.c.name == "instance")
            .values(value=highest)
        )


def _drop_empty(
    connection: Connection, tenant: Tenant, table: Table, places: Collection[tuple[str, ...]]
) -> None:
    """Drop the studies, or series, of these places of which no instance is left, be it deleted."""
    columns, names = _PLACES[table]
    left: set[tuple[str, ...]] = set()
    for instances in (_instance, _deleted):
        found = select(*(instances.c[name] for name in names)).distinct()
        found = found.where(
            instances.c.tenant == tenant, instances.c.study.in_({place[1] for place in places})
        )
        left |= {tuple(row) for row in connection.execute(found)}
    empty = sorted(set(places) - left)
    if empty:
        key = tuple_(*(table.c[name] for name in columns))
        connection.execute(delete(table).where(table.c.tenant == tenant, key.in_(empty)))


def _referenced(connection: Connection, tenant: Tenant, digests: Collection[bytes]) -> set[bytes]:
    return set(
        connection.execute(REFERENCED, {"tenant": tenant, "digests": list(digests)}).scalars()
    )


def _mark(connection: Connection, tenant: Tenant, digests: Collection[bytes], now: float) -> int:
    known = select(_blob.c.sha256).where(_blob.c.tenant == tenant, _blob.c.sha256.in_(digests))
    new = (
        set(digests)
        - _referenced(connection, tenant, digests)
        - set(connection.execute(known).scalars())
    )
    if new:
        connection.execute(
            insert(_blob),
            [{"tenant": tenant, "sha256": digest, "since": now} for digest in sorted(new)],
        )
    return len(new)


class UnreferencedBlobRecords:
    """The port `UnreferencedBlobs` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def mark(self, tenant: Tenant, digests: Collection[bytes], *, now: float) -> int:
        return await self._database.write(
            lambda unit: _mark(unit.connection, tenant, digests, now), tenant=tenant
        )

    async def due(
        self, limit: int, *, before: float, after: tuple[Tenant, bytes] | None = None
    ) -> tuple[tuple[Tenant, bytes], ...]:
        first, last = after or (Tenant(""), b"")

        def find(connection: Connection) -> tuple[tuple[Tenant, bytes], ...]:
            found: list[tuple[Tenant, bytes]] = []
            for tenant in tenants_of(connection):
                if tenant < first or len(found) >= limit:
                    continue
                scopes.enter(connection, tenant)
                mine = (_blob.c.tenant == tenant, _blob.c.since <= before)
                query = select(_blob.c.sha256).where(*mine).order_by(_blob.c.sha256)
                if tenant == first:
                    query = query.where(_blob.c.sha256 > last)
                digests = connection.execute(query.limit(limit - len(found))).scalars()
                found += [(tenant, digest) for digest in digests]
            return tuple(found)

        return await self._database.read(find)

    async def condemn(
        self, tenant: Tenant, digests: Collection[bytes], *, before: float
    ) -> frozenset[bytes]:
        def condemn(unit: Unit) -> frozenset[bytes]:
            mine = (_blob.c.tenant == tenant, _blob.c.sha256.in_(digests))
            needed = _referenced(unit.connection, tenant, digests)
            unit.connection.execute(
                delete(_blob).where(_blob.c.tenant == tenant, _blob.c.sha256.in_(needed))
            )
            noted = unit.connection.execute(
                select(_blob.c.sha256).where(*mine, _blob.c.since <= before)
            ).scalars()
            return frozenset(noted)

        return await self._database.write(
            condemn, tenant=tenant
        )  # a write, so that it comes after every commit that was requested before

    async def swept(
        self, tenant: Tenant, digests: Collection[bytes], *, now: float, event: AuditEvent
    ) -> None:
        def discard(unit: Unit) -> None:
            unit.connection.execute(
                delete(_blob).where(_blob.c.tenant == tenant, _blob.c.sha256.in_(digests))
            )
            unit.audit(tenant, event, now)

        await self._database.write(discard, tenant=tenant)
