"""The last attempts of each delivery.

Everything runs within the caller's transaction and finds its rows by the key.
"""

from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, insert, select

from swallowtail.cloud.model.delivery import MAX_ATTEMPTS, AttemptFacts, DeliveryAttempt, Settlement
from swallowtail.cloud.records import schema
from swallowtail.cloud.records.prepared import Prepared
from swallowtail.cloud.records.rows import Listing, values

_attempt = schema.attempt
_SETTLED: Final = ("tenant", "delivery", "token", "state", "status", "about", "phase", "detail")
ADD = Prepared(insert(_attempt))
_LAST_SURPLUS = (
    select(_attempt.c.token)
    .where(_attempt.c.delivery == bindparam("of"))
    .order_by(_attempt.c.token.desc())
    .limit(1)
    .offset(MAX_ATTEMPTS)
    .scalar_subquery()
)
TRIM = Prepared(
    delete(_attempt).where(
        _attempt.c.delivery == bindparam("of"), _attempt.c.token <= _LAST_SURPLUS
    )
)
ATTEMPTS = Listing(
    select(_attempt).where(
        _attempt.c.tenant == bindparam("tenant"), _attempt.c.delivery == bindparam("delivery")
    ),
    DeliveryAttempt,
    (_attempt.c.token,),
    descending=True,
)


def add(connection: Connection, settlement: Settlement, facts: AttemptFacts, number: int) -> None:
    """Add an attempt as settled, and delete the oldest beyond MAX_ATTEMPTS.

    `number` is the delivery's `tries`.
    """
    row: dict[str, Any] = {name: getattr(settlement, name) for name in _SETTLED}
    ADD.run(connection, row | values(facts) | {"number": number})
    if (
        settlement.token > MAX_ATTEMPTS
    ):  # each attempt has a token of its own: before that there cannot be too many
        TRIM.run(connection, {"of": settlement.delivery})
