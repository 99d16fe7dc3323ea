import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from swallowtail.cloud.model.errors import StorageUnavailableError
from swallowtail.cloud.records.memory import CommittedRows, MemoryDatabase
from swallowtail.cloud.records.schema import index_job
from tests.unit.cloud.records.test_database import add


@pytest.fixture
def rows() -> Iterator[CommittedRows]:
    rows = CommittedRows()
    yield rows
    rows.close()


async def kept(rows: CommittedRows) -> list[int]:
    return list(
        await MemoryDatabase(rows).read(lambda connection: connection.execute(select(index_job.c.instance)).scalars().all())
    )


async def test_a_crash_before_the_commit_forgets_it(rows: CommittedRows) -> None:
    database = MemoryDatabase(rows)
    waiting = asyncio.ensure_future(database.write(add(1)))  # noqa: TID251 - no owner in a test
    await asyncio.sleep(0)
    database.crash()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await kept(rows) == []


async def test_a_crash_after_the_commit_loses_the_answer_alone(rows: CommittedRows) -> None:
    delays = iter([0.0, 3600.0])
    database = MemoryDatabase(rows, delay=lambda: next(delays))
    waiting = asyncio.ensure_future(database.write(add(1)))  # noqa: TID251
    while not await kept(rows):  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert not waiting.done()
    database.crash()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await kept(rows) == [1]


async def test_a_dead_process_changes_and_reads_nothing(rows: CommittedRows) -> None:
    database = MemoryDatabase(rows)
    database.crash()
    with pytest.raises(StorageUnavailableError):
        await database.write(add(1))
    with pytest.raises(StorageUnavailableError):
        await database.read(lambda _: None)
    assert await MemoryDatabase(rows).write(add(1)) == 1


async def test_unavailable_rows_refuse_and_recover(rows: CommittedRows) -> None:
    database = MemoryDatabase(rows)
    rows.unavailable = True
    with pytest.raises(StorageUnavailableError):
        await database.write(add(1))
    rows.unavailable = False
    assert await database.write(add(2)) == 2
    assert await kept(rows) == [2]
