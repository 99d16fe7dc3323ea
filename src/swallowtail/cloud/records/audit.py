"""The audit chain read and verified: the statements of the port `Audit`.

Extending it is in `chain`.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, bindparam, func, literal_column, select

from swallowtail.cloud.model.audit import (
    ALL_RECORDS,
    KEYED,
    AuditEvent,
    AuditRecord,
    AuditSearch,
    ChainFault,
    ChainHead,
    ChainVerdict,
    ChainWalk,
    EventAction,
    EventId,
)
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.tenancy import OPERATOR, Tenant
from swallowtail.cloud.records import inventory, scopes
from swallowtail.cloud.records.chain import head
from swallowtail.cloud.records.database import Database, Unit
from swallowtail.cloud.records.prepared import Prepared
from swallowtail.cloud.records.rows import Listing, of, paged
from swallowtail.cloud.records.schema import FAILED, audit, audit_head, audit_object

_OF_TENANT = select(audit).where(audit.c.tenant == bindparam("tenant"))
STRETCH = (
    _OF_TENANT.where(audit.c.sequence > bindparam("after"))
    .order_by(audit.c.sequence)
    .limit(bindparam("limit"))
)
_STRETCH: Final = 2000
DIGEST = select(audit.c.digest).where(
    audit.c.tenant == bindparam("tenant"), audit.c.sequence == bindparam("sequence")
)
_IS_HEAD = (audit.c.tenant == audit_head.c.tenant) & (audit.c.sequence == audit_head.c.sequence)
_OF_HEAD = audit_head.c.tenant == bindparam("tenant")
NEWEST_KEY = select(func.max(audit.c.key)).join(audit_head, _IS_HEAD).where(_OF_HEAD)
OLD_KEYS = (
    select(audit_head.c.sequence, audit.c.key)
    .join(audit, _IS_HEAD)
    .where(_OF_HEAD, audit.c.key < bindparam("key"))
)
LISTED = Prepared(
    select(audit_object.c.sequence).where(
        audit_object.c.tenant == bindparam("tenant"),
        audit_object.c.object == bindparam("object"),
        audit_object.c.sequence == bindparam("sequence"),
    )
)
_event = msgspec.msgpack.Decoder(AuditEvent)


class AuditRecords:
    """The port `Audit` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, tenant: Tenant, events: Sequence[AuditEvent], *, now: float) -> None:
        def append(unit: Unit) -> None:
            for event in events:
                unit.audit(tenant, event, now)

        await self._database.write(append, tenant=tenant)

    async def records(
        self,
        tenant: Tenant,
        page: PageRequest = FIRST_PAGE,
        *,
        search: AuditSearch = ALL_RECORDS,
    ) -> Page[AuditRecord]:
        key, query = {"tenant": tenant}, RECORDS.where(*search_conditions(search))
        return await self._database.read(
            lambda connection: paged(connection, query, key, page), tenant=tenant
        )

    async def after(self, tenant: Tenant, sequence: int, limit: int) -> tuple[AuditRecord, ...]:
        key = {"tenant": tenant, "after": sequence, "limit": limit}

        def find(connection: Connection) -> tuple[AuditRecord, ...]:
            return tuple(of(row, _record) for row in connection.execute(STRETCH, key).mappings())

        return await self._database.read(find, tenant=tenant)

    async def verify(self, tenant: Tenant, exported: Collection[ChainHead] = ()) -> ChainVerdict:
        end = await self.head(tenant)
        walk = ChainWalk(self._database.audit_keys, tenant, exported)
        while walk.sequence < end.sequence:
            verdict = await self._database.read(
                lambda connection: _check_stretch(connection, walk, end), tenant=tenant
            )
            if verdict is not None:
                return verdict
        return walk.verdict(end)

    async def head(self, tenant: Tenant) -> ChainHead:
        sequence, digest = await self._database.read(
            lambda connection: head(connection, tenant), tenant=tenant
        )
        return ChainHead(tenant=tenant, sequence=sequence, digest=digest)

    async def heads(self) -> tuple[ChainHead, ...]:
        def find(connection: Connection) -> tuple[ChainHead, ...]:
            found = []
            for tenant in _chains(connection):
                sequence, digest = head(connection, tenant)
                if sequence:
                    found.append(ChainHead(tenant=tenant, sequence=sequence, digest=digest))
            return tuple(found)

        return await self._database.read(find)

    async def holds(self, heads: Collection[ChainHead]) -> frozenset[ChainHead]:
        def find(connection: Connection) -> frozenset[ChainHead]:
            held = []
            for one in heads:
                scopes.enter(connection, one.tenant)
                if _digest(connection, one) == one.digest:
                    held.append(one)
            return frozenset(held)

        return await self._database.read(find)

    async def newest_key(self) -> int:
        def find(connection: Connection) -> int:
            keys = (
                connection.execute(NEWEST_KEY, {"tenant": tenant}).scalar()
                for tenant in _chains(connection)
            )
            return max((key for key in keys if key is not None), default=0)

        return await self._database.read(find)

    async def begin_key(self, *, now: float) -> int:
        current = self._database.audit_keys.current

        def begin(unit: Unit) -> int:
            count = 0
            for tenant in _chains(unit.connection):
                key = {"tenant": tenant, "key": current}
                for row in unit.connection.execute(OLD_KEYS, key).all():
                    unit.audit(tenant, _keyed(row.sequence, row.key, current), now)
                    count += 1
            return count

        return await self._database.write(begin)


def _chains(connection: Connection) -> Iterator[Tenant]:
    """Enter each tenant that may have a chain, the operator last."""
    for tenant in (*inventory.tenants_of(connection), OPERATOR):
        scopes.enter(connection, tenant)
        yield tenant


def _keyed(sequence: int, old: int, new: int) -> AuditEvent:
    return AuditEvent(
        event=EventId.SECURITY_ALERT,
        action=EventAction.UPDATE,
        type=KEYED,
        actor="cloud",
        objects=(("audit-record", str(sequence)),),
        detail=f"records up to {sequence} have key {old}, this one and later ones key {new}",
    )


def search_conditions(search: AuditSearch) -> list[ColumnElement[bool]]:
    """Return what a search asks of a row."""
    exact = {"type": search.type, "actor": search.actor}
    conditions = [audit.c[name] == value for name, value in exact.items() if value]
    if search.object:
        mine = audit_object.c.tenant == bindparam("tenant")
        named = select(audit_object.c.sequence).where(mine, audit_object.c.object == search.object)
        conditions.append(audit.c.sequence.in_(named))
    if search.failed is not None:
        conditions.append(literal_column(FAILED) if search.failed else audit.c.outcome == 0)
    if search.since is not None:
        conditions.append(audit.c.at >= search.since)
    if search.before is not None:
        conditions.append(audit.c.at < search.before)
    return conditions


def _digest(connection: Connection, place: ChainHead) -> bytes | None:
    key = {"tenant": place.tenant, "sequence": place.sequence}
    found: bytes | None = connection.execute(DIGEST, key).scalar()
    return found


def _check_stretch(connection: Connection, walk: ChainWalk, end: ChainHead) -> ChainVerdict | None:
    """Check the next records of a chain, where the database reads; None: they fit."""
    after = walk.sequence
    place = {"tenant": end.tenant, "after": after, "limit": min(_STRETCH, end.sequence - after)}
    rows = connection.execute(STRETCH, place).all()
    for sequence, row in enumerate(rows, start=after + 1):
        fault = walk.fault_of(row)
        if fault is None and not _is_listed(connection, row, walk.objects):
            fault = ChainFault.LISTED
        if fault is not None:
            return ChainVerdict(records=end.sequence, broken_at=sequence, fault=fault)
    return None if rows else walk.missing(end)


def _is_listed(connection: Connection, row: Any, objects: Iterable[str]) -> bool:
    key = {"tenant": row.tenant, "sequence": row.sequence}
    return all(LISTED.rows(connection, {**key, "object": name}) for name in objects)


def _record(row: dict[str, Any]) -> AuditRecord:
    return msgspec.convert(row | {"event": _event.decode(row["event"])}, AuditRecord)


RECORDS = Listing(_OF_TENANT, _record, (audit.c.at, audit.c.sequence), descending=True)
