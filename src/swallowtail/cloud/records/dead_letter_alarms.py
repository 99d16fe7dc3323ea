"""The alarms of dead letters and stopped lanes.

In the transaction of the change that causes or ends them.
"""

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, select

from swallowtail.cloud.model.decisions import AWAITING_PERSON, parked_alarm
from swallowtail.cloud.model.delivery import Delivery, Target
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records import alarms, lanes, schema
from swallowtail.cloud.records.prepared import Prepared

_delivery = schema.delivery
ANY_LEFT = Prepared(
    select(_delivery.c.id)
    .where(*lanes.OF_DESTINATION, _delivery.c.state == bindparam("state"))
    .limit(1)
)


def raise_alarm(connection: Connection, tenant: Tenant, delivery: Delivery, now: float) -> None:
    """Raise the alarm of a delivery that has become a dead letter, or has stopped its lane.

    What a person has acknowledged was an earlier one, so it is to be acknowledged again.
    """
    alarms.raised_unseen(connection, tenant, parked_alarm(delivery), now)


def clear_alarms(
    connection: Connection, tenant: Tenant, targets: Iterable[Target], now: float
) -> None:
    """Clear the alarms of destinations where no such delivery is left."""
    for target in targets:
        for state, condition in AWAITING_PERSON.items():
            if not ANY_LEFT.rows(connection, lanes.key_of(tenant, target) | {"state": state}):
                alarms.cleared(connection, tenant, condition, target.subject, now)
