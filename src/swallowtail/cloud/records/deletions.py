"""Deleting and restoring instances: the statements of the port `Deletions`.

A deleted instance's row moves to `deleted_instance` and keeps its id; its document stays where it
is, and is found through no instance. Everything that reads instances is therefore blind to what is
deleted, and a commit of the same identity makes a new row.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Select,
    Table,
    Text,
    bindparam,
    case,
    delete,
    exists,
    false,
    func,
    insert,
    not_,
    select,
    tuple_,
    update,
)

from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.deletion import DeletedBatch, Deletion, NewDeletion, Scope, Selection
from swallowtail.cloud.model.delivery import INSTANCE
from swallowtail.cloud.model.imaging import Instance
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records import deliveries, purging, schema, scopes
from swallowtail.cloud.records.counting import Place, recount
from swallowtail.cloud.records.database import Database, Unit
from swallowtail.cloud.records.instance_alarms import clear_resolved
from swallowtail.cloud.records.instances import SHOW, instance_of
from swallowtail.cloud.records.inventory import tenants_of
from swallowtail.cloud.records.rows import Listing, only, paged
from swallowtail.cloud.records.running_deletions import RUNS

_instance, _deleted = schema.instance, schema.deleted_instance
_deletion, _part = schema.deletion, schema.deletion_part
_COLUMNS: Final = tuple(column.name for column in _instance.c)
_MOVED: Final = ("id", "facility", "study", "sop_instance")
_IDS: Final[BindParameter[Any]] = bindparam("ids", expanding=True)
MOVE_OUT = insert(_deleted).from_select(
    [*_COLUMNS, "deletion"],
    select(*_instance.c, bindparam("of_deletion", type_=Text)).where(_instance.c.id.in_(_IDS)),
)
DROP = delete(_instance).where(_instance.c.id.in_(_IDS))
DROP_DELETED = delete(_deleted).where(_deleted.c.id.in_(_IDS))
DROP_JOBS = delete(schema.index_job).where(schema.index_job.c.instance.in_(_IDS))
_other = _instance.alias()


def another_is_shown(table: FromClause) -> ColumnElement[bool]:
    """Return whether a stored copy of a row's UID is visible in its facility.

    The comparison keeps SQLite from using the index of visible instances, all of which it would
    read.
    """
    same = (_other.c[name] == table.c[name] for name in ("tenant", "sop_instance", "facility"))
    return exists().where(*same, case((_other.c.visible, 1), else_=0) == 1)


MOVE_BACK = insert(_instance).from_select(
    _COLUMNS,
    select(*(false() if name == "visible" else _deleted.c[name] for name in _COLUMNS)).where(
        _deleted.c.id.in_(_IDS)
    ),
)
SHOW_AGAIN = (
    update(_instance)
    .where(_instance.c.id.in_(_IDS), not_(another_is_shown(_instance)))
    .values(visible=True)
)
STORED_AGAIN = exists().where(
    *(
        _other.c[name] == _deleted.c[name]
        for name in ("tenant", "sop_instance", "transfer_syntax", "sha256", "facility")
    )
)
UNSHOWN = (
    select(func.min(_instance.c.id))
    .where(
        _instance.c.tenant == bindparam("tenant"),
        _instance.c.sop_instance.in_(bindparam("uids", expanding=True)),
        not_(another_is_shown(_instance)),
    )
    .group_by(_instance.c.sop_instance, _instance.c.facility)
)
"""The first copy of each SOP Instance UID in each facility that shows none."""
_LOCKED = exists().where(
    _deleted.c.tenant == _deletion.c.tenant,
    _deleted.c.deletion == _deletion.c.id,
    purging.is_locked(_deleted),
)
EXPIRED = (
    select(_deletion.c.id)
    .where(_deletion.c.tenant == bindparam("tenant"), _deletion.c.open, not_(_LOCKED))
    .order_by(_deletion.c.until)
)


class DeletionRecords:
    """The port `Deletions` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def delete(
        self,
        tenant: Tenant,
        new: NewDeletion,
        *,
        last: int | None = None,
        limit: int,
        now: float,
        event: AuditEvent,
    ) -> DeletedBatch:
        def remove(unit: Unit) -> DeletedBatch:
            mine = _within(_instance, tenant, new.scope, new.facilities)
            purging.check_unlocked(unit.connection, _instance, *mine)
            newest = last
            if newest is None:
                newest = unit.connection.execute(
                    select(func.max(_instance.c.id)).where(*mine)
                ).scalar_one()
                if newest is None:
                    raise NotFoundError("there is nothing stored to delete")
                unit.connection.execute(insert(_deletion), _row_of(tenant, new) | {"last": newest})
                unit.audit(tenant, event, now)
            rows = _next_rows(unit.connection, [*mine, _instance.c.id <= newest], limit)
            _set_running(unit.connection, tenant, new.id, now + RUNS if rows else None)
            links = (
                _move_out(unit.connection, tenant, new.id, rows, now) if rows else frozenset[str]()
            )
            return DeletedBatch(count=len(rows), last=newest, links=links)

        return await self._database.write(remove, tenant=tenant)

    async def deletions(
        self,
        tenant: Tenant,
        page: PageRequest = FIRST_PAGE,
        *,
        facilities: frozenset[str] | None = None,
    ) -> Page[Deletion]:
        deletions = listing(facilities)
        return await self._database.read(
            lambda connection: paged(connection, deletions, {"tenant": tenant}, page), tenant=tenant
        )

    async def deletion(
        self, tenant: Tenant, deletion: str, *, facilities: frozenset[str] | None = None
    ) -> Deletion:
        return await self._database.read(
            lambda connection: deletion_row(connection, tenant, deletion, facilities), tenant=tenant
        )

    async def latest(
        self, tenant: Tenant, scope: Scope, *, facilities: frozenset[str] | None = None
    ) -> Deletion | None:
        same = [
            _deletion.c[name] == getattr(scope, name)
            for name in ("study", "series", "sop_instance")
        ]
        same.append(_deletion.c.instance.is_not_distinct_from(scope.instance))
        matching = listing(facilities).where(*same, _deletion.c.open)

        def find(connection: Connection) -> Deletion | None:
            found = paged(connection, matching, {"tenant": tenant}, PageRequest(1)).items
            return found[0] if found else None

        return await self._database.read(find, tenant=tenant)

    async def deleted(
        self,
        tenant: Tenant,
        deletion: str,
        page: PageRequest = FIRST_PAGE,
        *,
        facilities: frozenset[str] | None = None,
    ) -> Page[Instance]:
        def find(connection: Connection) -> Page[Instance]:
            deletion_row(connection, tenant, deletion, facilities)
            instances = DELETED.where(
                _deleted.c.deletion == deletion, *_of_facilities(_deleted, facilities)
            )
            return paged(connection, instances, {"tenant": tenant}, page)

        return await self._database.read(find, tenant=tenant)

    async def restore(
        self, tenant: Tenant, deletion: str, selection: Selection, *,
        facilities: frozenset[str] | None = None, limit: int, now: float, event: AuditEvent | None,
    ) -> int:  # fmt: skip
        def restore(unit: Unit) -> int:
            deletion_row(unit.connection, tenant, deletion, facilities)
            mine = [
                _deleted.c.deletion == deletion,
                *_of_facilities(_deleted, facilities),
                *_selected(selection),
            ]
            count = _restore(unit.connection, tenant, deletion, mine, limit)
            if count and event is not None:
                unit.audit(tenant, event, now)
            return count

        return await self._database.write(restore, tenant=tenant)

    async def purge(
        self, tenant: Tenant, deletion: str, *,
        facilities: frozenset[str] | None = None, limit: int, now: float, event: AuditEvent | None,
    ) -> int:  # fmt: skip
        def purge(unit: Unit) -> int:
            deletion_row(unit.connection, tenant, deletion, facilities)
            mine = (
                _deleted.c.tenant == tenant,
                _deleted.c.deletion == deletion,
                *_of_facilities(_deleted, facilities),
            )
            purging.check_unlocked(unit.connection, _deleted, *mine)
            query = (
                select(*(_deleted.c[name] for name in purging.PURGED))
                .where(*mine)
                .order_by(_deleted.c.id)
            )
            removed = _purge(unit.connection, tenant, query, limit, now)
            note_parts(
                unit.connection, tenant, deletion, "purged", [row.facility for row in removed]
            )
            close_if_empty(unit.connection, tenant, deletion)
            if removed and event is not None:
                unit.audit(tenant, event, now)
            return len(removed)

        return await self._database.write(purge, tenant=tenant)

    async def expired(self, limit: int, *, now: float) -> tuple[tuple[Tenant, Deletion], ...]:
        query = EXPIRED.where(_deletion.c.until <= now).limit(limit)

        def find(connection: Connection) -> tuple[tuple[Tenant, Deletion], ...]:
            found: list[tuple[Tenant, Deletion]] = []
            for tenant in tenants_of(connection):
                scopes.enter(connection, tenant)
                ids = connection.execute(query, {"tenant": tenant}).scalars().all()
                found += [(tenant, deletion_row(connection, tenant, key, None)) for key in ids]
            return tuple(sorted(found, key=lambda one: one[1].until)[:limit])

        return await self._database.read(find)


def deletion_row(
    connection: Connection, tenant: Tenant, deletion: str, facilities: frozenset[str] | None
) -> Deletion:
    """Return a deletion, or raise NotFoundError where none concerns these facilities."""
    query = listing(facilities).query.where(_deletion.c.id == deletion)
    return only(connection.execute(query, {"tenant": tenant}), _deletion_of, "deletion")


def close_if_empty(connection: Connection, tenant: Tenant, deletion: str) -> None:
    """Note that nothing of a deletion can be restored any more, if that is so."""
    mine = (_deletion.c.tenant == tenant, _deletion.c.id == deletion)
    left = exists().where(_deleted.c.tenant == tenant, _deleted.c.deletion == deletion)
    connection.execute(update(_deletion).where(*mine, not_(left)).values(open=False))


def note_parts(
    connection: Connection, tenant: Tenant, deletion: str, column: str, facilities: Collection[str]
) -> None:
    """Add one to a count of a deletion for each instance, of which the facilities are given."""
    for facility, number in Counter(facilities).items():
        mine = (
            _part.c.tenant == tenant,
            _part.c.deletion == deletion,
            _part.c.facility == facility,
        )
        change = update(_part).where(*mine).values({column: _part.c[column] + number})
        if connection.execute(change).rowcount == 0:
            row = {
                "tenant": tenant,
                "deletion": deletion,
                "facility": facility,
                "instances": 0,
                "restored": 0,
                "purged": 0,
            }
            connection.execute(insert(_part), row | {column: number})


def _row_of(tenant: Tenant, new: NewDeletion) -> dict[str, Any]:
    scope = msgspec.structs.asdict(new.scope)
    return scope | {
        "tenant": tenant,
        "id": new.id,
        "reason": new.reason,
        "deleted": new.deleted,
        "deleted_by": new.deleted_by,
        "until": new.until,
        "open": True,
        "facilities": (
            None if new.facilities is None else msgspec.json.encode(sorted(new.facilities)).decode()
        ),
    }


def _set_running(
    connection: Connection, tenant: Tenant, deletion: str, until: float | None
) -> None:
    mine = (_deletion.c.tenant == tenant, _deletion.c.id == deletion)
    connection.execute(update(_deletion).where(*mine).values(runs_until=until))


def _next_rows(
    connection: Connection, mine: Sequence[ColumnElement[bool]], limit: int
) -> Sequence[Row[Any]]:
    """Return the next instances, with all their copies.

    So that none is shown in the place of one that is about to go too.
    """
    uids = select(_instance.c.sop_instance).where(*mine).distinct().limit(limit)
    query = select(*(_instance.c[name] for name in _MOVED)).where(*mine)
    return connection.execute(query.where(_instance.c.sop_instance.in_(uids))).all()


def _move_out(
    connection: Connection, tenant: Tenant, deletion: str, rows: Sequence[Row[Any]], now: float
) -> frozenset[str]:
    ids = [row.id for row in rows]
    connection.execute(MOVE_OUT, {"ids": ids, "of_deletion": deletion})
    connection.execute(DROP, {"ids": ids})
    connection.execute(DROP_JOBS, {"ids": ids})
    purging.raise_mark(connection, max(ids))
    note_parts(connection, tenant, deletion, "instances", [row.facility for row in rows])
    places, uids = _places(rows), {row.sop_instance for row in rows}
    links = deliveries.skipped(connection, tenant, INSTANCE, ids, now)
    _show_first(connection, tenant, uids)
    clear_resolved(connection, tenant, uids, now)
    _take_attributes_anew(connection, tenant, places, ids)
    recount(connection, tenant, places)
    return links


def _restore(
    connection: Connection,
    tenant: Tenant,
    deletion: str,
    mine: Sequence[ColumnElement[bool]],
    limit: int,
) -> int:
    query = select(
        *(_deleted.c[name] for name in (*_MOVED, "transfer_syntax", "sha256", "visible"))
    )
    query = query.where(_deleted.c.tenant == tenant, *mine, not_(STORED_AGAIN))
    rows = connection.execute(
        query.order_by(_deleted.c.visible.desc(), _deleted.c.id).limit(limit)
    ).all()
    if not rows:
        return 0
    # a deletion that ran beside a restoration may have taken the same instance twice, and two that
    # were visible in turn
    rows = [
        *{
            (row.sop_instance, row.transfer_syntax, row.sha256, row.facility): row
            for row in rows[::-1]
        }.values()
    ]
    ids = {"ids": [row.id for row in rows]}
    connection.execute(MOVE_BACK, ids)
    connection.execute(DROP_DELETED, ids)
    shown = {(row.sop_instance, row.facility): row.id for row in rows if row.visible}
    connection.execute(SHOW_AGAIN, {"ids": list(shown.values())})
    jobs = [{"instance": key, "tenant": tenant, "until": 0.0} for key in ids["ids"]]
    connection.execute(insert(schema.index_job), jobs)
    note_parts(connection, tenant, deletion, "restored", [row.facility for row in rows])
    _show_first(connection, tenant, {row.sop_instance for row in rows})
    recount(connection, tenant, _places(rows))
    close_if_empty(connection, tenant, deletion)
    return len(rows)


def _purge(
    connection: Connection, tenant: Tenant, query: Select[Any], limit: int, now: float
) -> Sequence[Row[Any]]:
    """Purge the next instances; those that are being delivered are passed over."""
    after = 0
    while rows := connection.execute(query.where(_deleted.c.id > after).limit(limit)).all():
        if removed := purging.purge_rows(connection, tenant, rows, now):
            return removed
        after = rows[-1].id
    return []


def _show_first(connection: Connection, tenant: Tenant, uids: Collection[str]) -> None:
    """Make the first copy visible of each UID of which none is."""
    for (chosen,) in connection.execute(UNSHOWN, {"tenant": tenant, "uids": list(uids)}).all():
        connection.execute(SHOW, {"chosen": chosen})


def _places(rows: Sequence[Row[Any]]) -> set[Place]:
    """Return the studies of these instances, each with its facility."""
    return {(row.facility, row.study) for row in rows if row.study}


def _take_attributes_anew(
    connection: Connection, tenant: Tenant, places: Collection[Place], removed: Collection[int]
) -> None:
    """Copy the attributes of studies and series again."""
    for table, columns in (
        (schema.study, ("facility", "uid")),
        (schema.series, ("facility", "study", "uid")),
    ):
        of_places = tuple_(table.c.facility, table.c[columns[1]]).in_(sorted(places))
        found = select(*(table.c[name] for name in columns)).where(
            table.c.tenant == tenant, of_places, table.c.source.in_(removed)
        )
        for place in connection.execute(found).all():
            mine = [table.c[name] == value for name, value in zip(columns, place, strict=True)]
            connection.execute(
                update(table).where(table.c.tenant == tenant, *mine).values(source=None)
            )
            left = [
                _instance.c[name] == value
                for name, value in zip(("facility", "study", "series"), place, strict=False)
            ]
            first = connection.execute(
                select(func.min(_instance.c.id)).where(
                    _instance.c.tenant == tenant, *left, _instance.c.visible
                )
            ).scalar()
            if first is not None:
                connection.execute(DROP_JOBS, {"ids": [first]})
                job = {"instance": first, "tenant": tenant, "until": 0.0}
                connection.execute(insert(schema.index_job), job)


def _within(
    table: Table, tenant: Tenant, scope: Scope, facilities: frozenset[str] | None
) -> list[ColumnElement[bool]]:
    given = {
        "study": scope.study,
        "series": scope.series,
        "sop_instance": scope.sop_instance,
        "id": scope.instance,
    }
    exact = [table.c[name] == value for name, value in given.items() if value]
    return [table.c.tenant == tenant, *exact, *_of_facilities(table, facilities)]


def _of_facilities(table: Table, facilities: frozenset[str] | None) -> list[ColumnElement[bool]]:
    return [] if facilities is None else [table.c.facility.in_(sorted(facilities))]


def _selected(selection: Selection) -> list[ColumnElement[bool]]:
    if not selection.series and not selection.instances:
        return []
    return [_deleted.c.series.in_(selection.series) | _deleted.c.id.in_(selection.instances)]


def listing(facilities: frozenset[str] | None) -> Listing[Deletion]:
    """Return the listing of deletions that concern these facilities, counted over them."""
    parts = (
        _part.c.tenant == _deletion.c.tenant,
        _part.c.deletion == _deletion.c.id,
        *_of_facilities(_part, facilities),
    )
    names = ("instances", "restored", "purged")
    counts = (
        select(func.sum(_part.c[name]))
        .where(*parts)
        .correlate(_deletion)
        .scalar_subquery()
        .label(name)
        for name in names
    )
    query = select(_deletion, *counts).where(
        _deletion.c.tenant == bindparam("tenant"), exists().where(*parts)
    )
    return Listing(query, _deletion_of, (_deletion.c.deleted, _deletion.c.id), descending=True)


def _deletion_of(row: dict[str, Any]) -> Deletion:
    scope = {name: row[name] for name in Scope.__struct_fields__}
    return msgspec.convert(row | {"scope": scope}, Deletion)


DELETED = Listing(
    select(_deleted).where(_deleted.c.tenant == bindparam("tenant")), instance_of, (_deleted.c.id,)
)
