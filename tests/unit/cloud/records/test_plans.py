"""The statements that run for every store, session and request find their rows by an index, however many there are."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.dialects import sqlite

from swallowtail.cloud.records import chain, counting, instances, links, people
from swallowtail.cloud.records.migrations import upgrade

STATEMENTS = {
    "epoch": instances.EPOCH.statement,
    "kept": instances.KEPT.statement,
    "copies": instances.COPIES,
    "head": chain.HEAD.statement,
    "code": links.CODE,
    "token": people.TOKEN,
    "count": counting.BY_SERIES,
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path: Path = tmp_path_factory.mktemp("plans") / "db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        upgrade(connection)
    engine.dispose()
    connection = sqlite3.connect(path)
    yield connection
    connection.close()


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_table_is_scanned(database: sqlite3.Connection, name: str) -> None:
    compiled = STATEMENTS[name].compile(dialect=sqlite.dialect())
    plan = database.execute(f"EXPLAIN QUERY PLAN {compiled}", [""] * len(compiled.positiontup or ())).fetchall()
    steps = [step[3] for step in plan]
    assert not [step for step in steps if step.startswith("SCAN")], steps
