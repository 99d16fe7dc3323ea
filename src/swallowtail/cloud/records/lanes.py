"""Lanes and destinations: what may be claimed now.

Within the caller's transaction, each step by an index.

A lane has a row while something in it is open. Its `due` states when its head may be claimed, so
that neither a claim nor the search for work looks at deliveries that wait behind others.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, func, insert, select, text, update

from swallowtail.cloud.model.delivery import (
    BreakerState,
    Delivery,
    DeliveryState,
    DestinationState,
    Target,
)
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records import schema
from swallowtail.cloud.records.prepared import Prepared

_delivery, _lane, _destination = schema.delivery, schema.lane, schema.destination
IS_OPEN: Final = text(schema.OPEN)
IS_SENDING: Final = text("state = 'sending'")
_KEY: Final = ("tenant", "link", "destination")
OF_DESTINATION: Final = tuple(_delivery.c[name] == bindparam(name) for name in _KEY)
_IN_LANE: Final = (*OF_DESTINATION, _delivery.c.lane == bindparam("lane"))
_LANE_ROW: Final = tuple(_lane.c[name] == bindparam(f"of_{name}") for name in (*_KEY, "lane"))

AHEAD = Prepared(
    select(_delivery.c.id, _delivery.c.state, _delivery.c.next_at, _delivery.c.created)
    .where(*_IN_LANE, IS_OPEN)
    .order_by(_delivery.c.rank, _delivery.c.place)
    .limit(bindparam("count"))
)
LEASED_UNTIL = Prepared(select(func.max(_delivery.c.until)).where(*_IN_LANE, IS_SENDING))
LANE = Prepared(
    select(_lane.c.due).where(*(_lane.c[name] == bindparam(name) for name in (*_KEY, "lane")))
)
ADD_LANE = Prepared(insert(_lane))
SET_LANE = Prepared(update(_lane).where(*_LANE_ROW).values(due=bindparam("new_due")))
DROP_LANE = Prepared(delete(_lane).where(*_LANE_ROW))
DUE_LANES = Prepared(
    select(_lane.c.lane, _lane.c.due)
    .where(*(_lane.c[name] == bindparam(name) for name in _KEY), _lane.c.due <= bindparam("now"))
    .order_by(_lane.c.due)
    .limit(bindparam("count"))
)
NEXT_DUE = Prepared(
    select(func.min(_lane.c.due)).where(*(_lane.c[name] == bindparam(name) for name in _KEY))
)
DESTINATIONS = (
    select(_destination.c.link, _destination.c.destination)
    .where(_destination.c.tenant == bindparam("tenant"))
    .order_by(_destination.c.link, _destination.c.destination)
)
ADD_DESTINATION = insert(_destination)
_OF: Final = tuple(_destination.c[name] == bindparam(f"of_{name}") for name in _KEY)
BREAKER = ("breaker", "failures", "retry_at", "detail", "failing_since", "delivered_at")
KNOWN = ("paused", "paused_by", *BREAKER)
DESTINATION = Prepared(
    select(*(_destination.c[name] for name in KNOWN)).where(
        *(_destination.c[name] == bindparam(name) for name in _KEY)
    )
)
SET_BREAKER = Prepared(
    update(_destination).where(*_OF).values({name: bindparam(f"new_{name}") for name in BREAKER})
)
HALF_OPEN = (
    update(_destination)
    .where(*_OF, _destination.c.breaker != BreakerState.CLOSED)
    .values(breaker=BreakerState.HALF_OPEN, retry_at=bindparam("new_retry_at"))
)


def key_of(tenant: Tenant, target: Target) -> dict[str, Any]:
    """Return the parameters that name a destination."""
    return {"tenant": tenant, "link": target.link, "destination": target.destination}


def refresh(connection: Connection, tenant: Tenant, target: Target, lane: str) -> None:
    """Set when the lane's head may be claimed, after anything in it has changed."""
    key = key_of(tenant, target) | {"lane": lane}
    row = {f"of_{name}": value for name, value in key.items()}
    heads = AHEAD.rows(connection, key | {"count": 1})
    if not heads:
        DROP_LANE.run(connection, row)
        return
    due = _due(heads[0], LEASED_UNTIL.rows(connection, key)[0][0])
    known = LANE.rows(connection, key)
    if not known:
        ADD_LANE.run(connection, key | {"due": due})
    elif known[0][0] != due:
        SET_LANE.run(connection, row | {"new_due": due})


def _due(head: Sequence[Any], leased_until: float | None) -> float | None:
    _, state, next_at, created = head
    if state == DeliveryState.STOPPED:
        return None
    ready = max(next_at, created) if state == DeliveryState.PENDING else 0.0
    return max(ready, leased_until or 0.0)


def is_open(connection: Connection, tenant: Tenant, target: Target, lane: str) -> bool:
    """Return whether something of a lane is open."""
    return bool(LANE.rows(connection, key_of(tenant, target) | {"lane": lane}))


def heads(
    connection: Connection, tenant: Tenant, target: Target, limit: int, now: float
) -> list[int]:
    """Return the deliveries at the heads of the lanes that are due, oldest first."""
    key = key_of(tenant, target)
    lanes = DUE_LANES.rows(connection, key | {"now": now, "count": limit})
    return [AHEAD.rows(connection, key | {"lane": lane, "count": 1})[0][0] for lane, _ in lanes]


def follower(connection: Connection, tenant: Tenant, held: Delivery, now: float) -> int | None:
    """Return the next delivery in the lane of one that is being sent, None when it has to wait."""
    ahead = AHEAD.rows(connection, key_of(tenant, held.target) | {"lane": held.lane, "count": 2})
    others = [row for row in ahead if row[0] != held.id]
    if not others or others[0][1] != DeliveryState.PENDING or others[0][2] > now:
        return None
    return int(others[0][0])


def state_of(connection: Connection, tenant: Tenant, target: Target) -> DestinationState:
    """Return the state of a destination, without counts; one without a row is as new."""
    rows = DESTINATION.rows(connection, key_of(tenant, target))
    if not rows:
        return DestinationState(target=target)
    known: dict[str, Any] = dict(zip(KNOWN, rows[0], strict=True))
    plain = {"paused": bool(known["paused"]), "breaker": BreakerState(known["breaker"])}
    return DestinationState(target=target, **known | plain)


def targets(connection: Connection, tenant: Tenant) -> list[Target]:
    """Return every destination that has a row."""
    rows = connection.execute(DESTINATIONS, {"tenant": tenant})
    return [Target(link=row.link, destination=row.destination) for row in rows]


def ensure(connection: Connection, tenant: Tenant, target: Target) -> None:
    """Insert the row of a destination if there is none."""
    key = key_of(tenant, target)
    if not DESTINATION.rows(connection, key):
        new = DestinationState(target=target)
        row = {name: getattr(new, name) for name in KNOWN}
        connection.execute(ADD_DESTINATION, key | row)


def set_breaker(connection: Connection, tenant: Tenant, state: DestinationState) -> None:
    """Update the breaker as planned; whether the destination is paused stays."""
    ensure(connection, tenant, state.target)
    row = {f"new_{name}": getattr(state, name) for name in BREAKER}
    SET_BREAKER.run(connection, row | _of(tenant, state.target))


def half_open(connection: Connection, tenant: Tenant, target: Target, until: float) -> None:
    """Set a breaker that is not closed to half open until `until`."""
    connection.execute(HALF_OPEN, {"new_retry_at": until} | _of(tenant, target))


def _of(tenant: Tenant, target: Target) -> dict[str, Any]:
    return {f"of_{name}": value for name, value in key_of(tenant, target).items()}
