"""Group commit, on a connection and on the writer's thread."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, StaticPool, create_engine, event, insert, select, text

from swallowtail.cloud.model.port_errors import (
    CloudError,
    ConflictError,
    NotFoundError,
    StorageUnavailableError,
)
from swallowtail.cloud.records.database import Failed, FatalStorageError, Unit, run_batch
from swallowtail.cloud.records.schema import index_job, metadata
from swallowtail.cloud.records.sqlite import SqliteDatabase
from tests.doubles.memory_database import INVENTED_KEYS


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://", poolclass=StaticPool)

    @event.listens_for(engine, "connect")
    def connected(driver: sqlite3.Connection, _record: object) -> None:
        driver.isolation_level = None

    @event.listens_for(engine, "begin")
    def begun(one: Connection) -> None:
        one.exec_driver_sql("BEGIN")

    metadata.create_all(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def add(key: int, then: Exception | None = None) -> Callable[[Unit], int]:
    def intent(unit: Unit) -> int:
        unit.connection.execute(
            insert(index_job), {"instance": key, "tenant": "t", "until": 0.0, "attempts": 0}
        )
        if then is not None:
            raise then
        return key

    return intent


def kept(connection: Connection) -> list[int]:
    with connection.begin():
        return list(
            connection.execute(
                select(index_job.c.instance).order_by(index_job.c.instance)
            ).scalars()
        )


@pytest.mark.parametrize("error", [NotFoundError(), ZeroDivisionError()])
def test_an_intent_that_fails_fails_alone(connection: Connection, error: Exception) -> None:
    first, second, third = run_batch(connection, [add(1), add(2, error), add(3)], INVENTED_KEYS)
    assert (first, second.error, third) == (1, error, 3)
    assert kept(connection) == [1, 3]


def test_an_intent_that_fails_by_itself_leaves_nothing(connection: Connection) -> None:
    (failed,) = run_batch(connection, [add(2, NotFoundError())], INVENTED_KEYS)
    assert isinstance(failed, Failed)
    assert kept(connection) == []


@pytest.mark.parametrize("others", [[], [add(8)]])
def test_a_taken_key_is_a_conflict(
    connection: Connection, others: list[Callable[[Unit], int]]
) -> None:
    run_batch(connection, [add(1)], INVENTED_KEYS)
    failed = run_batch(connection, [add(1), *others], INVENTED_KEYS)[0]
    assert isinstance(failed.error, ConflictError)


@pytest.mark.parametrize("others", [[], [add(8)]])
def test_a_failure_of_the_storage_fails_the_whole_batch(
    connection: Connection, others: list[Callable[[Unit], int]]
) -> None:
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = 13
    with pytest.raises(StorageUnavailableError, match="disk is full") as raised:
        run_batch(connection, [*others, add(2, full)], INVENTED_KEYS)
    assert not isinstance(raised.value, FatalStorageError)
    assert kept(connection) == []


def test_an_io_error_is_fatal(connection: Connection) -> None:
    broken = sqlite3.OperationalError("disk I/O error")
    broken.sqlite_errorcode = 10 | 4 << 8  # SQLITE_IOERR_FSYNC
    with pytest.raises(FatalStorageError):
        run_batch(connection, [add(1, broken)], INVENTED_KEYS)


@pytest.fixture
async def database(tmp_path: Path) -> SqliteDatabase:
    return SqliteDatabase.open(tmp_path / "db", audit_keys=INVENTED_KEYS, on_fatal=lambda _: None)


async def test_durability_is_set_on_every_connection(database: SqliteDatabase) -> None:
    def settings(connection: Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return [connection.execute(text(f"PRAGMA {name}")).scalar() for name in names]

    expected = ["wal", 2, 1, 5000]
    assert await database.read(settings) == expected
    assert await database.write(lambda unit: settings(unit.connection)) == expected
    await database.close()


async def test_a_batch_is_whatever_waits_when_the_previous_commit_ends(
    database: SqliteDatabase,
) -> None:
    entered, go_on = threading.Event(), threading.Event()
    commits = []
    event.listen(database._writing, "commit", lambda _: commits.append(1))

    def first(_: Unit) -> None:
        entered.set()
        assert go_on.wait(10)

    async def write_rest() -> list[int]:
        await asyncio.to_thread(entered.wait, 10)
        # no owner in a test
        rest = [asyncio.ensure_future(database.write(add(key))) for key in range(20)]  # noqa: TID251
        await asyncio.sleep(0)
        go_on.set()
        return list(await asyncio.gather(*rest))

    _, results = await asyncio.gather(database.write(first), write_rest())
    assert results == list(range(20))
    assert len(commits) == 2
    await database.close()


async def test_what_was_written_is_there_after_a_restart(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    await database.write(add(7))
    await database.close()
    assert (tmp_path / "db").stat().st_mode & 0o777 == 0o600
    again = SqliteDatabase.open(tmp_path / "db", audit_keys=INVENTED_KEYS, on_fatal=lambda _: None)
    assert (
        await again.read(
            lambda connection: connection.execute(select(index_job.c.instance)).scalar()
        )
        == 7
    )
    await again.close()


async def test_after_a_fatal_failure_nothing_is_written_any_more(tmp_path: Path) -> None:
    reported: list[StorageUnavailableError] = []
    database = SqliteDatabase.open(
        tmp_path / "db", audit_keys=INVENTED_KEYS, on_fatal=reported.append
    )
    broken = sqlite3.OperationalError("disk I/O error")
    broken.sqlite_errorcode = 10
    for intent in (add(1, broken), add(2)):
        with pytest.raises(FatalStorageError):
            await database.write(intent)
    assert len(reported) == 1
    assert (
        await database.read(
            lambda connection: connection.execute(select(index_job.c.instance)).all()
        )
        == []
    )
    await database.close()


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"no database" * 100)
    with pytest.raises(CloudError, match="not a database"):
        SqliteDatabase.open(tmp_path / "db", audit_keys=INVENTED_KEYS, on_fatal=lambda _: None)


async def test_a_cancelled_caller_does_not_disturb_the_others(database: SqliteDatabase) -> None:
    go_on = threading.Event()
    blocked = asyncio.ensure_future(database.write(lambda _: go_on.wait(10)))  # noqa: TID251
    removed = asyncio.ensure_future(database.write(add(1)))  # noqa: TID251
    stays = asyncio.ensure_future(database.write(add(2)))  # noqa: TID251
    await asyncio.sleep(0)
    removed.cancel()
    go_on.set()
    assert await asyncio.gather(blocked, stays) == [True, 2]
    await database.close()
