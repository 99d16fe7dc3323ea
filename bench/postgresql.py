"""The records on PostgreSQL beside SQLite: the same stores, and commits of one and four tenants.

Both databases and the blobs are on one disk, and PostgreSQL has Debian's defaults. A ratio is
SQLite's time over PostgreSQL's.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench import ours
from bench.compare import Runs, compare, store_run
from bench.sets import load
from bench.table import Row, versus
from swallowtail.cloud.model.audit import AuditKeys
from swallowtail.cloud.model.tenancy import Organisation, Tenant
from swallowtail.cloud.records.postgresql import PostgresqlDatabase
from swallowtail.cloud.records.postgresql_server import open_database
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.records.sqlite import SqliteDatabase
from tests.conformance.invented import EVENT, NOW, arrival
from tests.postgresql import PostgresqlServer, running_server

SENDERS: Final = 8
SETS: Final = ("ct", "small")
COMMITS: Final = 4000
AT_ONCE: Final = 8
KEYS: Final = AuditKeys({1: bytes(32)})
PEER: Final = "sqlite"


def measure(folder: Path, report: Callable[[str], None]) -> Iterator[Row]:
    """Measure the stores of eight associations, then bare commits."""
    folder.mkdir(parents=True)
    for one in (folder.parent, folder):  # PostgreSQL runs as a user of its own
        one.chmod(0o711)
    with running_server(folder) as server:
        for number in (1, 4):
            report(f"commits of {number} tenants, {AT_ONCE} at a time each")
            yield _row(
                f"postgresql commits tenants {number}", _commits(server, folder, number, report)
            )
        for what in SETS:
            report(f"store-in {what} eight, records on postgresql and on sqlite")
            yield _row(
                f"postgresql store-in {what} eight default", _stores(server, folder, what, report)
            )


def _row(name: str, done: dict[str, Runs]) -> Row:
    mine, peer = done["postgresql"], done[PEER]
    note = f"(ours {mine.spread}; peer {peer.spread})"
    return versus(name, mine.median, peer.median, PEER, note=note)


def _stores(
    server: PostgresqlServer, folder: Path, what: str, report: Callable[[str], None]
) -> dict[str, Runs]:
    with _installation(folder / f"{what}-sqlite", {}) as sqlite:
        url = server.create().url.render_as_string()
        environment = {"SWALLOWTAIL_DATABASE_URL": url}
        with _installation(folder / f"{what}-postgresql", environment) as postgresql:
            chosen = load(what)

            def runs(name: str, receiver: ours.Ours) -> Runs:
                return Runs(name, lambda: store_run(receiver, chosen, SENDERS, folder))

            return compare(
                [
                    runs(PEER, ours.Ours(sqlite, "default", chosen)),
                    runs("postgresql", ours.Ours(postgresql, "default", chosen)),
                ],
                report,
            )


@contextmanager
def _installation(folder: Path, environment: dict[str, str]) -> Iterator[ours.Installation]:
    site = ours.start(folder, environment=environment)
    try:
        yield site
    finally:
        site.stop()


def _commits(
    server: PostgresqlServer, folder: Path, number: int, report: Callable[[str], None]
) -> dict[str, Runs]:
    tenants = [Tenant(f"tenant{one}") for one in range(number)]
    path = folder / f"commits-{number}.sqlite3"
    database = server.create()

    def sqlite() -> float:
        return asyncio.run(
            _run(SqliteDatabase.open(path, audit_keys=KEYS, on_fatal=lambda _: None), tenants)
        )

    def postgresql() -> float:
        return asyncio.run(_run(open_database(database, audit_keys=KEYS), tenants))

    return compare([Runs(PEER, sqlite), Runs("postgresql", postgresql)], report)


async def _run(database: SqliteDatabase | PostgresqlDatabase, tenants: Sequence[Tenant]) -> float:
    records, started = Records(database), time.monotonic_ns()
    known = {one.id for one in (await records.organisations.organisations()).items}
    for tenant in tenants:
        if tenant not in known:
            organisation = Organisation(id=tenant, name=tenant, created=NOW)
            await records.organisations.add_organisation(organisation, now=NOW, event=EVENT)
    begun = time.monotonic()

    async def commit(tenant: Tenant, first: int) -> None:
        for one in range(first, COMMITS // len(tenants), AT_ONCE):
            uid = f"1.{started}.{one}"
            await records.instances.commit(tenant, arrival(uid, uid, link=None), now=NOW)

    await asyncio.gather(*(commit(tenant, one) for tenant in tenants for one in range(AT_ONCE)))
    seconds = time.monotonic() - begun
    await database.close()
    return seconds
