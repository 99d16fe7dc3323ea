"""Alarms about stored instances, cleared when what they report is no longer there."""

from collections import Counter
from collections.abc import Collection

from sqlalchemy import Connection, bindparam, select

from swallowtail.cloud.model.conditions import Condition
from swallowtail.cloud.model.imaging import IndexState
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records import schema
from swallowtail.cloud.records.alarms import cleared

_instance = schema.instance
ALARMED = select(schema.alarm.c.condition, schema.alarm.c.subject).where(
    schema.alarm.c.tenant == bindparam("tenant"),
    schema.alarm.c.condition.in_([Condition.INSTANCE_CONFLICT, Condition.INSTANCE_QUARANTINED]),
    schema.alarm.c.subject.in_(bindparam("uids", expanding=True)),
    schema.alarm.c.cleared.is_(None),
)
COPIES = select(
    *(_instance.c[name] for name in ("sop_instance", "transfer_syntax", "sha256", "state"))
).where(
    _instance.c.tenant == bindparam("tenant"),
    _instance.c.sop_instance.in_(bindparam("uids", expanding=True)),
)


def clear_resolved(
    connection: Connection, tenant: Tenant, uids: Collection[str], now: float
) -> None:
    """Clear the alarms of ended conflicts and quarantines among these SOP Instance UIDs."""
    alarmed = connection.execute(ALARMED, {"tenant": tenant, "uids": list(uids)}).all()
    if not alarmed:
        return
    copies = connection.execute(
        COPIES, {"tenant": tenant, "uids": [row.subject for row in alarmed]}
    ).all()
    contents = {(row.sop_instance, row.transfer_syntax, row.sha256) for row in copies}
    several = {
        uid for (uid, _), number in Counter(one[:2] for one in contents).items() if number > 1
    }
    unreadable = {row.sop_instance for row in copies if row.state != IndexState.INDEXED}
    for condition, subject in alarmed:
        over = subject not in (several if condition == Condition.INSTANCE_CONFLICT else unreadable)
        if over:
            cleared(connection, tenant, Condition(condition), subject, now)
