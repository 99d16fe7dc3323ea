"""The statements of the port `Inventory`."""

from sqlalchemy import Connection, bindparam, func, select

from swallowtail.cloud.model.imaging import IndexState
from swallowtail.cloud.model.inventory import BlobReference, IndexCounts
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records import schema
from swallowtail.cloud.records.database import Database

_instance, _document = schema.instance, schema.index_document
_TENANT = _instance.c.tenant == bindparam("tenant")
_MAX_UNDOCUMENTED = 100

TENANTS = select(schema.organisation.c.id, schema.organisation.c.name).order_by(
    schema.organisation.c.id
)
BLOBS = tuple(
    select(table.c.sha256, func.max(table.c.length), func.min(table.c.id), func.count())
    .where(table.c.tenant == bindparam("tenant"), table.c.sha256 > bindparam("after"))
    .group_by(table.c.sha256)
    .order_by(table.c.sha256)
    .limit(bindparam("limit"))
    for table in (_instance, schema.deleted_instance)
)
"""The references of each table that has some.

One statement over both would sort all of them for each page.
"""
WAITING = (
    select(func.count())
    .select_from(schema.index_job)
    .where(schema.index_job.c.tenant == bindparam("tenant"))
)
STATES = select(_instance.c.state, func.count()).where(_TENANT).group_by(_instance.c.state)
UNDOCUMENTED = (
    select(_instance.c.id)
    .outerjoin(_document, _document.c.instance == _instance.c.id)
    .where(_TENANT, _instance.c.state == IndexState.INDEXED, _document.c.instance.is_(None))
    .order_by(_instance.c.id)
    .limit(_MAX_UNDOCUMENTED)
)


def tenants_of(connection: Connection) -> list[Tenant]:
    """Return every tenant that has or had an organisation: those to enter in turn."""
    return [Tenant(row.id) for row in connection.execute(TENANTS)]


class InventoryRecords:
    """The port `Inventory` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tenants(self) -> tuple[tuple[Tenant, str], ...]:
        def find(connection: Connection) -> tuple[tuple[Tenant, str], ...]:
            return tuple((Tenant(key), name) for key, name in connection.execute(TENANTS))

        return await self._database.read(find)

    async def blobs(
        self, tenant: Tenant, *, after: bytes = b"", limit: int = 1000
    ) -> tuple[BlobReference, ...]:
        def find(connection: Connection) -> tuple[BlobReference, ...]:
            key = {"tenant": tenant, "after": after, "limit": limit}
            found: dict[bytes, BlobReference] = {}
            for statement in BLOBS:
                for row in connection.execute(statement, key):
                    one = BlobReference(*row)
                    found[one.sha256] = (
                        _together(found[one.sha256], one) if one.sha256 in found else one
                    )
            return tuple(found[digest] for digest in sorted(found)[:limit])

        return await self._database.read(find, tenant=tenant)

    async def index(self, tenant: Tenant) -> IndexCounts:
        def find(connection: Connection) -> IndexCounts:
            key = {"tenant": tenant}
            states = {str(state): int(count) for state, count in connection.execute(STATES, key)}
            return IndexCounts(
                waiting=int(connection.execute(WAITING, key).scalar_one()),
                quarantined=states.get(IndexState.QUARANTINED, 0),
                undocumented=tuple(connection.execute(UNDOCUMENTED, key).scalars()),
            )

        return await self._database.read(find, tenant=tenant)


def _together(one: BlobReference, other: BlobReference) -> BlobReference:
    return BlobReference(
        sha256=one.sha256,
        length=max(one.length, other.length),
        instance=min(one.instance, other.instance),
        instances=one.instances + other.instances,
    )
