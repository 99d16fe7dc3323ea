"""The queues: the statements of the port `Deliveries`. What may be claimed stands in `lanes`."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Select, bindparam, delete, func, insert, select, update

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
    Settlement,
    Target,
)
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.port_errors import ConflictError, NotFoundError
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records import attempts, lanes, schema, set_aside
from swallowtail.cloud.records.database import Database, Unit
from swallowtail.cloud.records.prepared import Prepared
from swallowtail.cloud.records.rows import Listing, paged, plain

MAX_ACT: Final = 10_000
"""Deliveries that one act of a person changes: a transaction holds up every store."""
LOOK_AHEAD: Final = 64
DAY: Final = 86_400.0
DELETED: Final = (
    "the instance was deleted; restore it and resend, or have it sent to the Cloud again"
)

_delivery, _instance = schema.delivery, schema.instance
_TENANT = _delivery.c.tenant == bindparam("tenant")
SENT = Prepared(
    select(
        _instance.c.facility,
        _instance.c.study,
        _instance.c.sop_instance,
        _instance.c.sop_class,
        _instance.c.transfer_syntax,
    ).where(_instance.c.tenant == bindparam("tenant"), _instance.c.id == bindparam("instance"))
)
STORED = Prepared(
    select(_instance.c.id)
    .join(_delivery, _delivery.c.instance == _instance.c.id)
    .where(_delivery.c.id == bindparam("delivery"), _instance.c.tenant == bindparam("tenant"))
)
KNOWN = Prepared(
    select(_delivery.c.id).where(
        *lanes.OF_DESTINATION,
        _delivery.c.instance == bindparam("instance"),
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
        state=DeliveryState.LEASED,
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
    lanes.IS_LEASED,
)
HOLDS = Prepared(
    select(*(_delivery.c[name] for name in ("link", "destination", "lane", "tries"))).where(*_HELD)
)
EXTEND = Prepared(
    update(_delivery).where(_delivery.c.id == bindparam("held")).values(until=bindparam("end"))
)
_SETTLED: Final = ("state", "next_at", "status", "about", "phase", "detail", "sent_syntax", "cuts")
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
    select(_delivery.c.sop_class, _delivery.c.transfer_syntax)
    .where(*lanes.OF_DESTINATION, lanes.IS_OPEN)
    .order_by(_delivery.c.created)
    .limit(LOOK_AHEAD)
)
DESTINATIONS = select(schema.destination).where(
    schema.destination.c.tenant == bindparam("tenant"),
    schema.destination.c.link == bindparam("link"),
)
_COUNTED = (
    DeliveryState.WAITING,
    DeliveryState.LEASED,
    DeliveryState.STOPPED,
    DeliveryState.PARKED,
    DeliveryState.DEAD,
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
    DeliveryState.PARKED: frozenset({DeliveryState.WAITING, DeliveryState.STOPPED}),
    DeliveryState.SKIPPED: frozenset(
        {DeliveryState.WAITING, DeliveryState.STOPPED, DeliveryState.PARKED, DeliveryState.DEAD}
    ),
    DeliveryState.DEAD: frozenset({DeliveryState.WAITING, DeliveryState.STOPPED}),
    DeliveryState.WAITING: frozenset(DeliveryState) - {DeliveryState.WAITING, DeliveryState.LEASED},
}
"""What a delivery may be made into, and from which states."""
RETRIED: Final = frozenset(
    {DeliveryState.WAITING, DeliveryState.STOPPED, DeliveryState.PARKED, DeliveryState.DEAD}
)
"""What may be tried at once, in its place."""


class DeliveryRecords:
    """The port `Deliveries` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
            return added(unit.connection, tenant, deliveries, now)

        return await self._database.write(add)

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

        return await self._database.write(claim)

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

        return await self._database.write(extend)

    async def settle(
        self, settlements: Sequence[Settlement], destination: DestinationState | None, *, now: float
    ) -> frozenset[int]:
        def settle(unit: Unit) -> frozenset[int]:
            kept = [one for one in settlements if _settle(unit, one, now)]
            if kept and destination is not None:
                lanes.set_breaker(unit.connection, kept[0].tenant, destination)
            return frozenset(one.delivery for one in kept)

        return await self._database.write(settle)

    async def due(self, tenant: Tenant, link: str) -> tuple[Due, ...]:
        def find(connection: Connection) -> tuple[Due, ...]:
            rows = (
                connection.execute(DESTINATIONS, {"tenant": tenant, "link": link}).mappings().all()
            )
            found = (_due(connection, tenant, plain(row)) for row in rows if not row["paused"])
            return tuple(one for one in found if one is not None)

        return await self._database.read(find)

    async def act(
        self, tenant: Tenant, search: DeliverySearch, deliveries: Collection[int], state: DeliveryState, *,
        in_place: bool = False, reason: str, now: float, event: AuditEvent,
    ) -> int:  # fmt: skip
        leavable = RETRIED if in_place else FROM[state]

        def act(unit: Unit) -> int:
            meant = _meant(unit.connection, tenant, search, deliveries, leavable)
            if deliveries and any(
                row["state"] == DeliveryState.LEASED and row["until"] > now for row in meant
            ):
                raise ConflictError(
                    "the delivery is under way; wait for its outcome, then decide again"
                )
            rows = _changeable(meant, leavable, now)
            for row in rows:
                changed = _moved(row, state, now) if in_place else _acted(row, state, reason, now)
                unit.connection.execute(
                    update(_delivery).where(_delivery.c.id == row["id"]).values(changed)
                )
                if (
                    state is DeliveryState.WAITING
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

        return await self._database.write(act)

    async def deliveries(
        self, tenant: Tenant, search: DeliverySearch, page: PageRequest = FIRST_PAGE
    ) -> Page[Delivery]:
        listing = DELIVERIES.where(*_conditions(search))
        return await self._database.read(
            lambda connection: paged(connection, listing, {"tenant": tenant}, page)
        )

    async def delivery(self, tenant: Tenant, delivery: int) -> Delivery:
        return await self._database.read(
            lambda connection: delivery_of(_row(connection, tenant, delivery))
        )

    async def attempts(
        self, tenant: Tenant, delivery: int, page: PageRequest = FIRST_PAGE
    ) -> Page[DeliveryAttempt]:
        key = {"tenant": tenant, "delivery": delivery}
        return await self._database.read(
            lambda connection: paged(connection, attempts.ATTEMPTS, key, page)
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

        return await self._database.read(find)

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

        return await self._database.write(pause)


def added(
    connection: Connection, tenant: Tenant, deliveries: Iterable[NewDelivery], now: float
) -> int:
    """Queue deliveries at the end of their lanes, within the caller's transaction.

    Gives how many were new.
    """
    touched: dict[
        tuple[Target, str], None
    ] = {}  # in order: lanes that are due at once are served as they were made
    count, place = 0, _last_place(connection)
    ordered: dict[Target, bool] = {}
    for new in deliveries:
        key = lanes.key_of(tenant, new.target) | {"instance": new.instance}
        if KNOWN.rows(connection, key | {"cause": new.cause}):
            continue
        sent = SENT.rows(connection, key)
        if not sent:
            raise NotFoundError("there is no such instance")
        count, place = count + 1, place + 1
        names = ("facility", "study", "sop_instance", "sop_class", "transfer_syntax")
        if new.target not in ordered:
            ordered[new.target] = lanes.is_open(connection, tenant, new.target, "")
        lane = (
            "" if ordered[new.target] else new.lane
        )  # it must not overtake its patient's in there
        row = key | dict(zip(names, sent[0], strict=True)) | {"lane": lane, "cause": new.cause}
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
"""What the cap counts, and the last outcome: a resend begins these anew, while `tries` go on."""
_NEW: Final[dict[str, Any]] = _FRESH | {
    "state": DeliveryState.WAITING,
    "tries": 0,
    "next_at": 0.0,
    "until": 0.0,
    "token": 0,
    "sent_syntax": "",
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
) -> tuple[tuple[str, str], ...]:
    pairs = SOON.rows(connection, lanes.key_of(tenant, target))
    return tuple(dict.fromkeys((sop_class, syntax) for sop_class, syntax in pairs))


def _holds(
    connection: Connection, tenant: Tenant, delivery: int, token: int
) -> Sequence[Any] | None:
    rows = HOLDS.rows(connection, {"of": tenant, "held": delivery, "shown": token})
    return rows[0] if rows else None


def skipped(
    connection: Connection, tenant: Tenant, instances: Collection[int], now: float
) -> frozenset[str]:
    """Skip what is not under way of the deliveries of deleted instances.

    Returns the Links concerned.
    """
    states = FROM[DeliveryState.SKIPPED]
    query = DELIVERIES.query.where(
        _delivery.c.instance.in_(instances), _delivery.c.state.in_(states)
    )
    rows = [plain(row) for row in connection.execute(query, {"tenant": tenant}).mappings()]
    for row in rows:
        changed = _acted(row, DeliveryState.SKIPPED, DELETED, now)
        connection.execute(update(_delivery).where(_delivery.c.id == row["id"]).values(changed))
    _refresh_all(connection, tenant, rows, now)
    return frozenset(row["link"] for row in rows)


def under_way(
    connection: Connection, tenant: Tenant, instances: Collection[int], now: float
) -> frozenset[int]:
    """Return those of the instances that are being delivered."""
    mine = (_delivery.c.tenant == tenant, _delivery.c.instance.in_(instances))
    leased = (_delivery.c.state == DeliveryState.LEASED, _delivery.c.until > now)
    return frozenset(
        connection.execute(select(_delivery.c.instance).where(*mine, *leased)).scalars()
    )


def removed(connection: Connection, tenant: Tenant, instances: Collection[int], now: float) -> None:
    """Remove the deliveries of instances that are removed."""
    query = DELIVERIES.query.where(_delivery.c.instance.in_(instances))
    rows = [plain(row) for row in connection.execute(query, {"tenant": tenant}).mappings()]
    if rows:
        connection.execute(delete(_delivery).where(_delivery.c.id.in_([row["id"] for row in rows])))
    _refresh_lanes(connection, tenant, rows)
    targets = {Target(link=row["link"], destination=row["destination"]) for row in rows}
    set_aside.clear_alarms(connection, tenant, targets, now)


def _settle(unit: Unit, settlement: Settlement, now: float) -> bool:
    held = _holds(unit.connection, settlement.tenant, settlement.delivery, settlement.token)
    if held is None:
        return False
    if settlement.state not in DONE_STATES and not _is_stored(unit.connection, settlement):
        settlement = msgspec.structs.replace(
            settlement, state=DeliveryState.SKIPPED, next_at=0.0, detail=DELETED
        )
    row = {f"new_{name}": getattr(settlement, name) for name in _SETTLED}
    SETTLE.run(
        unit.connection,
        row | {"held": settlement.delivery, "at": now, "refused": int(settlement.refused)},
    )
    link, destination, lane, tries = held
    if settlement.tried is not None:
        attempts.add(unit.connection, settlement, settlement.tried, tries)
    lanes.refresh(
        unit.connection, settlement.tenant, Target(link=link, destination=destination), lane
    )
    if (
        settlement.state is not DeliveryState.WAITING
    ):  # a destination that is down for days must not fill the chain
        done = delivery_of(_row(unit.connection, settlement.tenant, settlement.delivery))
        unit.audit(settlement.tenant, delivered(done), now)
        if done.state in AWAITING_PERSON:
            set_aside.raise_alarm(unit.connection, settlement.tenant, done, now)
    return True


def _is_stored(connection: Connection, settlement: Settlement) -> bool:
    """Return whether the instance of a delivery is there.

    One that was deleted cannot be sent again.
    """
    return bool(
        STORED.rows(connection, {"tenant": settlement.tenant, "delivery": settlement.delivery})
    )


def _due(connection: Connection, tenant: Tenant, row: dict[str, Any]) -> Due | None:
    target = Target(link=row["link"], destination=row["destination"])
    at = lanes.NEXT_DUE.rows(connection, lanes.key_of(tenant, target))[0][0]
    if at is None:
        return None
    return Due(
        target=target, at=at if row["breaker"] == BreakerState.CLOSED else max(at, row["retry_at"])
    )


def _meant(
    connection: Connection,
    tenant: Tenant,
    search: DeliverySearch,
    named: Collection[int],
    states: frozenset[DeliveryState],
) -> list[dict[str, Any]]:
    """Give what a person means: all that is named, else what is in a state that can be left."""
    only_these = (
        _delivery.c.id.in_(named)
        if named
        else _delivery.c.state.in_(states | {DeliveryState.LEASED})
    )
    query = (
        DELIVERIES.where(*_conditions(search), only_these)
        .query.order_by(_delivery.c.id)
        .limit(MAX_ACT)
    )
    found = [plain(row) for row in connection.execute(query, {"tenant": tenant}).mappings()]
    if len(found) < len(set(named)):
        raise NotFoundError("there is no such delivery")
    return found


def _changeable(
    rows: Iterable[dict[str, Any]], states: frozenset[DeliveryState], now: float
) -> list[dict[str, Any]]:
    """Give those that can become what a person wants.

    A lapsed lease is nobody's and counts as waiting.
    """
    lapsed = DeliveryState.LEASED if DeliveryState.WAITING in states else None
    return [
        row
        for row in rows
        if row["state"] in states or (row["state"] == lapsed and row["until"] <= now)
    ]


def _acted(row: dict[str, Any], state: DeliveryState, reason: str, now: float) -> dict[str, Any]:
    more = _FRESH | {"created": now} if state is DeliveryState.WAITING else {"detail": reason}
    return _moved(row, state, now) | more


def _moved(row: dict[str, Any], state: DeliveryState, now: float) -> dict[str, Any]:
    """Give what every change of state sets.

    What is leased under the old token can no longer be settled.
    """
    return {"state": state, "changed": now, "until": 0.0, "next_at": 0.0, "token": row["token"] + 1}


def _refresh_all(
    connection: Connection, tenant: Tenant, rows: Collection[dict[str, Any]], now: float
) -> None:
    """Set when the lanes of changed deliveries are due, and raise or clear the alarms of their
    destinations.
    """
    _refresh_lanes(connection, tenant, rows)
    of_target = {
        Target(link=row["link"], destination=row["destination"]): row["id"] for row in rows
    }
    for delivery in of_target.values():
        changed = delivery_of(_row(connection, tenant, delivery))
        if changed.state in AWAITING_PERSON:
            set_aside.raise_alarm(connection, tenant, changed, now)
    set_aside.clear_alarms(connection, tenant, of_target, now)


def _refresh_lanes(connection: Connection, tenant: Tenant, rows: Iterable[dict[str, Any]]) -> None:
    for link, destination, lane in {(row["link"], row["destination"], row["lane"]) for row in rows}:
        lanes.refresh(connection, tenant, Target(link=link, destination=destination), lane)


def _conditions(search: DeliverySearch) -> list[Any]:
    table = _delivery.c
    given = [
        table[name] == value
        for name in ("link", "destination", "study", "sop_instance")
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
    """Make the model's delivery of a row."""
    made = {
        "target": {"link": row["link"], "destination": row["destination"]},
        "priority": -row["rank"],
    }
    return msgspec.convert(row | made, Delivery)


DELIVERIES = Listing(
    select(_delivery).where(_TENANT), delivery_of, (_delivery.c.id,), descending=True
)
