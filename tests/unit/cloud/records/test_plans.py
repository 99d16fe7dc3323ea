"""The statements that run for every store, session and request find their rows by an index, however many there are."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import bindparam, create_engine, not_, select
from sqlalchemy.dialects import sqlite

from swallowtail.cloud.model.imaging import InstanceSearch
from swallowtail.cloud.records import (
    attempts,
    chain,
    counting,
    deletions,
    deliveries,
    instances,
    inventory,
    lanes,
    links,
    rules,
    schema,
    searching,
    tokens,
)
from swallowtail.cloud.records.migrations import upgrade

INSTANCE_PAGE = instances.INSTANCES.where(*searching.instance_conditions(InstanceSearch())).query.order_by(
    instances.INSTANCES.order[0]
)
OF_STUDY = InstanceSearch(study="1.2")
IN_STUDY = instances.listing_of(OF_STUDY).where(*searching.instance_conditions(OF_STUDY)).query.order_by(*instances.BY_SERIES.order)
STATEMENTS = {
    "epoch": instances.EPOCH.statement,
    "kept": instances.KEPT.statement,
    "copies": instances.COPIES,
    "head": chain.HEAD.statement,
    "code": links.CODE,
    "token": tokens.FIND,
    "refused token": tokens.ANY,
    "count": counting.BY_SERIES,
    "search of instances": INSTANCE_PAGE,
    "search in a study": IN_STUDY,
    "ahead in a lane": lanes.AHEAD.statement,
    "leased in a lane": lanes.LEASED_UNTIL.statement,
    "due lanes": lanes.DUE_LANES.statement,
    "next due": lanes.NEXT_DUE.statement,
    "soon": deliveries.SOON.statement,
    "oldest": deliveries.OLDEST.statement,
    "known delivery": deliveries.KNOWN.statement,
    "held": deliveries.HOLDS.statement,
    "too many attempts": attempts.TRIM.statement,
    "attempts": attempts.ATTEMPTS.query.order_by(attempts.ATTEMPTS.order[0].desc()),
    "counted": deliveries.COUNT.statement,
    "associations of a study": rules.ASSOCIATIONS,
    "unrouted": rules.READY,
    "stored instance of a delivery": deliveries.STORED.statement,
    "blobs of instances": inventory.BLOBS[0],
    "blobs of deleted instances": inventory.BLOBS[1],
    "deletions": deletions.listing(None).query.order_by(*(column.desc() for column in deletions.listing(None).order)),
    "what was not stored again": select(deletions.STORED_AGAIN.label("again"))
    .select_from(schema.deleted_instance)
    .where(schema.deleted_instance.c.tenant == bindparam("tenant"), schema.deleted_instance.c.deletion == bindparam("of")),
    "uid without a visible copy": select(schema.instance.c.id).where(
        schema.instance.c.tenant == bindparam("tenant"),
        schema.instance.c.sop_instance == bindparam("uid"),
        not_(deletions.another_is_shown(schema.instance)),
    ),
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
    values = [1 if name in {"count", "limit"} or name.startswith("param") else "" for name in compiled.positiontup or ()]
    plan = database.execute(f"EXPLAIN QUERY PLAN {compiled}", values).fetchall()
    steps = [step[3] for step in plan]
    assert not [step for step in steps if step.startswith("SCAN")], steps
    of_one = {"copies", "count", "associations of a study", "search in a study"}
    sorts = name not in of_one  # those sort what belongs to one instance or study
    assert not [step for step in steps if "TEMP B-TREE FOR ORDER BY" in step and sorts], steps
