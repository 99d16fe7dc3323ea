"""Documents of Links and what they state they run: the statements of the port `Configuration`."""

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, literal, select, update

from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.operations import ConfigurationVersion, Running, UnknownDevice
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.port_errors import ConflictError
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records import schema
from swallowtail.cloud.records.database import Database, Unit
from swallowtail.cloud.records.links import require_link
from swallowtail.cloud.records.rows import Listing, of, only, paged, values

MAX_UNKNOWN: Final = 1000
"""Unknown devices kept per Link: a scanner on the hospital's network must not fill the table."""

_documents, _running, _unknown = schema.configuration, schema.running, schema.unknown_device
_OF_LINK = (_documents.c.tenant == bindparam("tenant"), _documents.c.link == bindparam("link"))
VERSION = select(_documents).where(*_OF_LINK, _documents.c.version == bindparam("version"))
DESIRED = select(_documents).where(*_OF_LINK).order_by(_documents.c.version.desc()).limit(1)
HISTORY = Listing(
    select(
        *(column for column in _documents.c if column.name not in {"document", "tenant"}),
        literal(b"").label("document"),
    ).where(*_OF_LINK),
    ConfigurationVersion,
    (_documents.c.version,),
    descending=True,
)
RUNNING = select(_running).where(_running.c.tenant == bindparam("tenant"))
_DEVICE_KEY: Final = ("link", "listener", "address", "calling_ae", "called_ae", "reason")
DEVICE = select(_unknown).where(
    _unknown.c.tenant == bindparam("tenant"),
    *(_unknown.c[name] == bindparam(name) for name in _DEVICE_KEY),
)
DEVICES = Listing(
    select(_unknown).where(_unknown.c.tenant == bindparam("tenant")),
    UnknownDevice,
    (_unknown.c.last, *(_unknown.c[name] for name in _DEVICE_KEY)),
    descending=True,
)
SURPLUS = (
    select(_unknown.c.last)
    .where(_unknown.c.tenant == bindparam("tenant"), _unknown.c.link == bindparam("link"))
    .order_by(_unknown.c.last.desc())
    .offset(MAX_UNKNOWN)
    .limit(1)
)


class ConfigurationRecords:
    """The port `Configuration` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(
        self,
        tenant: Tenant,
        link: str,
        document: bytes,
        *,
        expected: int | None = None,
        restored_from: int | None = None,
        author: str,
        comment: str = "",
        now: float,
        event: AuditEvent,
    ) -> ConfigurationVersion:
        def put(unit: Unit) -> ConfigurationVersion:
            require_link(unit.connection, tenant, link)
            present = _desired(unit.connection, tenant, link)
            number = 0 if present is None else present.version
            if expected is not None and expected != number:
                raise ConflictError(
                    f"the present version is {number}, not {expected}; read it and decide again"
                )
            if present is not None and present.document == document:
                return present
            new = ConfigurationVersion(
                link=link,
                version=number + 1,
                document=document,
                author=author,
                created=now,
                comment=comment,
                restored_from=restored_from,
            )
            unit.connection.execute(insert(_documents), values(new) | {"tenant": tenant})
            unit.audit(tenant, event, now)
            return new

        return await self._database.write(put, tenant=tenant)

    async def desired(self, tenant: Tenant, link: str) -> ConfigurationVersion | None:
        return await self._database.read(
            lambda connection: _desired(connection, tenant, link), tenant=tenant
        )

    async def version(self, tenant: Tenant, link: str, version: int) -> ConfigurationVersion:
        key = {"tenant": tenant, "link": link, "version": version}
        return await self._database.read(
            lambda connection: only(
                connection.execute(VERSION, key),
                ConfigurationVersion,
                "version of this configuration",
            ),
            tenant=tenant,
        )

    async def history(
        self, tenant: Tenant, link: str, page: PageRequest = FIRST_PAGE
    ) -> Page[ConfigurationVersion]:
        key = {"tenant": tenant, "link": link}
        return await self._database.read(
            lambda connection: paged(connection, HISTORY, key, page), tenant=tenant
        )

    async def note_running(self, tenant: Tenant, running: Running) -> None:
        mine = (_running.c.tenant == tenant) & (_running.c.link == running.link)

        def note(unit: Unit) -> None:
            require_link(unit.connection, tenant, running.link)
            row = values(running) | {
                "tenant": tenant,
                "problems": msgspec.json.encode(running.problems).decode(),
            }
            kept = unit.connection.execute(select(_running.c.epoch).where(mine)).first()
            if kept is None:
                unit.connection.execute(insert(_running), row)
            elif kept.epoch <= running.epoch:
                unit.connection.execute(update(_running).where(mine).values(row))

        await self._database.write(note, tenant=tenant)

    async def running(self, tenant: Tenant, links: Collection[str]) -> dict[str, Running]:
        query = RUNNING.where(_running.c.link.in_(sorted(links)))

        def find(connection: Connection) -> dict[str, Running]:
            rows = connection.execute(query, {"tenant": tenant}).mappings().all()
            return {row["link"]: of(row, _running_of) for row in rows}

        return await self._database.read(find, tenant=tenant)

    async def note_unknown(self, tenant: Tenant, devices: Sequence[UnknownDevice]) -> None:
        def note(unit: Unit) -> None:
            for device in devices:
                _add_up(unit.connection, tenant, device)
            for link in {device.link for device in devices}:
                _drop_surplus(unit.connection, tenant, link)

        await self._database.write(note, tenant=tenant)

    async def unknown_devices(
        self, tenant: Tenant, page: PageRequest = FIRST_PAGE, *, link: str | None = None
    ) -> Page[UnknownDevice]:
        query = DEVICES if link is None else DEVICES.where(_unknown.c.link == link)
        return await self._database.read(
            lambda connection: paged(connection, query, {"tenant": tenant}, page), tenant=tenant
        )

    async def delete_unknown(
        self, tenant: Tenant, link: str, address: str, calling_ae: str
    ) -> None:
        mine = (_unknown.c.tenant == tenant, _unknown.c.link == link)
        discard = delete(_unknown).where(
            *mine, _unknown.c.address == address, _unknown.c.calling_ae == calling_ae
        )

        def run(unit: Unit) -> None:
            unit.connection.execute(discard)

        await self._database.write(run, tenant=tenant)


def _desired(connection: Connection, tenant: Tenant, link: str) -> ConfigurationVersion | None:
    row = connection.execute(DESIRED, {"tenant": tenant, "link": link}).mappings().first()
    return None if row is None else of(row, ConfigurationVersion)


def _running_of(row: dict[str, Any]) -> Running:
    return msgspec.convert(row | {"problems": msgspec.json.decode(row["problems"])}, Running)


def _add_up(connection: Connection, tenant: Tenant, device: UnknownDevice) -> None:
    key = {"tenant": tenant} | {name: getattr(device, name) for name in _DEVICE_KEY}
    kept = connection.execute(DEVICE, key).mappings().first()
    if kept is None:
        connection.execute(insert(_unknown), values(device) | {"tenant": tenant})
        return
    mine = [_unknown.c[name] == value for name, value in key.items()]
    first, last = min(kept["first"], device.first), max(kept["last"], device.last)
    connection.execute(
        update(_unknown)
        .where(*mine)
        .values(count=kept["count"] + device.count, first=first, last=last)
    )


def _drop_surplus(connection: Connection, tenant: Tenant, link: str) -> None:
    oldest = connection.execute(SURPLUS, {"tenant": tenant, "link": link}).scalar()
    if oldest is not None:
        mine = (_unknown.c.tenant == tenant, _unknown.c.link == link)
        connection.execute(delete(_unknown).where(*mine, _unknown.c.last <= oldest))
