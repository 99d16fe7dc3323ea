"""Archives: the statements of the port `Archives`, and what rules put into them."""

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, select, update

from swallowtail.cloud.model.archives import MAX_ARCHIVES, AccessLimits, Archive
from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.delivery import Rule
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.port_errors import ConflictError, NotFoundError
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records import schema
from swallowtail.cloud.records.database import Database, Unit
from swallowtail.cloud.records.rows import Listing, only, paged, values

_archive, _study, _instance = schema.archive, schema.study, schema.instance
_TENANT = _archive.c.tenant == bindparam("tenant")
ARCHIVE = select(_archive).where(_TENANT, _archive.c.id == bindparam("id"))
ARCHIVES = Listing(select(_archive).where(_TENANT), Archive, (_archive.c.name,))
KNOWN = select(_archive.c.id).where(_TENANT, _archive.c.id.in_(bindparam("ids", expanding=True)))
COUNT = select(func.count()).select_from(_archive).where(_TENANT)
RULES = select(schema.rule.c.rule).where(schema.rule.c.tenant == bindparam("tenant"))
PLACE = select(_instance.c.facility, _instance.c.study, _instance.c.sop_instance).where(
    _instance.c.tenant == bindparam("tenant"),
    _instance.c.id == bindparam("id"),
    _instance.c.study != "",
)
NOUN: Final = "archive"


class ArchiveRecords:
    """The port `Archives` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, tenant: Tenant, archive: Archive, *, now: float, event: AuditEvent) -> None:
        def add(unit: Unit) -> None:
            if int(unit.connection.execute(COUNT, {"tenant": tenant}).scalar_one()) >= MAX_ARCHIVES:
                raise ConflictError(f"there are {MAX_ARCHIVES} archives already; delete some")
            unit.connection.execute(insert(_archive), values(archive) | {"tenant": tenant})
            unit.audit(tenant, event, now)

        await self._database.write(add, tenant=tenant)

    async def rename(
        self, tenant: Tenant, archive: str, name: str, *, now: float, event: AuditEvent
    ) -> Archive:
        def rename(unit: Unit) -> Archive:
            _one(unit.connection, tenant, archive)
            mine = (_archive.c.tenant == tenant, _archive.c.id == archive)
            unit.connection.execute(update(_archive).where(*mine).values(name=name))
            unit.audit(tenant, event, now)
            return _one(unit.connection, tenant, archive)

        return await self._database.write(rename, tenant=tenant)

    async def remove(self, tenant: Tenant, archive: str, *, now: float, event: AuditEvent) -> None:
        def remove(unit: Unit) -> None:
            _one(unit.connection, tenant, archive)
            _check_unused(unit.connection, tenant, archive)
            filed = (_study.c.tenant == tenant, _study.c.archive == archive)
            unit.connection.execute(update(_study).where(*filed).values(archive=""))
            unit.connection.execute(
                delete(_archive).where(_archive.c.tenant == tenant, _archive.c.id == archive)
            )
            unit.audit(tenant, event, now)

        await self._database.write(remove, tenant=tenant)

    async def archive(self, tenant: Tenant, archive: str) -> Archive:
        return await self._database.read(
            lambda connection: _one(connection, tenant, archive), tenant=tenant
        )

    async def archives(
        self,
        tenant: Tenant,
        page: PageRequest = FIRST_PAGE,
        *,
        name: str | None = None,
        ids: frozenset[str] | None = None,
    ) -> Page[Archive]:
        listing = ARCHIVES if name is None else ARCHIVES.where(_archive.c.name == name)
        if ids is not None:
            listing = listing.where(_archive.c.id.in_(sorted(ids)))
        return await self._database.read(
            lambda connection: paged(connection, listing, {"tenant": tenant}, page), tenant=tenant
        )

    async def known(self, tenant: Tenant, ids: Sequence[str]) -> frozenset[str]:
        key = {"tenant": tenant, "ids": list(ids)}
        return await self._database.read(
            lambda connection: frozenset(connection.execute(KNOWN, key).scalars()), tenant=tenant
        )

    async def put(
        self,
        tenant: Tenant,
        study: str,
        archive: str,
        *,
        limits: AccessLimits,
        now: float,
        event: AuditEvent,
    ) -> None:
        def put(unit: Unit) -> None:
            _one(unit.connection, tenant, archive)
            mine = _study_within(tenant, study, limits)
            if not unit.connection.execute(
                update(_study).where(*mine).values(archive=archive)
            ).rowcount:
                raise NotFoundError("there is no such study")
            unit.audit(tenant, event, now)

        await self._database.write(put, tenant=tenant)

    async def take_out(
        self,
        tenant: Tenant,
        study: str,
        archive: str,
        *,
        limits: AccessLimits,
        now: float,
        event: AuditEvent,
    ) -> None:
        def take_out(unit: Unit) -> None:
            _one(unit.connection, tenant, archive)
            mine = (*_study_within(tenant, study, limits), _study.c.archive == archive)
            if not unit.connection.execute(update(_study).where(*mine).values(archive="")).rowcount:
                raise NotFoundError("there is no such study in this archive")
            unit.audit(tenant, event, now)

        await self._database.write(take_out, tenant=tenant)


def put_by_rule(unit: Unit, tenant: Tenant, instance: int, archive: str, now: float) -> None:
    """Put the study of an instance into an archive, unless it is in one.

    What a person decided stays.
    """
    place = unit.connection.execute(PLACE, {"tenant": tenant, "id": instance}).first()
    if (
        place is None
        or not unit.connection.execute(KNOWN, {"tenant": tenant, "ids": [archive]}).first()
    ):
        return
    mine = (
        _study.c.tenant == tenant,
        _study.c.uid == place.study,
        _study.c.facility == place.facility,
    )
    filed = update(_study).where(*mine, _study.c.archive == "").values(archive=archive)
    if unit.connection.execute(filed).rowcount:
        unit.audit(tenant, _filed(place.study, archive), now)


def _filed(study: str, archive: str) -> AuditEvent:
    return AuditEvent(
        event=EventId.APPLICATION_ACTIVITY,
        action=EventAction.UPDATE,
        type="archive.put",
        actor="rules",
        objects=(("study", study), ("archive", archive)),
    )


def _one(connection: Connection, tenant: Tenant, archive: str) -> Archive:
    return only(connection.execute(ARCHIVE, {"tenant": tenant, "id": archive}), Archive, NOUN)


def _study_within(tenant: Tenant, study: str, limits: AccessLimits) -> list[ColumnElement[bool]]:
    conditions = [_study.c.tenant == tenant, _study.c.uid == study, _study.c.instances > 0]
    if limits.facilities is not None:
        conditions.append(_study.c.facility.in_(sorted(limits.facilities)))
    if limits.archives is not None:
        conditions.append(_study.c.archive.in_(sorted(limits.archives)))
    return conditions


def _check_unused(connection: Connection, tenant: Tenant, archive: str) -> None:
    for row in connection.execute(RULES, {"tenant": tenant}).scalars():
        rule = msgspec.msgpack.decode(row, type=Rule)
        if archive == rule.action.archive or archive in rule.condition.archives:
            raise ConflictError(
                f"the rule {rule.name!r} names this archive; change or remove the rule first"
            )
    token = schema.api_token
    limited = select(token.c.name, token.c.archives).where(
        token.c.tenant == tenant, token.c.revoked.is_(None), token.c.archives.is_not(None)
    )
    for row in connection.execute(limited):
        if archive in msgspec.json.decode(row.archives):
            raise ConflictError(
                f"the token {row.name!r} is limited to this archive; change or revoke the token"
                " first"
            )
