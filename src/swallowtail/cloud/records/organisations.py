"""Organisations and facilities: the statements of the port `Organisations`."""

from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, insert, select, update

from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.tenancy import (
    OPERATOR,
    Facility,
    Organisation,
    OrganisationState,
    Tenant,
)
from swallowtail.cloud.records import schema
from swallowtail.cloud.records.database import Database, Unit
from swallowtail.cloud.records.prepared import Prepared
from swallowtail.cloud.records.rows import Listing, only, paged, values

_TENANT = schema.organisation.c.id == bindparam("tenant")
ORGANISATION = select(schema.organisation).where(
    _TENANT, schema.organisation.c.state != OrganisationState.REMOVED
)
ACTIVE = Prepared(
    select(schema.organisation.c.id).where(
        _TENANT, schema.organisation.c.state == OrganisationState.ACTIVE
    )
)
ORGANISATIONS = Listing(
    select(schema.organisation).where(schema.organisation.c.state != OrganisationState.REMOVED),
    Organisation,
    (schema.organisation.c.name,),
)
FACILITIES = Listing(
    select(schema.facility).where(schema.facility.c.tenant == bindparam("tenant")),
    Facility,
    (schema.facility.c.name,),
)


def require_organisation(connection: Connection, tenant: Tenant) -> Organisation:
    """Return the organisation, or raise NotFoundError where there is none that is not removed."""
    return only(connection.execute(ORGANISATION, {"tenant": tenant}), Organisation, "organisation")


def require_active(connection: Connection, tenant: Tenant) -> None:
    """Raise NotFoundError unless the organisation is active."""
    if not ACTIVE.rows(connection, {"tenant": tenant}):
        raise NotFoundError("there is no such active organisation")


class OrganisationRecords:
    """The port `Organisations` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_organisation(
        self, organisation: Organisation, *, now: float, event: AuditEvent
    ) -> None:
        def add(unit: Unit) -> None:
            unit.connection.execute(insert(schema.organisation), values(organisation))
            unit.audit(OPERATOR, event, now)

        await self._database.write(add, tenant=OPERATOR)

    async def change_organisation(
        self,
        tenant: Tenant,
        *,
        title: str | None = None,
        state: OrganisationState | None = None,
        now: float,
        event: AuditEvent,
    ) -> Organisation:
        def change(unit: Unit) -> Organisation:
            old = require_organisation(unit.connection, tenant)
            new = msgspec.structs.replace(
                old,
                title=old.title if title is None else title,
                state=old.state if state is None else state,
            )
            changed: dict[str, Any] = {"title": new.title, "state": new.state}
            if new.state is OrganisationState.REMOVED:
                changed["removed"] = now  # its retention begins
            unit.connection.execute(
                update(schema.organisation)
                .where(schema.organisation.c.id == tenant)
                .values(changed)
            )
            if new.state is not old.state and new.state is not OrganisationState.ACTIVE:
                unit.connection.execute(
                    update(schema.link)
                    .where(schema.link.c.tenant == tenant)
                    .values(epoch=schema.link.c.epoch + 1)
                )
            unit.audit(OPERATOR, event, now)
            return new

        return await self._database.write(change, tenant=tenant)

    async def organisation(self, tenant: Tenant) -> Organisation:
        return await self._database.read(
            lambda connection: require_organisation(connection, tenant), tenant=tenant
        )

    async def organisations(
        self, page: PageRequest = FIRST_PAGE, *, name: str | None = None
    ) -> Page[Organisation]:
        query = (
            ORGANISATIONS
            if name is None
            else ORGANISATIONS.where(schema.organisation.c.name == name)
        )
        return await self._database.read(lambda connection: paged(connection, query, {}, page))

    async def put_facility(
        self, tenant: Tenant, facility: Facility, *, now: float, event: AuditEvent
    ) -> None:
        def put(unit: Unit) -> None:
            require_organisation(unit.connection, tenant)
            row = values(facility)
            mine = (schema.facility.c.tenant == tenant) & (schema.facility.c.id == facility.id)
            if (
                unit.connection.execute(update(schema.facility).where(mine).values(row)).rowcount
                == 0
            ):
                unit.connection.execute(insert(schema.facility), {"tenant": tenant, **row})
            unit.audit(tenant, event, now)

        await self._database.write(put, tenant=tenant)

    async def facilities(
        self,
        tenant: Tenant,
        page: PageRequest = FIRST_PAGE,
        *,
        name: str | None = None,
        ids: frozenset[str] | None = None,
    ) -> Page[Facility]:
        query = FACILITIES if name is None else FACILITIES.where(schema.facility.c.name == name)
        if ids is not None:
            query = query.where(schema.facility.c.id.in_(sorted(ids)))
        return await self._database.read(
            lambda connection: paged(connection, query, {"tenant": tenant}, page), tenant=tenant
        )
