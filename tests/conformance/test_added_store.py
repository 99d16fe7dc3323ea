"""The store of docs/howto/add-a-store.md, added as the page says, on both databases."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, func, select

from swallowtail.cloud.model.port_errors import ConflictError
from swallowtail.cloud.records import retention, schema
from swallowtail.cloud.records.database import Database
from swallowtail.cloud.records.postgresql import engine_of
from swallowtail.cloud.records.postgresql_server import open_database
from swallowtail.cloud.records.records import Records
from tests.bookmark_store import Bookmark, BookmarkRecords, bookmark, upgrade
from tests.conformance.invented import EVENT, NORTH, NOW, SOUTH, tenants
from tests.doubles.memory_database import INVENTED_KEYS, CommittedRows, MemoryDatabase
from tests.postgresql import OWNER, ROLE, PostgresqlServer

PAGE = Path("docs/howto/add-a-store.md")
ROWS = re.compile(r"^\| (new|edit) \| `([^`]+)` \|", re.MULTILINE)


def _upgrade(connection: Connection) -> None:
    with Operations.context(MigrationContext.configure(connection)):
        upgrade()


@pytest.fixture(params=["memory", "postgresql"])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    if request.param == "memory":
        rows = CommittedRows()
        with rows.connection.begin():
            _upgrade(rows.connection)
        yield MemoryDatabase(rows)
        rows.close()
        return
    started: PostgresqlServer = request.getfixturevalue("postgresql_server")
    server = started.create()
    engine = engine_of(started.url(str(server.url.database), OWNER), begin="BEGIN")
    with engine.connect() as connection, connection.begin():
        _upgrade(connection)
        connection.exec_driver_sql(f"GRANT SELECT, INSERT ON bookmark TO {ROLE}")  # as at the start
    engine.dispose()
    opened = open_database(server, audit_keys=INVENTED_KEYS)
    yield opened
    await opened.close()
    started.drop(server)


async def test_the_added_store_keeps_each_tenants_rows(database: Database) -> None:
    await tenants(records := Records(database))
    store, liver = BookmarkRecords(database), Bookmark(study="1.2", title="liver")
    before = (await records.audit.head(NORTH)).sequence
    await store.add(NORTH, liver, now=NOW, event=EVENT)
    with pytest.raises(ConflictError):
        await store.add(NORTH, liver, now=NOW, event=EVENT)
    await store.add(SOUTH, Bookmark(study="1.2", title="heart"), now=NOW, event=EVENT)
    assert (await store.bookmarks(NORTH)).items == (liver,)
    assert (await records.audit.head(NORTH)).sequence == before + 1


async def test_the_added_store_is_hidden_from_a_query_without_its_tenant(
    database: Database,
) -> None:
    await tenants(Records(database))
    one = Bookmark(study="1.2", title="liver")
    await BookmarkRecords(database).add(NORTH, one, now=NOW, event=EVENT)
    every = select(func.count()).select_from(bookmark)
    seen = await database.read(lambda connection: connection.execute(every).scalar_one())
    assert seen == (1 if isinstance(database, MemoryDatabase) else 0)


def test_the_page_names_the_files_and_no_more_than_two_that_are_edited() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    rows = ROWS.findall(text)
    edited = [Path(name) for kind, name in rows if kind == "edit"]
    assert edited == [
        Path("src/swallowtail/cloud/records/schema.py"),
        Path("src/swallowtail/cloud/records/records.py"),
    ]
    assert all(path.is_file() for path in edited)
    for kind, name in rows:
        folder = Path(name).parent
        assert kind == "edit" or folder.is_dir()
        assert any(path.suffix == ".py" for path in folder.iterdir())


def test_a_store_needs_no_entry_elsewhere() -> None:
    """Whatever has a tenant is purged with it, from the tables as `schema` has them."""
    with_tenant = {table for table in schema.metadata.sorted_tables if "tenant" in table.c}
    assert set(retention.OF_TENANTS) == with_tenant - retention.KEPT
