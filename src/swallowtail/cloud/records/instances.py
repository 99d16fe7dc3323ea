"""Stored instances: the commit that an acknowledgement is on, and looking single ones up.

Searches are in `searching`.
"""

from collections.abc import Collection
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, bindparam, insert, select, union_all, update

from swallowtail.calls.store import Stored
from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.conditions import Condition
from swallowtail.cloud.model.decisions import conflict_alarm, stored_as, transferred
from swallowtail.cloud.model.imaging import (
    Arrival,
    IndexState,
    Instance,
    InstanceIdentity,
    InstanceSearch,
    Origin,
    Receipt,
    Series,
    SeriesSearch,
    Study,
    StudySearch,
)
from swallowtail.cloud.model.indexing import BulkValue, FrameIndex, IndexedDocument
from swallowtail.cloud.model.paging import FIRST_PAGE, MAX_PAGE, Page, PageRequest
from swallowtail.cloud.model.port_errors import FencedError
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records import schema, searching
from swallowtail.cloud.records.alarms import cleared, raised
from swallowtail.cloud.records.counting import recount
from swallowtail.cloud.records.database import Database, Unit
from swallowtail.cloud.records.numbering import NextId
from swallowtail.cloud.records.organisations import require_active
from swallowtail.cloud.records.prepared import Prepared
from swallowtail.cloud.records.rows import Listing, only, paged, plain, values
from swallowtail.cloud.records.running_deletions import check_kept

_instance, _document = schema.instance, schema.index_document
_TENANT = _instance.c.tenant == bindparam("tenant")
EPOCH = Prepared(
    select(schema.link.c.epoch, schema.link.c.facility).where(
        schema.link.c.tenant == bindparam("tenant"), schema.link.c.id == bindparam("link")
    )
)
KEPT = Prepared(
    select(
        _instance.c.id, _instance.c.transfer_syntax, _instance.c.sha256, _instance.c.facility
    ).where(_TENANT, _instance.c.sop_instance == bindparam("sop_instance"))
)
ADD = Prepared(
    insert(_instance)
    .values(
        {column.name: bindparam(column.name) for column in _instance.c if column.name != "id"}
        | {"id": NextId()}
    )
    .returning(_instance.c.id)
)
ADD_JOB = Prepared(insert(schema.index_job))
INSTANCE = select(_instance).where(_TENANT, _instance.c.id == bindparam("id"))
COPIES = (
    select(_instance)
    .where(_TENANT, _instance.c.sop_instance == bindparam("sop_instance"))
    .order_by(_instance.c.visible.desc(), _instance.c.id)
)
REFERENCED = union_all(
    *(
        select(table.c.sha256).where(
            table.c.tenant == bindparam("tenant"),
            table.c.sha256.in_(bindparam("digests", expanding=True)),
        )
        for table in (_instance, schema.deleted_instance)
    )
)
DOCUMENTS = (
    select(_document)
    .join(_instance, _instance.c.id == _document.c.instance)
    .where(_TENANT, _document.c.instance.in_(bindparam("ids", expanding=True)))
)
HIDE = (
    update(_instance)
    .where(
        _instance.c.tenant == bindparam("of"),
        _instance.c.sop_instance == bindparam("uid"),
        _instance.c.facility == bindparam("within"),
        _instance.c.visible,
    )
    .values(visible=False)
)
SHOW = update(_instance).where(_instance.c.id == bindparam("chosen")).values(visible=True)
UNREAD: Final[dict[str, Any]] = {
    "state": IndexState.WAITING,
    "problem": "",
    "study": "",
    "series": "",
    "number": None,
    "rows": None,
    "columns": None,
    "frames": None,
}
"""What a row states of an instance that is not indexed yet."""


class InstanceRecords:
    """The port `Instances` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def commit(self, tenant: Tenant, arrival: Arrival, *, now: float) -> Receipt:
        return await self._database.write(
            lambda unit: _commit(unit, tenant, arrival, now), tenant=tenant
        )

    async def studies(
        self, tenant: Tenant, search: StudySearch, page: PageRequest = FIRST_PAGE
    ) -> Page[Study]:
        return await self._database.read(
            lambda connection: searching.studies(connection, tenant, search, page), tenant=tenant
        )

    async def series(
        self, tenant: Tenant, search: SeriesSearch, page: PageRequest = FIRST_PAGE
    ) -> Page[Series]:
        return await self._database.read(
            lambda connection: searching.series(connection, tenant, search, page), tenant=tenant
        )

    async def instances(
        self, tenant: Tenant, search: InstanceSearch, page: PageRequest = FIRST_PAGE
    ) -> Page[Instance]:
        listing = listing_of(search).where(*searching.instance_conditions(search))
        return await self._database.read(
            lambda connection: paged(connection, listing, {"tenant": tenant}, page), tenant=tenant
        )

    async def count(
        self, tenant: Tenant, search: StudySearch | SeriesSearch | InstanceSearch, most: int
    ) -> int:
        statement = searching.counted(search, most)
        return await self._database.read(
            lambda connection: int(connection.execute(statement, {"tenant": tenant}).scalar_one()),
            tenant=tenant,
        )

    async def instance(self, tenant: Tenant, instance: int) -> Instance:
        return await self._database.read(
            lambda connection: _instance_row(connection, tenant, instance), tenant=tenant
        )

    async def copies(self, tenant: Tenant, sop_instance: str) -> tuple[Instance, ...]:
        def find(connection: Connection) -> tuple[Instance, ...]:
            rows = (
                connection.execute(COPIES, {"tenant": tenant, "sop_instance": sop_instance})
                .mappings()
                .all()
            )
            return tuple(instance_of(plain(row)) for row in rows)

        return await self._database.read(find, tenant=tenant)

    async def documents(
        self, tenant: Tenant, instances: Collection[int]
    ) -> dict[int, IndexedDocument]:
        if len(instances) > MAX_PAGE:
            raise ValueError(f"at most {MAX_PAGE} documents at once, not {len(instances)}")

        def find(connection: Connection) -> dict[int, IndexedDocument]:
            rows = (
                connection.execute(DOCUMENTS, {"tenant": tenant, "ids": list(instances)})
                .mappings()
                .all()
            )
            return {row["instance"]: _document_of(plain(row)) for row in rows}

        return await self._database.read(find, tenant=tenant)

    async def choose(
        self, tenant: Tenant, instance: int, *, now: float, event: AuditEvent
    ) -> Instance:
        def choose(unit: Unit) -> Instance:
            chosen = _instance_row(unit.connection, tenant, instance)
            facility, uid = chosen.origin.facility, chosen.identity.sop_instance
            copies = unit.connection.execute(
                COPIES, {"tenant": tenant, "sop_instance": uid}
            ).mappings()
            studies = {
                row["study"] for row in copies if row["facility"] == facility and row["study"]
            }
            unit.connection.execute(HIDE, {"of": tenant, "uid": uid, "within": facility})
            unit.connection.execute(SHOW, {"chosen": chosen.id})
            recount(unit.connection, tenant, {(facility, study) for study in studies})
            cleared(unit.connection, tenant, Condition.INSTANCE_CONFLICT, uid, now)
            unit.audit(tenant, event, now)
            return msgspec.structs.replace(chosen, visible=True)

        return await self._database.write(choose, tenant=tenant)

    async def referenced(self, tenant: Tenant, digests: Collection[bytes]) -> frozenset[bytes]:
        key = {"tenant": tenant, "digests": list(digests)}
        return await self._database.read(
            lambda connection: frozenset(connection.execute(REFERENCED, key).scalars()),
            tenant=tenant,
        )


def _commit(unit: Unit, tenant: Tenant, arrival: Arrival, now: float) -> Receipt:
    connection, identity = unit.connection, arrival.identity
    facility = _admissible_facility(connection, tenant, arrival.origin)
    rows = KEPT.rows(connection, {"tenant": tenant, "sop_instance": identity.sop_instance})
    kept = {(syntax, sha256): key for key, syntax, sha256, where in rows if where == facility}
    stored = stored_as(kept, identity)
    unit.audit(tenant, transferred(arrival, stored), now)
    if stored is Stored.SAME:
        same = kept[identity.transfer_syntax, identity.sha256]
        check_kept(connection, tenant, same, now)
        return Receipt(id=same, stored=stored)
    row = values(identity) | values(arrival.origin) | UNREAD
    row |= {
        "tenant": tenant,
        "sop_class": arrival.sop_class,
        "length": arrival.length,
        "facility": facility,
    }
    row |= {"received": now, "visible": stored is Stored.NEW, "stored": stored}
    ((key,),) = ADD.rows(connection, row)
    ADD_JOB.run(connection, {"instance": key, "tenant": tenant, "until": 0.0})
    elsewhere = [(syntax, sha256) for _, syntax, sha256, where in rows if where != facility]
    if stored is Stored.CONFLICT or stored_as(elsewhere, identity) is Stored.CONFLICT:
        raised(
            connection,
            tenant,
            conflict_alarm(arrival, elsewhere=stored is not Stored.CONFLICT),
            now,
        )
    return Receipt(id=key, stored=stored)


def _admissible_facility(connection: Connection, tenant: Tenant, origin: Origin) -> str:
    """Check the epoch inside the transaction (design, "The wire").

    A session that was replaced commits nothing.
    """
    if origin.link is None:
        require_active(connection, tenant)
        return origin.facility
    for epoch, facility in EPOCH.rows(connection, {"tenant": tenant, "link": origin.link}):
        if epoch == origin.epoch:
            return str(facility)
    raise FencedError


def _instance_row(connection: Connection, tenant: Tenant, instance: int) -> Instance:
    return only(
        connection.execute(INSTANCE, {"tenant": tenant, "id": instance}), instance_of, "instance"
    )


def instance_of(row: dict[str, Any]) -> Instance:
    """Make the model's instance of a row."""
    identity, origin = msgspec.convert(row, InstanceIdentity), msgspec.convert(row, Origin)
    return msgspec.convert(row | {"identity": values(identity), "origin": values(origin)}, Instance)


def _document_of(row: dict[str, Any]) -> IndexedDocument:
    spans = msgspec.msgpack.decode(row["spans"], type=tuple[tuple[int, ...], ...])
    bulk = msgspec.msgpack.decode(row["bulk"], type=dict[str, BulkValue]) if row["bulk"] else {}
    frames = FrameIndex(spans=spans, encapsulated=row["encapsulated"], values=bulk)
    return IndexedDocument(instance=row["instance"], document=row["document"], frames=frames)


def listing_of(search: InstanceSearch) -> Listing[Instance]:
    """Return the listing in the order that finds these with least.

    SQLite would walk all in the order of arrival to save a sort.
    """
    if search.sop_instances:
        return BY_UID
    return (
        BY_SERIES
        if search.study or search.series or search.of_studies or search.of_series
        else INSTANCES
    )


INSTANCES = Listing(select(_instance).where(_TENANT), instance_of, (_instance.c.id,))
BY_SERIES = Listing(
    select(_instance).where(_TENANT),
    instance_of,
    (_instance.c.study, _instance.c.series, _instance.c.id),
)
BY_UID = Listing(
    select(_instance).where(_TENANT), instance_of, (_instance.c.sop_instance, _instance.c.id)
)
