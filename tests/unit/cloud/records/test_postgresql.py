"""The PostgreSQL adapter by itself: isolation of tenants, locks, lost connections, settings."""

import asyncio
import threading
from collections.abc import AsyncIterator

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import ProgrammingError

from swallowtail.cloud.model.port_errors import ConflictError, StorageUnavailableError
from swallowtail.cloud.model.tenancy import Facility, Tenant
from swallowtail.cloud.records import schema
from swallowtail.cloud.records.database import Unit
from swallowtail.cloud.records.postgresql import READERS, PostgresqlDatabase, engine_of
from swallowtail.cloud.records.postgresql_server import (
    DatabaseServer,
    DatabaseUrlError,
    open_database,
    parse_url,
)
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import (
    EVENT,
    NORTH,
    NOW,
    SOUTH,
    admitted_link,
    arrival,
    indexed,
    tenants,
)
from tests.doubles.memory_database import INVENTED_KEYS
from tests.postgresql import OWNER, ROLE, PostgresqlServer

QUEUES = {"organisation", "index_job", "routing", "high_water"}
"""Tables without policies: the list of organisations, and numbers only."""


@pytest.fixture
async def server(postgresql_server: PostgresqlServer) -> AsyncIterator[DatabaseServer]:
    made = postgresql_server.create()
    yield made
    postgresql_server.drop(made)


@pytest.fixture
async def database(server: DatabaseServer) -> AsyncIterator[PostgresqlDatabase]:
    opened = open_database(server, audit_keys=INVENTED_KEYS)
    yield opened
    await opened.close()


@pytest.fixture
async def records(database: PostgresqlDatabase) -> Records:
    made = Records(database)
    for tenant in (NORTH, SOUTH):
        if tenant == NORTH:
            await tenants(made)
        await admitted_link(made, tenant)
        stored = await made.instances.commit(tenant, arrival("1.2.1"), now=NOW)
        await made.index_jobs.settle([indexed(stored.id, tenant=tenant)], now=NOW)
    return made


def _visible(connection: Connection) -> dict[str, int]:
    """How many rows each table shows to a statement that names no tenant."""
    return {
        table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in schema.metadata.sorted_tables
    }


async def test_a_statement_without_its_tenant_finds_nothing(
    records: Records, database: PostgresqlDatabase
) -> None:
    shown = await database.read(_visible)
    assert {name for name, number in shown.items() if number} <= QUEUES
    north = await database.read(_visible, tenant=NORTH)
    assert north["instance"] == north["index_document"] == north["link"] == north["study"] == 1
    assert (await database.read(_visible, tenant=Tenant("nobody")))["instance"] == 0
    assert (await database.read(_visible))["instance"] == 0  # on connections that have had one


async def test_a_change_without_its_tenant_changes_nothing(
    records: Records, database: PostgresqlDatabase
) -> None:
    def hide(unit: Unit) -> int:
        return unit.connection.execute(update(schema.instance).values(visible=False)).rowcount

    def steal(unit: Unit) -> None:
        row = {"tenant": SOUTH, "id": "new", "name": "n", "title": "", "time_zone": "UTC"}
        unit.connection.execute(insert(schema.facility), row)

    assert await database.write(hide) == 0
    assert await database.write(hide, tenant=NORTH) == 1
    with pytest.raises(ProgrammingError, match="row-level security"):
        await database.write(steal, tenant=NORTH)


def test_every_table_of_tenants_has_a_policy(
    postgresql_server: PostgresqlServer, server: DatabaseServer
) -> None:
    """A table that a later revision adds fails here until it has a policy too."""
    with psycopg.connect(
        host=str(postgresql_server.folder), user="admin", dbname=server.url.database
    ) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relrowsecurity"
        ).fetchall()
    assert {name for (name,) in rows} == set(schema.metadata.tables) - QUEUES


async def test_text_with_nul_is_stored_and_searched_for(records: Records) -> None:
    """From REST, where JSON can hold one; as SQLite does."""
    strange = Facility(id="x", name="a\0b", time_zone="UTC")
    await records.organisations.put_facility(NORTH, strange, now=NOW, event=EVENT)
    (found,) = (await records.organisations.facilities(NORTH, name="a\0b")).items
    assert found.name == "a\ufffdb"


async def test_tenants_commit_in_parallel_and_one_tenants_changes_in_turn(
    records: Records, database: PostgresqlDatabase
) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def hold(unit: Unit) -> None:
        unit.audit(NORTH, EVENT, NOW)
        inside.set()
        assert go_on.wait(10)

    async def append(tenant: Tenant) -> None:
        await records.audit.append(tenant, [EVENT], now=NOW)

    async with asyncio.TaskGroup() as group:
        group.create_task(database.write(hold, tenant=NORTH))
        await asyncio.to_thread(inside.wait, 10)
        behind = group.create_task(append(NORTH))
        await append(SOUTH)
        assert not behind.done()
        go_on.set()
    for tenant in (NORTH, SOUTH):
        assert (await records.audit.verify(tenant)).broken_at is None


async def test_two_processes_extend_one_chain_without_a_gap(
    records: Records, server: DatabaseServer
) -> None:
    """What serialises them is the lock in the database, not the queue of one process."""
    second = open_database(server, audit_keys=INVENTED_KEYS)
    try:
        both = (records.audit, Records(second).audit)
        before = (await records.audit.head(NORTH)).sequence
        await asyncio.gather(
            *(audit.append(NORTH, [EVENT], now=NOW) for _ in range(30) for audit in both)
        )
        verdict = await records.audit.verify(NORTH)
        assert (verdict.records - before, verdict.broken_at) == (60, None)
    finally:
        await second.close()


async def test_two_processes_never_claim_the_same_job(
    records: Records, server: DatabaseServer
) -> None:
    for number in range(40):
        await records.instances.commit(NORTH, arrival(f"1.9.{number}"), now=NOW)
    second = open_database(server, audit_keys=INVENTED_KEYS)
    try:
        both = (records.index_jobs, Records(second).index_jobs)
        claimed = await asyncio.gather(
            *(jobs.claim(5, now=NOW, until=NOW + 60) for _ in range(5) for jobs in both)
        )
        numbers = [job.instance for jobs in claimed for job in jobs]
        assert len(numbers) == len(set(numbers)) == 40
    finally:
        await second.close()


async def test_an_intent_that_fails_fails_alone(
    records: Records, database: PostgresqlDatabase
) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def hold(_: Unit) -> None:
        inside.set()
        assert go_on.wait(10)

    def add(name: str) -> asyncio.Future[None]:
        def add_facility(unit: Unit) -> None:
            row = {"tenant": NORTH, "id": name, "name": name, "title": "", "time_zone": "UTC"}
            unit.connection.execute(insert(schema.facility), row)

        return asyncio.ensure_future(database.write(add_facility, tenant=NORTH))  # noqa: TID251

    first = asyncio.ensure_future(database.write(hold, tenant=NORTH))  # noqa: TID251
    await asyncio.to_thread(inside.wait, 10)
    batch = [add("east"), add("clinic"), add("west")]
    await asyncio.sleep(0)
    go_on.set()
    await first
    one, two, three = await asyncio.gather(*batch, return_exceptions=True)
    assert (one, type(two), three) == (None, ConflictError, None)
    names = {one.id for one in (await records.organisations.facilities(NORTH)).items}
    assert names == {"clinic", "east", "west"}


async def test_a_deadlock_is_tried_again(records: Records, database: PostgresqlDatabase) -> None:
    """Two intents that enter the same tenants in opposite orders both commit."""
    met = threading.Barrier(2, timeout=5)

    def both(first: Tenant, then: Tenant) -> None:
        waited: list[bool] = []

        def enter(unit: Unit) -> None:
            unit.enter(first)
            if not waited:
                waited.append(True)
                met.wait()
            unit.enter(then)
            unit.audit(then, EVENT, NOW)

        asyncio.run_coroutine_threadsafe(database.write(enter, tenant=first), loop).result(20)

    loop = asyncio.get_running_loop()
    before = [(await records.audit.head(tenant)).sequence for tenant in (NORTH, SOUTH)]
    await asyncio.gather(
        asyncio.to_thread(both, NORTH, SOUTH), asyncio.to_thread(both, SOUTH, NORTH)
    )
    after = [(await records.audit.head(tenant)).sequence for tenant in (NORTH, SOUTH)]
    assert after == [number + 1 for number in before]


async def test_a_connection_that_is_lost_fails_its_batch_and_the_next_one_connects(
    records: Records,
    database: PostgresqlDatabase,
    postgresql_server: PostgresqlServer,
    server: DatabaseServer,
) -> None:
    def end(unit: Unit) -> None:
        unit.audit(NORTH, EVENT, NOW)
        own = unit.connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        postgresql_server.administer(f"SELECT pg_terminate_backend({own})")

    before = (await records.audit.head(NORTH)).sequence
    with pytest.raises(StorageUnavailableError):
        await database.write(end, tenant=NORTH)
    assert (await records.audit.head(NORTH)).sequence == before
    await records.audit.append(NORTH, [EVENT], now=NOW)
    assert (await records.audit.head(NORTH)).sequence == before + 1
    postgresql_server.administer(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE datname = '{server.url.database}'"
    )
    await asyncio.gather(
        *(records.audit.head(NORTH) for _ in range(READERS)), return_exceptions=True
    )
    assert (await records.audit.head(NORTH)).sequence == before + 1


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("ALTER ROLE {role} SET synchronous_commit = off", "synchronous_commit"),
        ("ALTER ROLE {role} BYPASSRLS", "BYPASSRLS"),
        ("ALTER TABLE study OWNER TO {role}", "owns tables"),
        ("GRANT {owner} TO {role}", "owns tables"),
    ],
)
def test_a_server_on_which_acknowledged_instances_or_tenants_are_not_safe_is_refused(
    postgresql_server: PostgresqlServer, server: DatabaseServer, statement: str, named: str
) -> None:
    database = str(server.url.database)
    undo = (
        f"ALTER ROLE {ROLE} RESET synchronous_commit",
        f"ALTER ROLE {ROLE} NOBYPASSRLS",
        f"REVOKE {OWNER} FROM {ROLE}",
    )
    postgresql_server.administer(statement.format(role=ROLE, owner=OWNER), database=database)
    try:
        with pytest.raises(StorageUnavailableError, match=named):
            open_database(server, audit_keys=INVENTED_KEYS)
    finally:
        postgresql_server.administer(*undo, database=database)


def test_a_database_that_sorts_by_a_language_is_refused(
    postgresql_server: PostgresqlServer,
) -> None:
    postgresql_server.administer(
        "CREATE DATABASE sorted TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de'"
        f" OWNER {OWNER}"
    )
    sorted_by_icu = DatabaseServer(postgresql_server.url("sorted", ROLE))
    try:
        with pytest.raises(StorageUnavailableError, match="LC_COLLATE 'C'"):
            open_database(sorted_by_icu, audit_keys=INVENTED_KEYS)
    finally:
        postgresql_server.drop(sorted_by_icu)


def test_tables_of_another_release_are_refused_until_their_owner_is_given(
    postgresql_server: PostgresqlServer, server: DatabaseServer
) -> None:
    postgresql_server.administer(
        "UPDATE alembic_version SET version_num = '0018_pre'", database=str(server.url.database)
    )
    with pytest.raises(StorageUnavailableError, match="--database-owner-url"):
        open_database(server, audit_keys=INVENTED_KEYS)


async def test_the_owner_brings_an_empty_database_up_to_date(
    postgresql_server: PostgresqlServer,
) -> None:
    postgresql_server.administer(
        f"CREATE DATABASE fresh OWNER {OWNER} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    fresh = DatabaseServer(
        postgresql_server.url("fresh", ROLE), owner=postgresql_server.url("fresh", OWNER)
    )
    for _ in range(2):  # a second start finds nothing to do
        opened = open_database(fresh, audit_keys=INVENTED_KEYS)
        await opened.close()
    postgresql_server.drop(fresh)


@pytest.mark.parametrize(
    "text",
    ["postgresql:///x", "mysql://a@b/c", "nonsense", "postgresql://a@b", "postgresql://a:s@b:x/c"],
)
def test_an_address_that_cannot_be_used_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(DatabaseUrlError) as refused:
        parse_url(text)
    assert "a:s" not in str(refused.value)


def test_the_migrations_make_the_tables_that_the_statements_expect(
    postgresql_server: PostgresqlServer, server: DatabaseServer
) -> None:
    owner = postgresql_server.url(str(server.url.database), OWNER)
    engine = engine_of(owner, begin="BEGIN")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()
