"""The routing: the statements of the port `Rules`."""

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.delivery import NewDelivery, Routed, Routing, Rule
from swallowtail.cloud.model.imaging import IndexState, Instance
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.port_errors import ConflictError, NotFoundError
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records import schema, scopes
from swallowtail.cloud.records.archives import put_by_rule
from swallowtail.cloud.records.database import Database, Unit
from swallowtail.cloud.records.deliveries import added
from swallowtail.cloud.records.instances import instance_of
from swallowtail.cloud.records.payloads import SOURCES
from swallowtail.cloud.records.rows import Listing, paged, plain

MAX_ENDED: Final = 10_000
"""Ended associations kept per Link: those of a busy day.

Of an older one the quiet time alone decides.
"""

_rule, _routing, _ended, _instance = (
    schema.rule,
    schema.routing,
    schema.ended_association,
    schema.instance,
)
RULES = (
    select(_rule.c.rule)
    .where(_rule.c.tenant == bindparam("tenant"))
    .order_by(_rule.c.position, _rule.c.name)
)
UNROUTED = select(_routing.c.tenant).where(_routing.c.at <= bindparam("now")).distinct()
"""The queue itself holds numbers only and is not hidden from anybody (ADR 0030)."""
READY = (
    select(_instance, schema.index_document.c.document, _routing.c.fired, _routing.c.at)
    .join(_instance, _instance.c.id == _routing.c.instance)
    .join(schema.index_document, schema.index_document.c.instance == _routing.c.instance)
    .where(_routing.c.tenant == bindparam("tenant"), _routing.c.at <= bindparam("now"))
    .order_by(_routing.c.at, _routing.c.instance)
    .limit(bindparam("count"))
)
STORED = (
    select(_instance, schema.index_document.c.document)
    .join(schema.index_document, schema.index_document.c.instance == _instance.c.id)
    .where(
        _instance.c.tenant == bindparam("tenant"),
        _instance.c.study == bindparam("study"),
        _instance.c.study != "",
    )
    .where(_instance.c.visible, _instance.c.state == IndexState.INDEXED)
)
PLACE = select(
    schema.study.c.issuer, schema.study.c.patient_id, schema.study.c.updated, schema.study.c.archive
).where(
    schema.study.c.tenant == bindparam("tenant"),
    schema.study.c.uid == bindparam("study"),
    schema.study.c.facility == bindparam("facility"),
)
ASSOCIATIONS = (
    select(_instance.c.association, func.max(_ended.c.ended).label("ended"))
    .distinct()
    .outerjoin(
        _ended,
        (_ended.c.tenant == _instance.c.tenant)
        & (_ended.c.link == _instance.c.link)
        & (_ended.c.association == _instance.c.association),
    )
    .where(
        _instance.c.tenant == bindparam("tenant"),
        _instance.c.study == bindparam("study"),
        _instance.c.study != "",
    )
    .where(_instance.c.facility == bindparam("facility"), _instance.c.link.is_not(None))
    .group_by(_instance.c.link, _instance.c.association)
)
THERE = select(_instance.c.id).where(
    _instance.c.tenant == bindparam("tenant"), _instance.c.id.in_(bindparam("ids", expanding=True))
)
DROP_ROUTING = delete(_routing).where(_routing.c.instance == bindparam("done"))
AGAIN = (
    update(_routing)
    .where(_routing.c.instance == bindparam("done"))
    .values(at=bindparam("new_at"), fired=bindparam("new_fired"))
)
SURPLUS = (
    select(_ended.c.ended)
    .where(_ended.c.tenant == bindparam("tenant"), _ended.c.link == bindparam("link"))
    .order_by(_ended.c.ended.desc())
    .offset(MAX_ENDED)
    .limit(1)
)


class RuleRecords:
    """The port `Rules` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, tenant: Tenant, rule: Rule, *, now: float, event: AuditEvent) -> None:
        row = {"name": rule.name, "position": rule.position, "rule": msgspec.msgpack.encode(rule)}
        mine = (_rule.c.tenant == tenant, _rule.c.id == rule.id)

        def put(unit: Unit) -> None:
            known = unit.connection.execute(select(_rule.c.id).where(*mine)).first()
            change = update(_rule).where(*mine) if known else insert(_rule)
            unit.connection.execute(
                change.values(row if known else row | {"tenant": tenant, "id": rule.id})
            )
            unit.audit(tenant, event, now)

        await self._database.write(put, tenant=tenant)

    async def remove(self, tenant: Tenant, rule: str, *, now: float, event: AuditEvent) -> None:
        def remove(unit: Unit) -> None:
            if not unit.connection.execute(
                delete(_rule).where(_rule.c.tenant == tenant, _rule.c.id == rule)
            ).rowcount:
                raise NotFoundError("there is no such rule")
            unit.audit(tenant, event, now)

        await self._database.write(remove, tenant=tenant)

    async def order(
        self, tenant: Tenant, rules: Sequence[str], *, now: float, event: AuditEvent
    ) -> None:
        def order(unit: Unit) -> None:
            rows = unit.connection.execute(RULES, {"tenant": tenant}).scalars()
            known = {
                rule.id: rule for rule in (msgspec.msgpack.decode(row, type=Rule) for row in rows)
            }
            if len(rules) != len(known) or set(rules) != set(known):
                raise ConflictError(
                    "these are not the rules that there are, each once; list them again and order"
                    " those"
                )
            for position, one in enumerate(rules, 1):
                if known[one].position != position:
                    moved = msgspec.structs.replace(known[one], position=position, changed=now)
                    row = {"position": position, "rule": msgspec.msgpack.encode(moved)}
                    unit.connection.execute(
                        update(_rule).where(_rule.c.tenant == tenant, _rule.c.id == one).values(row)
                    )
            unit.audit(tenant, event, now)

        await self._database.write(order, tenant=tenant)

    async def rules(self, tenant: Tenant) -> tuple[Rule, ...]:
        def find(connection: Connection) -> tuple[Rule, ...]:
            rows = connection.execute(RULES, {"tenant": tenant}).scalars()
            return tuple(msgspec.msgpack.decode(row, type=Rule) for row in rows)

        return await self._database.read(find, tenant=tenant)

    async def unrouted(self, limit: int, *, now: float) -> tuple[Routing, ...]:
        def find(connection: Connection) -> tuple[Routing, ...]:
            found: list[tuple[float, Routing]] = []
            key = {"now": now, "count": limit}
            for tenant in connection.execute(UNROUTED, key).scalars().all():
                scopes.enter(connection, tenant)
                seen: dict[tuple[str, ...], dict[str, Any]] = {}
                rows = connection.execute(READY, key | {"tenant": tenant}).mappings().all()
                found += [(row["at"], _routing_of(connection, plain(row), seen)) for row in rows]
            found.sort(key=lambda one: (one[0], one[1].instance.id))
            return tuple(routing for _, routing in found[:limit])

        return await self._database.read(find)

    async def note_ended(
        self, tenant: Tenant, link: str, associations: Collection[bytes], *, now: float
    ) -> None:
        def note(unit: Unit) -> None:
            for association in associations:
                key = {"tenant": tenant, "link": link, "association": association}
                mine = [_ended.c[name] == value for name, value in key.items()]
                if unit.connection.execute(select(_ended.c.ended).where(*mine)).first() is None:
                    unit.connection.execute(insert(_ended), key | {"ended": now})
            surplus = unit.connection.execute(SURPLUS, {"tenant": tenant, "link": link}).scalar()
            if surplus is not None:
                old = (_ended.c.tenant == tenant, _ended.c.link == link, _ended.c.ended <= surplus)
                unit.connection.execute(delete(_ended).where(*old))

        await self._database.write(note, tenant=tenant)

    async def stored(
        self, tenant: Tenant, study: str, page: PageRequest = FIRST_PAGE
    ) -> Page[Routing]:
        def find(connection: Connection) -> Page[Routing]:
            seen: dict[tuple[str, ...], dict[str, Any]] = {}
            listing = Listing(
                STORED,
                lambda row: _routing_of(connection, row | {"fired": "[]"}, seen),
                (_instance.c.id,),
            )
            return paged(connection, listing, {"tenant": tenant, "study": study}, page)

        return await self._database.read(find, tenant=tenant)

    async def routed(
        self,
        tenant: Tenant,
        routings: Sequence[Routed],
        deliveries: Sequence[NewDelivery],
        *,
        now: float,
    ) -> int:
        def keep(unit: Unit) -> int:
            key: dict[str, Any] = {
                "tenant": tenant,
                "ids": [routed.instance for routed in routings],
            }
            there = set(unit.connection.execute(THERE, key).scalars())
            removed = (
                set(key["ids"]) - there
            )  # deleted since they were evaluated; a restored one is evaluated then
            for routed in routings:
                if routed.instance in removed:
                    continue
                if routed.archive:
                    put_by_rule(unit, tenant, routed.instance, routed.archive, now)
                if routed.again_at is None:
                    unit.connection.execute(DROP_ROUTING, {"done": routed.instance})
                else:
                    fired = msgspec.json.encode(routed.fired).decode()
                    again = {"done": routed.instance, "new_at": routed.again_at, "new_fired": fired}
                    unit.connection.execute(AGAIN, again)
            return added(
                unit.connection,
                SOURCES,
                tenant,
                [one for one in deliveries if one.reference not in removed],
                now,
            )

        return await self._database.write(keep, tenant=tenant)


def _routing_of(
    connection: Connection, row: dict[str, Any], seen: dict[tuple[str, ...], dict[str, Any]]
) -> Routing:
    instance = instance_of(row)
    key = {name: row[name] for name in ("tenant", "facility", "study")}
    known = tuple(key.values())
    if known not in seen:
        seen[known] = _study_facts(connection, instance, key)
    fired = msgspec.json.decode(row["fired"], type=tuple[str, ...])
    return Routing(
        tenant=row["tenant"],
        instance=instance,
        document=row["document"],
        fired=fired,
        **seen[known],
    )


def _study_facts(connection: Connection, instance: Instance, key: dict[str, Any]) -> dict[str, Any]:
    """Return what the rules examine of the facility's part of the study.

    Asked once for each and batch.
    """
    place = connection.execute(PLACE, key).first()
    ends = connection.execute(ASSOCIATIONS, key).mappings().all()
    known = [row["ended"] for row in ends if row["ended"] is not None]
    return {
        "patient": (
            f"{place.issuer}\\{place.patient_id}" if place is not None and place.patient_id else ""
        ),
        "association_open": len(known) < len(ends),
        "archive": place.archive if place is not None else "",
        "quiet_since": max(
            [instance.received, place.updated if place is not None else 0.0, *known]
        ),
    }
