from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from swallowtail.cloud.records.memory import MemoryDatabase
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.records.sqlite import SqliteDatabase
from tests.conformance.invented import tenants


@pytest.fixture(params=["sqlite", "memory"])
async def records(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Records]:
    """Every adapter of the records' ports in turn, with two organisations in it."""
    if request.param == "memory":
        database = MemoryDatabase()
    else:
        database = SqliteDatabase.open(tmp_path / "records.sqlite", on_fatal=lambda error: pytest.fail(str(error)))
    records = Records(database)
    await tenants(records)
    yield records
    await database.close()
