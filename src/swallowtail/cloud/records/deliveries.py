"""The statements of the port `Deliveries`. What may be claimed is in `lanes`."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.decisions import AWAITING_PERSON, delivered
from swallowtail.cloud.model.delivery import (
    DONE_STATES,
    BreakerState,
    Claim,
    Delivery,
    DeliveryAttempt,
    DeliverySearch,
    DeliveryState,
    DestinationState,
    Due,
    Lease,
    NewDelivery,
    Payload,
    Settlement,
    Target,
)
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.port_errors import ConflictError, NotFoundError
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records import attempts, dead_letter_alarms, lanes, payloads, schema
from swallowtail.cloud.records.database import Database, Unit
from swallowtail.cloud.records.payloads import SOURCES, Sources
from swallowtail.cloud.records.prepared import Prepared
from swallowtail.cloud.records.rows import Listing, paged, plain, values

MAX_CHANGED: Final = 10_000
"""Deliveries that one action changes, since its transaction delays every store."""
LOOK_AHEAD: Final = 64
DAY: Final = 86_400.0

_delivery = schema.delivery
_TENANT = _delivery.c.tenant == bindparam("tenant")
KNOWN = Prepared(
    select(_delivery.c.id).where(
        *lanes.OF_DESTINATION,
        _delivery.c.kind == bindparam("kind"),
        _delivery.c.reference == bindparam("reference"),
        _delivery.c.cause == bindparam("cause"),
    )
)
LAST_PLACE = Prepared(select(func.max(_delivery.c.place)))
ADD = Prepared(
    insert(_delivery).values(
        {column.name: bindparam(column.name) for column in _delivery.c if column.name != "id"}
    )
)
BY_ID = Prepared(select(_delivery).where(_TENANT, _delivery.c.id == bindparam("id")))
_COLUMNS: Final = tuple(str(column.name) for column in _delivery.c)
LEASE = Prepared(
    update(_delivery)
    .where(_delivery.c.id == bindparam("taken"))
    .values(
        state=DeliveryState.SENDING,
        until=bindparam("end"),
        changed=bindparam("at"),
        token=_delivery.c.token + 1,
        tries=_delivery.c.tries + 1,
    )
)
_HELD = (
    _delivery.c.tenant == bindparam("of"),
    _delivery.c.id == bindparam("held"),
    _delivery.c.token == bindparam("shown"),
    lanes.IS_SENDING,
)
HOLDS = Prepared(
    select(
        *(
            _delivery.c[name]
            for name in ("link", "destination", "lane", "tries", "kind", "reference")
        )
    ).where(*_HELD)
)
EXTEND = Prepared(
    update(_delivery).where(_delivery.c.id == bindparam("held")).values(until=bindparam("end"))
)
_SETTLED: Final = ("state", "next_at", "status", "about", "phase", "detail", "sent_format", "cuts")
SETTLE = Prepared(
    update(_delivery)
    .where(_delivery.c.id == bindparam("held"))
    .values(
        {name: bindparam(f"new_{name}") for name in _SETTLED}
        | {
            "changed": bindparam("at"),
            "refusals": _delivery.c.refusals + bindparam("refused"),
            "until": 0.0,
        }
    )
)
SOON = Prepared(
    select(_delivery.c.kind, _delivery.c.type, _delivery.c.format)
    .where(*lanes.OF_DESTINATION, lanes.IS_OPEN)
    .order_by(_delivery.c.created)
    .limit(LOOK_AHEAD)
)
DESTINATIONS = select(schema.destination).where(
    schema.destination.c.tenant == bindparam("tenant"),
    schema.destination.c.link == bindparam("link"),
)
_COUNTED = (
    DeliveryState.PENDING,
    DeliveryState.SENDING,
    DeliveryState.STOPPED,
    DeliveryState.PARKED,
    DeliveryState.DEAD_LETTER,
)
COUNT = Prepared(
    select(func.count()).where(
        *lanes.OF_DESTINATION,
        _delivery.c.state == bindparam("state"),
        _delivery.c.changed >= bindparam("since"),
    )
)
OLDEST = Prepared(select(func.min(_delivery.c.created)).where(*lanes.OF_DESTINATION, lanes.IS_OPEN))
FROM: Final = {
    DeliveryState.PARKED: frozenset({DeliveryState.PENDING, DeliveryState.STOPPED}),
    DeliveryState.SKIPPED: frozenset(
        {
            DeliveryState.PENDING,
            DeliveryState.STOPPED,
            DeliveryState.PARKED,
            DeliveryState.DEAD_LETTER,
        }
    ),
    DeliveryState.DEAD_LETTER: frozenset({DeliveryState.PENDING, DeliveryState.STOPPED}),
    DeliveryState.PENDING: frozenset(DeliveryState)
    - {DeliveryState.PENDING, DeliveryState.SENDING},
}
"""The states from which a delivery can be changed into each state."""
RETRIED: Final = frozenset(
    {DeliveryState.PENDING, DeliveryState.STOPPED, DeliveryState.PARKED, DeliveryState.DEAD_LETTER}
)
"""The states from which a delivery can be retried in its place."""


class DeliveryRecords:
    """The port `Deliveries` over a database."""

    def __init__(self, database: Database, sources: Sources = SOURCES) -> None:
        self._database, self._sources = database, sources

    async def add(
        self,
        tenant: Tenant,
        deliveries: Sequence[NewDelivery],
        *,
        now: float,
        event: AuditEvent | None = None,
    ) -> int:
        def add(unit: Unit) -> int:
            if event is not None:
                unit.audit(tenant, event, now)
            return added(unit.connection, self._sources, tenant, deliveries, now)

        return await self._database.write(add, tenant=tenant)

    async def claim(
        self,
        tenant: Tenant,
        target: Target,
        limit: int,
        *,
        now: float,
        until: float,
        after: Lease | None = None,
    ) -> Claim:
        def claim(unit: Unit) -> Claim:
            state = lanes.state_of(unit.connection, tenant, target)
            if state.paused:
                return Claim(state=state)
            if after is None:
                taken = _heads(unit.connection, tenant, state, limit, now)
            else:
                taken = _follower(unit.connection, state, after, now)
            if not taken:
                return Claim(state=state)
            if state.breaker is not BreakerState.CLOSED:
                lanes.half_open(unit.connection, tenant, target, until)
                state = lanes.state_of(unit.connection, tenant, target)
            leases = tuple(_lease(unit.connection, tenant, one, now, until) for one in taken)
            return Claim(
                leases=leases, state=state, expected=_expected(unit.connection, tenant, target)
            )

        return await self._database.write(claim, tenant=tenant)

    async def extend(self, leases: Sequence[Lease], *, until: float) -> frozenset[int]:
        def extend(unit: Unit) -> frozenset[int]:
            held = [
                lease
                for lease in leases
                if _holds(unit.connection, lease.tenant, lease.delivery.id, lease.token)
            ]
            for lease in held:
                EXTEND.run(unit.connection, {"held": lease.delivery.id, "end": until})
                lanes.refresh(
                    unit.connection, lease.tenant, lease.delivery.target, lease.delivery.lane
                )
                if (
                    lanes.state_of(unit.connection, lease.tenant, lease.delivery.target).breaker
                    is BreakerState.HALF_OPEN
                ):
                    lanes.half_open(unit.connection, lease.tenant, lease.delivery.target, until)
            return frozenset(lease.delivery.id for lease in held)

        return await self._database.write(extend, tenant=_one({one.tenant for one in leases}))

    async def settle(
        self, settlements: Sequence[Settlement], destination: DestinationState | None, *, now: float
    ) -> frozenset[int]:
        def settle(unit: Unit) -> frozenset[int]:
            kept = [one for one in settlements if _settle(unit, self._sources, one, now)]
            if kept and destination is not None:
                lanes.set_breaker(unit.connection, kept[0].tenant, destination)
            return frozenset(one.delivery for one in kept)

        return await self._database.write(settle, tenant=_one({one.tenant for one in settlements}))

    async def due(self, tenant: Tenant, link: str) -> tuple[Due, ...]:
        def find(connection: Connection) -> tuple[Due, ...]:
            rows = (
                connection.execute(DESTINATIONS, {"tenant": tenant, "link": link}).mappings().all()
            )
            found = (_due(connection, tenant, plain(row)) for row in rows if not row["paused"])
            return tuple(one for one in found if one is not None)

        return await self._database.read(find, tenant=tenant)

    async def act(
        self,
        tenant: Tenant,
        search: DeliverySearch,
        deliveries: Collection[int],
        state: DeliveryState,
        *,
        in_place: bool = False, reason: str, now: float, event: AuditEvent,
    ) -> int:  # fmt: skip
        leavable = RETRIED if in_place else FROM[state]

        def act(unit: Unit) -> int:
            chosen = _chosen(unit.connection, tenant, search, deliveries, leavable)
            if deliveries and any(
                row["state"] == DeliveryState.SENDING and row["until"] > now for row in chosen
            ):
                raise ConflictError(
                    "the delivery is under way; wait for its outcome, then decide again"
                )
            rows = _changeable(chosen, leavable, now)
            for row in rows:
                changed = _moved(row, state, now) if in_place else _changed(row, state, reason, now)
                unit.connection.execute(
                    update(_delivery).where(_delivery.c.id == row["id"]).values(changed)
                )
                if (
                    state is DeliveryState.PENDING
                    and not in_place
                    and row["state"] != DeliveryState.STOPPED
                ):
                    place = _last_place(unit.connection) + 1
                    unit.connection.execute(
                        update(_delivery).where(_delivery.c.id == row["id"]).values(place=place)
                    )
            _refresh_all(unit.connection, tenant, rows, now)
            if rows:
                unit.audit(tenant, event, now)
            return len(rows)

        return await self._database.write(act, tenant=tenant)

    async def deliveries(
        self, tenant: Tenant, search: DeliverySearch, page: PageRequest = FIRST_PAGE
    ) -> Page[Delivery]:
        listing = DELIVERIES.where(*_conditions(search))
        return await self._database.read(
            lambda connection: paged(connection, listing, {"tenant": tenant}, page), tenant=tenant
        )

    async def delivery(self, tenant: Tenant, delivery: int) -> Delivery:
        return await self._database.read(
            lambda connection: delivery_of(_row(connection, tenant, delivery)), tenant=tenant
        )

    async def attempts(
        self, tenant: Tenant, delivery: int, page: PageRequest = FIRST_PAGE
    ) -> Page[DeliveryAttempt]:
        key = {"tenant": tenant, "delivery": delivery}
        return await self._database.read(
            lambda connection: paged(connection, attempts.ATTEMPTS, key, page), tenant=tenant
        )

    async def destinations(
        self,
        tenant: Tenant,
        targets: Collection[Target] | None,
        *,
        now: float,
        facilities: frozenset[str] | None = None,
    ) -> dict[Target, DestinationState]:
        def find(connection: Connection) -> dict[Target, DestinationState]:
            wanted = lanes.targets(connection, tenant) if targets is None else targets
            return {
                target: _counted(connection, tenant, target, now, facilities) for target in wanted
            }

        return await self._database.read(find, tenant=tenant)

    async def pause(
        self, tenant: Tenant, target: Target, *, paused: bool, now: float, event: AuditEvent
    ) -> DestinationState:
        def pause(unit: Unit) -> DestinationState:
            lanes.ensure(unit.connection, tenant, target)
            table = schema.destination
            mine = (
                table.c.tenant == tenant,
                table.c.link == target.link,
                table.c.destination == target.destination,
            )
            values: dict[str, Any] = {"paused": paused, "paused_by": event.actor if paused else ""}
            if not paused:
                values |= {"breaker": BreakerState.CLOSED, "failures": 0, "retry_at": 0.0}
            unit.connection.execute(update(table).where(*mine).values(values))
            unit.audit(tenant, event, now)
            return _counted(unit.connection, tenant, target, now)

        return await self._database.write(pause, tenant=tenant)


def _one(tenants: Collection[Tenant]) -> Tenant | None:
    """Return the tenant of a sender's deliveries: a sender serves one Link."""
    if len(tenants) > 1:
        raise ValueError("deliveries of several tenants in one call")
    return next(iter(tenants), None)


def added(
    connection: Connection,
    sources: Sources,
    tenant: Tenant,
    deliveries: Iterable[NewDelivery],
    now: float,
) -> int:
    """Queue deliveries at the end of their lanes, within the caller's transaction.

    Returns how many were new. NotFoundError: the row of a payload does not exist.
    """
    touched: dict[tuple[Target, str], None] = {}  # ordered: due lanes are served as they were made
    count, place = 0, _last_place(connection)
    ordered: dict[Target, bool] = {}
    for new in deliveries:
        key = lanes.key_of(tenant, new.target) | {"kind": new.kind, "reference": new.reference}
        if KNOWN.rows(connection, key | {"cause": new.cause}):
            continue
        payload = payloads.find(connection, sources, tenant, new.kind, new.reference)
        if payload is None:
            raise NotFoundError(f"there is no such {new.kind}")
        count, place = count + 1, place + 1
        if new.target not in ordered:
            ordered[new.target] = lanes.is_open(connection, tenant, new.target, "")
        lane = (
            "" if ordered[new.target] else new.lane
        )  # it must not overtake its patient's in there
        row = key | values(payload) | {"lane": lane, "cause": new.cause}
        ADD.run(
            connection,
            row | _NEW | {"rank": -new.priority, "place": place, "created": now, "changed": now},
        )
        touched[new.target, lane] = None
    for target, lane in touched:
        lanes.ensure(connection, tenant, target)
        lanes.refresh(connection, tenant, target, lane)
    return count


_FRESH: Final[dict[str, Any]] = {
    "refusals": 0,
    "cuts": 0,
    "status": None,
    "about": None,
    "phase": None,
    "detail": "",
}
"""What the cap counts, and the last outcome: a resend resets these, but not `tries`."""
_NEW: Final[dict[str, Any]] = _FRESH | {
    "state": DeliveryState.PENDING,
    "tries": 0,
    "next_at": 0.0,
    "until": 0.0,
    "token": 0,
    "sent_format": "",
}


def _last_place(connection: Connection) -> int:
    return LAST_PLACE.rows(connection, {})[0][0] or 0


def _heads(
    connection: Connection, tenant: Tenant, state: DestinationState, limit: int, now: float
) -> list[int]:
    if state.breaker is BreakerState.CLOSED:
        return lanes.heads(connection, tenant, state.target, limit, now)
    return [] if now < state.retry_at else lanes.heads(connection, tenant, state.target, 1, now)


def _follower(
    connection: Connection, state: DestinationState, after: Lease, now: float
) -> list[int]:
    held = _holds(connection, after.tenant, after.delivery.id, after.token)
    if held is None or state.breaker is not BreakerState.CLOSED:
        return []
    found = lanes.follower(connection, after.tenant, after.delivery, now)
    return [] if found is None else [found]


def _lease(
    connection: Connection, tenant: Tenant, delivery: int, now: float, until: float
) -> Lease:
    LEASE.run(connection, {"taken": delivery, "end": until, "at": now})
    row = _row(connection, tenant, delivery)
    leased = delivery_of(row)
    lanes.refresh(connection, tenant, leased.target, leased.lane)
    return Lease(tenant=tenant, delivery=leased, token=row["token"], until=until)


def _expected(
    connection: Connection, tenant: Tenant, target: Target
) -> tuple[tuple[str, str, str], ...]:
    found = SOON.rows(connection, lanes.key_of(tenant, target))
    return tuple(dict.fromkeys((kind, type_, format_) for kind, type_, format_ in found))


def _holds(
    connection: Connection, tenant: Tenant, delivery: int, token: int
) -> Sequence[Any] | None:
    rows = HOLDS.rows(connection, {"of": tenant, "held": delivery, "shown": token})
    return rows[0] if rows else None


def skipped(
    connection: Connection, tenant: Tenant, kind: str, references: Collection[int], now: float
) -> frozenset[str]:
    """Skip the deliveries of deleted rows but for those under way; return the Links concerned."""
    states = FROM[DeliveryState.SKIPPED]
    query = DELIVERIES.query.where(*_of_payloads(kind, references), _delivery.c.state.in_(states))
    rows = [plain(row) for row in connection.execute(query, {"tenant": tenant}).mappings()]
    for row in rows:
        changed = _changed(row, DeliveryState.SKIPPED, SOURCES[kind].deleted, now)
        connection.execute(update(_delivery).where(_delivery.c.id == row["id"]).values(changed))
    _refresh_all(connection, tenant, rows, now)
    return frozenset(row["link"] for row in rows)


def under_way(
    connection: Connection, tenant: Tenant, kind: str, references: Collection[int], now: float
) -> frozenset[int]:
    """Return those of the rows that are being delivered."""
    mine = (_delivery.c.tenant == tenant, *_of_payloads(kind, references))
    leased = (_delivery.c.state == DeliveryState.SENDING, _delivery.c.until > now)
    return frozenset(
        connection.execute(select(_delivery.c.reference).where(*mine, *leased)).scalars()
    )


def removed(
    connection: Connection, tenant: Tenant, kind: str, references: Collection[int], now: float
) -> None:
    """Remove the deliveries of rows that are removed."""
    query = DELIVERIES.query.where(*_of_payloads(kind, references))
    rows = [plain(row) for row in connection.execute(query, {"tenant": tenant}).mappings()]
    if rows:
        connection.execute(delete(_delivery).where(_delivery.c.id.in_([row["id"] for row in rows])))
    _refresh_lanes(connection, tenant, rows)
    targets = {Target(link=row["link"], destination=row["destination"]) for row in rows}
    dead_letter_alarms.clear_alarms(connection, tenant, targets, now)


def _of_payloads(kind: str, references: Collection[int]) -> tuple[ColumnElement[bool], ...]:
    return (_delivery.c.kind == kind, _delivery.c.reference.in_(references))


def _settle(unit: Unit, sources: Sources, settlement: Settlement, now: float) -> bool:
    held = _holds(unit.connection, settlement.tenant, settlement.delivery, settlement.token)
    if held is None:
        return False
    link, destination, lane, tries, kind, reference = held
    if settlement.state not in DONE_STATES and not payloads.find(
        unit.connection, sources, settlement.tenant, kind, reference
    ):  # it was deleted meanwhile, so it cannot be sent again
        settlement = msgspec.structs.replace(
            settlement, state=DeliveryState.SKIPPED, next_at=0.0, detail=sources[kind].deleted
        )
    row = {f"new_{name}": getattr(settlement, name) for name in _SETTLED}
    SETTLE.run(
        unit.connection,
        row | {"held": settlement.delivery, "at": now, "refused": int(settlement.refused)},
    )
    if settlement.attempt is not None:
        attempts.add(unit.connection, settlement, settlement.attempt, tries)
    lanes.refresh(
        unit.connection, settlement.tenant, Target(link=link, destination=destination), lane
    )
    if (
        settlement.state is not DeliveryState.PENDING
    ):  # a destination that is down for days must not fill the chain
        done = delivery_of(_row(unit.connection, settlement.tenant, settlement.delivery))
        unit.audit(settlement.tenant, delivered(done, sources[kind].transferred), now)
        if done.state in AWAITING_PERSON:
            dead_letter_alarms.raise_alarm(unit.connection, settlement.tenant, done, now)
    return True


def _due(connection: Connection, tenant: Tenant, row: dict[str, Any]) -> Due | None:
    target = Target(link=row["link"], destination=row["destination"])
    at = lanes.NEXT_DUE.rows(connection, lanes.key_of(tenant, target))[0][0]
    if at is None:
        return None
    return Due(
        target=target, at=at if row["breaker"] == BreakerState.CLOSED else max(at, row["retry_at"])
    )


def _chosen(
    connection: Connection,
    tenant: Tenant,
    search: DeliverySearch,
    named: Collection[int],
    states: frozenset[DeliveryState],
) -> list[dict[str, Any]]:
    """Return the named deliveries, or without names those that match and can be changed."""
    only_these = (
        _delivery.c.id.in_(named)
        if named
        else _delivery.c.state.in_(states | {DeliveryState.SENDING})
    )
    query = (
        DELIVERIES.where(*_conditions(search), only_these)
        .query.order_by(_delivery.c.id)
        .limit(MAX_CHANGED)
    )
    found = [plain(row) for row in connection.execute(query, {"tenant": tenant}).mappings()]
    if len(found) < len(set(named)):
        raise NotFoundError("there is no such delivery")
    return found


def _changeable(
    rows: Iterable[dict[str, Any]], states: frozenset[DeliveryState], now: float
) -> list[dict[str, Any]]:
    """Return those that can be changed. One whose lease has expired counts as pending."""
    expired = DeliveryState.SENDING if DeliveryState.PENDING in states else None
    return [
        row
        for row in rows
        if row["state"] in states or (row["state"] == expired and row["until"] <= now)
    ]


def _changed(row: dict[str, Any], state: DeliveryState, reason: str, now: float) -> dict[str, Any]:
    more = _FRESH | {"created": now} if state is DeliveryState.PENDING else {"detail": reason}
    return _moved(row, state, now) | more


def _moved(row: dict[str, Any], state: DeliveryState, now: float) -> dict[str, Any]:
    """Return what every change of state sets.

    The new token prevents that a lease under the old one is settled.
    """
    return {"state": state, "changed": now, "until": 0.0, "next_at": 0.0, "token": row["token"] + 1}


def _refresh_all(
    connection: Connection, tenant: Tenant, rows: Collection[dict[str, Any]], now: float
) -> None:
    """Update the lanes of changed deliveries and the alarms of their destinations."""
    _refresh_lanes(connection, tenant, rows)
    of_target = {
        Target(link=row["link"], destination=row["destination"]): row["id"] for row in rows
    }
    for delivery in of_target.values():
        changed = delivery_of(_row(connection, tenant, delivery))
        if changed.state in AWAITING_PERSON:
            dead_letter_alarms.raise_alarm(connection, tenant, changed, now)
    dead_letter_alarms.clear_alarms(connection, tenant, of_target, now)


def _refresh_lanes(connection: Connection, tenant: Tenant, rows: Iterable[dict[str, Any]]) -> None:
    for link, destination, lane in {(row["link"], row["destination"], row["lane"]) for row in rows}:
        lanes.refresh(connection, tenant, Target(link=link, destination=destination), lane)


def _conditions(search: DeliverySearch) -> list[Any]:
    table = _delivery.c
    given = [
        table[name] == value
        for name in ("link", "destination", "kind", "parent", "identifier")
        if (value := getattr(search, name))
    ]
    if search.states:
        given.append(table.state.in_(search.states))
    if search.facilities is not None:
        facilities = sorted(search.facilities)
        mine = (schema.link.c.tenant == bindparam("tenant"), schema.link.c.facility.in_(facilities))
        given += [
            table.facility.in_(facilities),
            table.link.in_(select(schema.link.c.id).where(*mine)),
        ]
    return given


def _counted(
    connection: Connection,
    tenant: Tenant,
    target: Target,
    now: float,
    facilities: frozenset[str] | None = None,
) -> DestinationState:
    def first(prepared: Prepared, parameters: dict[str, Any]) -> Any:
        if facilities is None:
            return prepared.rows(connection, parameters)[0][0]
        assert isinstance(prepared.statement, Select)
        mine = prepared.statement.where(_delivery.c.facility.in_(sorted(facilities)))
        return connection.execute(mine, parameters).scalar()

    key = lanes.key_of(tenant, target)
    counts: dict[str, int] = {}
    for state in DeliveryState:
        since = 0.0 if state in _COUNTED else now - DAY
        if number := first(COUNT, key | {"state": state, "since": since}):
            counts[state.value] = number
    return msgspec.structs.replace(
        lanes.state_of(connection, tenant, target), counts=counts, oldest=first(OLDEST, key)
    )


def _row(connection: Connection, tenant: Tenant, delivery: int) -> dict[str, Any]:
    rows = BY_ID.rows(connection, {"tenant": tenant, "id": delivery})
    if not rows:
        raise NotFoundError("there is no such delivery")
    return dict(zip(_COLUMNS, rows[0], strict=True))


def delivery_of(row: dict[str, Any]) -> Delivery:
    """Create the model's delivery from a row."""
    made = {
        "target": {"link": row["link"], "destination": row["destination"]},
        "payload": {name: row[name] for name in Payload.__struct_fields__},
        "priority": -row["rank"],
    }
    return msgspec.convert(row | made, Delivery)


DELIVERIES = Listing(
    select(_delivery).where(_TENANT), delivery_of, (_delivery.c.id,), descending=True
)
