"""Links and their credentials: the statements of the port `Links`."""

from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.conditions import Condition
from swallowtail.cloud.model.decisions import admitted, judge, key_alarm, not_admitted
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.tenancy import (
    Admission,
    AdmissionProblem,
    Admitted,
    CodeState,
    Link,
    NotAdmitted,
    OrganisationState,
    SecurityCode,
    Tenant,
)
from swallowtail.cloud.records import schema, scopes
from swallowtail.cloud.records.alarms import cleared, raised
from swallowtail.cloud.records.database import Database, Unit
from swallowtail.cloud.records.organisations import require_organisation
from swallowtail.cloud.records.rows import Listing, only, paged, values

LINK = select(schema.link).where(
    schema.link.c.tenant == bindparam("tenant"), schema.link.c.id == bindparam("id")
)
LINKS = Listing(
    select(schema.link).where(schema.link.c.tenant == bindparam("tenant")),
    Link,
    (schema.link.c.name,),
)
CODE = (
    select(schema.link, schema.organisation.c.state.label("organisation_state"))
    .join(schema.organisation, schema.organisation.c.id == schema.link.c.tenant)
    .where(schema.link.c.code == bindparam("code"))
)


def require_link(connection: Connection, tenant: Tenant, link_id: str) -> Link:
    """Return the Link, or raise NotFoundError."""
    return only(connection.execute(LINK, {"tenant": tenant, "id": link_id}), Link, "Link")


class LinkRecords:
    """The port `Links` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, tenant: Tenant, link: Link, code: SecurityCode, *, now: float, event: AuditEvent
    ) -> None:
        fresh = msgspec.structs.replace(
            link, code_state=CodeState.FRESH, code_until=code.until, key=b""
        )

        def add(unit: Unit) -> None:
            require_organisation(unit.connection, tenant)
            unit.connection.execute(
                insert(schema.link), values(fresh) | {"tenant": tenant, "code": code.digest}
            )
            unit.audit(tenant, event, now)

        await self._database.write(add, tenant=tenant)

    async def link(self, tenant: Tenant, link: str) -> Link:
        return await self._database.read(
            lambda connection: require_link(connection, tenant, link), tenant=tenant
        )

    async def links(
        self,
        tenant: Tenant,
        page: PageRequest = FIRST_PAGE,
        *,
        name: str | None = None,
        facilities: frozenset[str] | None = None,
    ) -> Page[Link]:
        query = LINKS if name is None else LINKS.where(schema.link.c.name == name)
        if facilities is not None:
            query = query.where(schema.link.c.facility.in_(sorted(facilities)))
        return await self._database.read(
            lambda connection: paged(connection, query, {"tenant": tenant}, page), tenant=tenant
        )

    async def change(
        self, tenant: Tenant, link: str, *, name: str, facility: str, now: float, event: AuditEvent
    ) -> Link:
        return await self._change(
            tenant, link, lambda _old: {"name": name, "facility": facility}, now, event
        )

    async def remove(self, tenant: Tenant, link: str, *, now: float, event: AuditEvent) -> None:
        def remove(unit: Unit) -> None:
            require_link(unit.connection, tenant, link)
            unit.connection.execute(
                delete(schema.link).where(schema.link.c.tenant == tenant, schema.link.c.id == link)
            )
            for table in (schema.configuration, schema.running, schema.unknown_device):
                unit.connection.execute(
                    delete(table).where(table.c.tenant == tenant, table.c.link == link)
                )
            cleared(unit.connection, tenant, Condition.LINK_KEY, link, now)
            unit.audit(tenant, event, now)

        await self._database.write(remove, tenant=tenant)

    async def rotate(
        self, tenant: Tenant, link: str, code: SecurityCode, *, now: float, event: AuditEvent
    ) -> Link:
        def rotated(old: Link) -> dict[str, Any]:
            bound = {"code_state": CodeState.BOUND, "code_until": None}
            fresh = {"code_state": CodeState.FRESH, "code_until": code.until}
            return (bound if old.key else fresh) | {"code": code.digest, "epoch": old.epoch + 1}

        return await self._change(tenant, link, rotated, now, event)

    async def rebind(
        self, tenant: Tenant, link: str, code: SecurityCode, *, now: float, event: AuditEvent
    ) -> Link:
        def rebound(old: Link) -> dict[str, Any]:
            fresh = {"code_state": CodeState.FRESH, "code_until": code.until, "code": code.digest}
            return fresh | {"key": b"", "epoch": old.epoch + 1}

        return await self._change(tenant, link, rebound, now, event)

    async def revoke(self, tenant: Tenant, link: str, *, now: float, event: AuditEvent) -> Link:
        def revoked(old: Link) -> dict[str, Any]:
            return {"code_state": CodeState.REVOKED, "code_until": None, "epoch": old.epoch + 1}

        return await self._change(tenant, link, revoked, now, event)

    async def admit(self, code: bytes, key: bytes, *, address: str, now: float) -> Admission:
        return await self._database.write(lambda unit: _admit(unit, code, key, address, now))

    async def _change(
        self, tenant: Tenant, link: str, decide: Any, now: float, event: AuditEvent
    ) -> Link:
        def change(unit: Unit) -> Link:
            changes = decide(require_link(unit.connection, tenant, link))
            unit.connection.execute(
                update(schema.link)
                .where(schema.link.c.tenant == tenant, schema.link.c.id == link)
                .values(changes)
            )
            if "code_state" in changes:
                cleared(unit.connection, tenant, Condition.LINK_KEY, link, now)
            unit.audit(tenant, event, now)
            return require_link(unit.connection, tenant, link)

        return await self._database.write(change, tenant=tenant)


def _admit(unit: Unit, code: bytes, key: bytes, address: str, now: float) -> Admission:
    scopes.present(unit.connection, code)
    row = unit.connection.execute(CODE, {"code": code}).mappings().first()
    if row is None or row["organisation_state"] != OrganisationState.ACTIVE:
        return NotAdmitted(problem=AdmissionProblem.CODE)
    tenant = Tenant(row["tenant"])
    unit.enter(tenant)
    old = require_link(unit.connection, tenant, row["id"])
    if problem := judge(old, key, now):
        unit.audit(tenant, not_admitted(old, problem, address=address), now)
        if problem is AdmissionProblem.KEY:
            raised(unit.connection, tenant, key_alarm(old, address), now)
        return NotAdmitted(problem=problem, tenant=tenant, link=old.id)
    bound = old.code_state is CodeState.FRESH
    new = msgspec.structs.replace(
        old, code_state=CodeState.BOUND, code_until=None, key=key, epoch=old.epoch + 1
    )
    unit.connection.execute(
        update(schema.link)
        .where(schema.link.c.tenant == tenant, schema.link.c.id == new.id)
        .values(values(new))
    )
    unit.audit(tenant, admitted(new, bound=bound, address=address), now)
    return Admitted(tenant=tenant, link=new, bound=bound)
