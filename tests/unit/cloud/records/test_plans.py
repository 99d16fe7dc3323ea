"""The statements that run for every store, session and request find their rows by an index, however
many there are.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    ColumnElement,
    NullPool,
    Select,
    bindparam,
    create_engine,
    not_,
    select,
    tuple_,
)
from sqlalchemy.dialects import sqlite

from swallowtail.cloud.model.audit import AuditSearch
from swallowtail.cloud.model.imaging import InstanceSearch
from swallowtail.cloud.model.operations import AlarmSearch
from swallowtail.cloud.records import (
    alarms,
    attempts,
    audit,
    chain,
    counting,
    deletions,
    deliveries,
    instances,
    inventory,
    lanes,
    links,
    payloads,
    rules,
    schema,
    searching,
    tokens,
)
from swallowtail.cloud.records.migrations import upgrade
from swallowtail.cloud.records.rows import Listing

INSTANCE_PAGE = instances.INSTANCES.where(
    *searching.instance_conditions(InstanceSearch())
).query.order_by(instances.INSTANCES.order[0])
OF_STUDY = InstanceSearch(study="1.2")
IN_STUDY = (
    instances.listing_of(OF_STUDY)
    .where(*searching.instance_conditions(OF_STUDY))
    .query.order_by(*instances.BY_SERIES.order)
)
UNINDEXED = InstanceSearch(unindexed=True, hidden=True)
UNINDEXED_PAGE = instances.INSTANCES.where(
    *searching.instance_conditions(UNINDEXED)
).query.order_by(instances.INSTANCES.order[0])
AUDIT = [
    {},
    {"type": "x"},
    {"actor": "x"},
    {"object": "x"},
    {"failed": True},
    {"failed": False},
    {"since": 1.0},
    {"before": 1.0},
    {"type": "x", "actor": "x"},
    {"actor": "x", "since": 1.0, "before": 2.0},
    {"type": "x", "since": 1.0, "failed": True},
    {"object": "x", "actor": "x", "since": 1.0},
]
ALARMS = [AlarmSearch(), AlarmSearch(cleared=None), AlarmSearch(subject="x", cleared=None)]


def page_of(listing: Listing[Any], conditions: list[ColumnElement[bool]]) -> Select[Any]:
    """Return the statement of a second page, newest first."""
    query = listing.query.where(*conditions, tuple_(*listing.order) < (1.0,) * len(listing.order))
    return query.order_by(*(column.desc() for column in listing.order)).limit(10)


def records_by(search: dict[str, Any]) -> Select[Any]:
    return page_of(audit.RECORDS, audit.search_conditions(AuditSearch(**search)))


def alarms_by(search: AlarmSearch) -> Select[Any]:
    return page_of(alarms.ALARMS, alarms.search_conditions(search))


STATEMENTS = {
    "unindexed instances": UNINDEXED_PAGE,
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
    **{f"payload: {kind}": source.find.statement for kind, source in payloads.SOURCES.items()},
    "blobs of instances": inventory.BLOBS[0],
    "blobs of deleted instances": inventory.BLOBS[1],
    "deletions": deletions.listing(None).query.order_by(
        *(column.desc() for column in deletions.listing(None).order)
    ),
    "what was not stored again": select(deletions.STORED_AGAIN.label("again"))
    .select_from(schema.deleted_instance)
    .where(
        schema.deleted_instance.c.tenant == bindparam("tenant"),
        schema.deleted_instance.c.deletion == bindparam("of"),
    ),
    "uid without a visible copy": select(schema.instance.c.id).where(
        schema.instance.c.tenant == bindparam("tenant"),
        schema.instance.c.sop_instance == bindparam("uid"),
        not_(deletions.another_is_shown(schema.instance)),
    ),
    **{f"audit by {' and '.join(search)}": records_by(search) for search in AUDIT},
    **{f"alarms {number}": alarms_by(search) for number, search in enumerate(ALARMS)},
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path: Path = tmp_path_factory.mktemp("plans") / "db"
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.connect() as connection:
        upgrade(connection)
    engine.dispose()
    connection = sqlite3.connect(path)
    yield connection
    connection.close()


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_table_is_scanned(database: sqlite3.Connection, name: str) -> None:
    compiled = STATEMENTS[name].compile(dialect=sqlite.dialect())
    values = [
        1 if name in {"count", "limit"} or name.startswith("param") else ""
        for name in compiled.positiontup or ()
    ]
    plan = database.execute(f"EXPLAIN QUERY PLAN {compiled}", values).fetchall()
    steps = [step[3] for step in plan]
    assert not [step for step in steps if step.startswith("SCAN")], steps
    of_one = {
        "audit by object",
        "audit by object and actor and since",
        "copies",
        "count",
        "associations of a study",
        "search in a study",
    }
    sorts = name not in of_one  # those sort what belongs to one instance or study
    assert not [step for step in steps if "TEMP B-TREE FOR ORDER BY" in step and sorts], steps
