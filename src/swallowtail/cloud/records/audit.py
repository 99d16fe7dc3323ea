"""The audit chain read and verified: the statements of the port `Audit`. Extending it stands in `chain`."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, bindparam, select

from swallowtail.cloud.model.audit import GENESIS, AuditEvent, AuditRecord, ChainVerdict, chain
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records.chain import head
from swallowtail.cloud.records.database import Database, Unit
from swallowtail.cloud.records.rows import Listing, paged
from swallowtail.cloud.records.schema import audit

_OF_TENANT = select(audit).where(audit.c.tenant == bindparam("tenant"))
STRETCH = _OF_TENANT.where(audit.c.sequence > bindparam("after")).order_by(audit.c.sequence).limit(bindparam("limit"))
_STRETCH: Final = 2000
_event = msgspec.msgpack.Decoder(AuditEvent)


class AuditRecords:
    """The port `Audit` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, tenant: Tenant, events: Sequence[AuditEvent], *, now: float) -> None:
        def append(unit: Unit) -> None:
            for event in events:
                unit.audit(tenant, event, now)

        await self._database.write(append)

    async def records(self, tenant: Tenant, page: PageRequest = FIRST_PAGE) -> Page[AuditRecord]:
        return await self._database.read(lambda connection: paged(connection, RECORDS, {"tenant": tenant}, page))

    async def verify(self, tenant: Tenant) -> ChainVerdict:
        total, last = await self._database.read(lambda connection: head(connection, tenant))
        after, digest = 0, GENESIS
        while after < total:
            rows = await self._database.read(lambda connection, after=after: _stretch(connection, tenant, after))  # type: ignore[misc]
            for row in rows[: total - after]:
                digest = chain(digest, tenant, row.sequence, row.at, row.event)
                if row.sequence != after + 1 or digest != row.digest:
                    return ChainVerdict(records=total, broken_at=after + 1)
                after += 1
            if not rows:
                return ChainVerdict(records=total, broken_at=after + 1)
        return ChainVerdict(records=total, broken_at=None if digest == last else total)


def _stretch(connection: Connection, tenant: Tenant, after: int) -> Sequence[Any]:
    return connection.execute(STRETCH, {"tenant": tenant, "after": after, "limit": _STRETCH}).all()


def _record(row: dict[str, Any]) -> AuditRecord:
    return msgspec.convert(row | {"event": _event.decode(row["event"])}, AuditRecord)


RECORDS = Listing(_OF_TENANT, _record, (audit.c.sequence,), descending=True)
