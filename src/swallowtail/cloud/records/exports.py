"""Receivers of the audit, and how far each export is: the statements of the port `AuditExports`."""

from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.exporting import AuditExport, AuditReceiver
from swallowtail.cloud.model.tenancy import OPERATOR, Tenant
from swallowtail.cloud.records import scopes
from swallowtail.cloud.records.chain import head
from swallowtail.cloud.records.database import Database, Unit
from swallowtail.cloud.records.inventory import tenants_of
from swallowtail.cloud.records.organisations import require_organisation
from swallowtail.cloud.records.rows import of, values
from swallowtail.cloud.records.schema import audit_export

ONE = select(audit_export).where(audit_export.c.tenant == bindparam("of"))


class AuditExportRecords:
    """The port `AuditExports` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(
        self, tenant: Tenant, receiver: AuditReceiver, *, whole: bool, now: float, event: AuditEvent
    ) -> AuditExport:
        def put(unit: Unit) -> AuditExport:
            if tenant != OPERATOR:
                require_organisation(unit.connection, tenant)
            before = _one(unit.connection, tenant)
            begin = 0 if whole else head(unit.connection, tenant)[0]
            sequence = before.sequence if before and not whole else begin
            row = values(receiver) | {"sequence": sequence, "failing_since": None, "detail": ""}
            if before is None:
                unit.connection.execute(
                    insert(audit_export), {"tenant": tenant, "exported": None, **row}
                )
            else:
                unit.connection.execute(_update(tenant).values(row))
            unit.audit(tenant, event, now)
            return AuditExport(tenant=tenant, receiver=receiver, sequence=sequence)

        return await self._database.write(put, tenant=tenant)

    async def export(self, tenant: Tenant) -> AuditExport | None:
        return await self._database.read(lambda connection: _one(connection, tenant), tenant=tenant)

    async def remove(self, tenant: Tenant, *, now: float, event: AuditEvent) -> bool:
        def remove(unit: Unit) -> bool:
            removed = unit.connection.execute(
                delete(audit_export).where(audit_export.c.tenant == tenant)
            ).rowcount
            if removed:
                unit.audit(tenant, event, now)
            return bool(removed)

        return await self._database.write(remove, tenant=tenant)

    async def exports(self) -> tuple[AuditExport, ...]:
        def find(connection: Connection) -> tuple[AuditExport, ...]:
            found = []
            for tenant in (OPERATOR, *tenants_of(connection)):
                scopes.enter(connection, tenant)
                if one := _one(connection, tenant):
                    found.append(one)
            return tuple(found)

        return await self._database.read(find)

    async def advance(
        self, before: AuditExport, sequence: int, *, now: float
    ) -> AuditExport | None:
        row = {"sequence": sequence, "exported": now, "failing_since": None, "detail": ""}
        return await self._change(before, lambda _: row)

    async def fail(self, before: AuditExport, detail: str, *, now: float) -> AuditExport | None:
        def row(present: AuditExport) -> dict[str, Any]:
            since = now if present.failing_since is None else present.failing_since
            return {"failing_since": since, "detail": detail}

        return await self._change(before, row)

    async def _change(
        self, before: AuditExport, row_of: Callable[[AuditExport], dict[str, Any]]
    ) -> AuditExport | None:
        """Change an export unless it was changed by somebody else.

        Another receiver begins where it was asked to.
        """

        def change(unit: Unit) -> AuditExport | None:
            present = _one(unit.connection, before.tenant)
            if present is None or (present.receiver, present.sequence) != (
                before.receiver,
                before.sequence,
            ):
                return None
            row = row_of(present)
            unit.connection.execute(_update(before.tenant).values(row))
            return msgspec.structs.replace(present, **row)

        return await self._database.write(change, tenant=before.tenant)


def _update(tenant: Tenant) -> Any:
    return update(audit_export).where(audit_export.c.tenant == tenant)


def _one(connection: Connection, tenant: Tenant) -> AuditExport | None:
    row = connection.execute(ONE, {"of": tenant}).mappings().first()
    return None if row is None else of(row, _export)


def _export(row: dict[str, Any]) -> AuditExport:
    receiver = {name: row.pop(name) for name in AuditReceiver.__struct_fields__}
    return msgspec.convert(row | {"receiver": receiver}, AuditExport)
