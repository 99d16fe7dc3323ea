"""Alarms: the statements of the port `Alarms`, and `raised` for the intents of other ports."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, bindparam, insert, select, update

from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.conditions import Condition
from swallowtail.cloud.model.operations import RAISED, Alarm, AlarmSearch, NewAlarm
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records import schema
from swallowtail.cloud.records.database import Database, Unit
from swallowtail.cloud.records.rows import Listing, only, paged, values

ALARM = select(schema.alarm).where(
    schema.alarm.c.tenant == bindparam("tenant"), schema.alarm.c.id == bindparam("id")
)
ALARMS = Listing(
    select(schema.alarm).where(schema.alarm.c.tenant == bindparam("tenant")),
    Alarm,
    (schema.alarm.c.id,),
    descending=True,
)
IS_RAISED = select(schema.alarm.c.id).where(
    schema.alarm.c.tenant == bindparam("tenant"),
    schema.alarm.c.condition == bindparam("condition"),
    schema.alarm.c.subject == bindparam("subject"),
    schema.alarm.c.cleared.is_(None),
)
SEVERITIES = select(schema.alarm.c.subject, schema.alarm.c.severity).where(
    schema.alarm.c.tenant == bindparam("tenant"),
    schema.alarm.c.condition == bindparam("condition"),
    schema.alarm.c.cleared.is_(None),
)
UNSEEN: Final = {"acknowledged": None, "acknowledged_by": ""}
ADD = insert(schema.alarm).returning(schema.alarm.c.id)


def raised(connection: Connection, tenant: Tenant, new: NewAlarm, now: float) -> Alarm:
    """Raise the alarm or count it again, within the caller's transaction."""
    found = connection.execute(
        IS_RAISED, {"tenant": tenant, "condition": new.condition, "subject": new.subject}
    ).first()
    if found is None:
        row = {"tenant": tenant, "since": now, "last": now, "count": 1, "acknowledged_by": ""}
        key = connection.execute(ADD, values(new) | row).scalar_one()
        return _alarm(connection, tenant, key)
    again: dict[str, Any] = {
        "count": schema.alarm.c.count + 1,
        "last": now,
        "severity": new.severity,
        "detail": new.detail,
    }
    connection.execute(update(schema.alarm).where(schema.alarm.c.id == found.id).values(again))
    return _alarm(connection, tenant, found.id)


def cleared(
    connection: Connection, tenant: Tenant, condition: Condition, subject: str, now: float
) -> bool:
    """Clear the alarm, within the caller's transaction; False when it was not raised."""
    found = connection.execute(
        IS_RAISED, {"tenant": tenant, "condition": condition, "subject": subject}
    ).first()
    if found is None:
        return False
    connection.execute(
        update(schema.alarm).where(schema.alarm.c.id == found.id).values(cleared=now)
    )
    return True


def raised_unseen(connection: Connection, tenant: Tenant, new: NewAlarm, now: float) -> Alarm:
    """Raise the alarm, to be acknowledged again where it was.

    What a person has seen was not this.
    """
    found = raised(connection, tenant, new, now)
    if found.acknowledged is None:
        return found
    connection.execute(update(schema.alarm).where(schema.alarm.c.id == found.id).values(UNSEEN))
    return _alarm(connection, tenant, found.id)


def is_raised(connection: Connection, tenant: Tenant, condition: Condition, subject: str) -> bool:
    """Return whether the alarm is raised, within the caller's transaction."""
    key = {"tenant": tenant, "condition": condition, "subject": subject}
    return connection.execute(IS_RAISED, key).first() is not None


def _severities(connection: Connection, key: Mapping[str, str]) -> dict[str, str]:
    return {row.subject: row.severity for row in connection.execute(SEVERITIES, key)}


def _alarm(connection: Connection, tenant: Tenant, alarm_id: int) -> Alarm:
    return only(connection.execute(ALARM, {"tenant": tenant, "id": alarm_id}), Alarm, "alarm")


class AlarmRecords:
    """The port `Alarms` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def raise_alarm(self, tenant: Tenant, alarm: NewAlarm, *, now: float) -> Alarm:
        return await self._database.write(
            lambda unit: raised(unit.connection, tenant, alarm, now), tenant=tenant
        )

    async def clear(
        self, tenant: Tenant, condition: Condition, subject: str, *, now: float
    ) -> bool:
        return await self._database.write(
            lambda unit: cleared(unit.connection, tenant, condition, subject, now), tenant=tenant
        )

    async def keep(
        self, tenant: Tenant, condition: Condition, wanted: Collection[NewAlarm], *, now: float
    ) -> int:
        key = {"tenant": tenant, "condition": condition}
        subjects = {new.subject: new for new in wanted if new.condition is condition}

        def is_so(connection: Connection) -> bool:
            return _severities(connection, key) == {
                subject: new.severity for subject, new in subjects.items()
            }

        def keep(unit: Unit) -> int:
            raised_now = _severities(unit.connection, key)
            over = set(raised_now) - set(subjects)
            if over:
                mine = [schema.alarm.c[name] == value for name, value in key.items()]
                ended = update(schema.alarm).where(
                    *mine, schema.alarm.c.cleared.is_(None), schema.alarm.c.subject.in_(over)
                )
                unit.connection.execute(ended.values(cleared=now))
            missing = [
                new for subject, new in subjects.items() if raised_now.get(subject) != new.severity
            ]
            for new in missing:
                raised_unseen(unit.connection, tenant, new, now)
            return len(over) + len(missing)

        return (
            0
            if await self._database.read(is_so, tenant=tenant)
            else await self._database.write(keep, tenant=tenant)
        )

    async def acknowledge(
        self, tenant: Tenant, alarm: int, *, now: float, event: AuditEvent
    ) -> Alarm:
        def acknowledge(unit: Unit) -> Alarm:
            if _alarm(unit.connection, tenant, alarm).acknowledged is None:
                seen = {"acknowledged": now, "acknowledged_by": event.actor}
                unit.connection.execute(
                    update(schema.alarm).where(schema.alarm.c.id == alarm).values(seen)
                )
            unit.audit(tenant, event, now)
            return _alarm(unit.connection, tenant, alarm)

        return await self._database.write(acknowledge, tenant=tenant)

    async def alarms(
        self, tenant: Tenant, page: PageRequest = FIRST_PAGE, *, search: AlarmSearch = RAISED
    ) -> Page[Alarm]:
        key, query = {"tenant": tenant}, ALARMS.where(*search_conditions(search))
        return await self._database.read(
            lambda connection: paged(connection, query, key, page), tenant=tenant
        )


def search_conditions(search: AlarmSearch) -> list[ColumnElement[bool]]:
    """Return what a search asks of a row."""
    alarm = schema.alarm
    conditions: list[ColumnElement[bool]] = []
    if search.conditions:
        conditions.append(alarm.c.condition.in_(search.conditions))
    if search.severities:
        conditions.append(alarm.c.severity.in_(search.severities))
    if search.subject:
        conditions.append(alarm.c.subject == search.subject)
    for column, wanted in (
        (alarm.c.cleared, search.cleared),
        (alarm.c.acknowledged, search.acknowledged),
    ):
        if wanted is not None:
            conditions.append(column.is_not(None) if wanted else column.is_(None))
    if search.since is not None:
        conditions.append(alarm.c.since >= search.since)
    if search.before is not None:
        conditions.append(alarm.c.since < search.before)
    return conditions
