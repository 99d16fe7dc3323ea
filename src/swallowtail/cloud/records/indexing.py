"""Index jobs and Transaction 2: the statements of the port `IndexJobs`."""

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    bindparam,
    delete,
    insert,
    literal,
    or_,
    select,
    update,
)

from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.decisions import folded, quarantine_alarm, words_of
from swallowtail.cloud.model.imaging import IndexState, InstanceIdentity, Series, Study
from swallowtail.cloud.model.indexing import Indexed, IndexJob, IndexOutcome, Quarantined
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records import schema, scopes
from swallowtail.cloud.records.alarms import raised
from swallowtail.cloud.records.counting import Place, recount
from swallowtail.cloud.records.database import Database, Unit
from swallowtail.cloud.records.instance_alarms import clear_resolved
from swallowtail.cloud.records.instances import UNREAD
from swallowtail.cloud.records.rows import plain, values
from swallowtail.cloud.records.searching import IS_UNINDEXED

_instance, _job, _document = schema.instance, schema.index_job, schema.index_document
OPEN_JOBS = (
    select(_job.c.tenant, _job.c.instance)
    .where(or_(_job.c.until <= bindparam("now"), _job.c.until > bindparam("absurd")))
    .order_by(_job.c.instance)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)  # two claims at once take different jobs
)
"""The queue itself holds numbers only and is not hidden from anybody (ADR 0030)."""
OF_JOBS = select(
    _instance.c.tenant,
    _instance.c.id.label("instance"),
    _instance.c.sop_instance,
    _instance.c.transfer_syntax,
    _instance.c.sha256,
    _instance.c.sop_class,
    _instance.c.length,
).where(
    _instance.c.tenant == bindparam("tenant"),
    _instance.c.id.in_(bindparam("ids", expanding=True)),
)
TAKE = update(_job).where(_job.c.instance == bindparam("taken")).values(until=bindparam("end"))
FREE = update(_job).where(_job.c.until > 0.0).values(until=0.0)
PLACE = select(
    _instance.c.facility,
    _instance.c.study,
    _instance.c.sop_instance,
    _instance.c.state,
    _instance.c.visible,
).where(_instance.c.tenant == bindparam("tenant"), _instance.c.id == bindparam("id"))
SET_INSTANCE = (
    update(_instance)
    .where(_instance.c.id == bindparam("done"))
    .values({name: bindparam(f"new_{name}") for name in UNREAD})
)
DROP_DOCUMENT = delete(_document).where(_document.c.instance == bindparam("done"))
ADD_DOCUMENT = insert(_document)
TO_RULES = insert(schema.routing)
DROP_JOB = delete(_job).where(_job.c.instance == bindparam("done"))


class IndexJobRecords:
    """The port `IndexJobs` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, limit: int, *, now: float, until: float) -> tuple[IndexJob, ...]:
        def claim(unit: Unit) -> tuple[IndexJob, ...]:
            absurd = until + (
                until - now
            )  # a lease beyond was taken under a clock that has jumped since
            key = {"now": now, "absurd": absurd, "limit": limit}
            taken: dict[Tenant, list[int]] = {}
            for row in unit.connection.execute(OPEN_JOBS, key).all():
                taken.setdefault(Tenant(row.tenant), []).append(row.instance)
            jobs: list[IndexJob] = []
            for tenant, ids in taken.items():
                scopes.enter(unit.connection, tenant)
                unit.connection.execute(TAKE, [{"taken": one, "end": until} for one in ids])
                rows = unit.connection.execute(OF_JOBS, {"tenant": tenant, "ids": ids}).mappings()
                jobs += [_job_of(plain(row), until) for row in rows]
            return tuple(sorted(jobs, key=lambda job: job.instance))

        return await self._database.write(claim)

    async def release(self) -> int:
        return await self._database.write(lambda unit: unit.connection.execute(FREE).rowcount)

    async def settle(self, outcomes: Sequence[IndexOutcome], *, now: float) -> None:
        of_tenant: dict[Tenant, list[IndexOutcome]] = {}
        for outcome in outcomes:
            of_tenant.setdefault(outcome.tenant, []).append(outcome)
        for tenant, mine in of_tenant.items():
            settle = partial(_settle, outcomes=mine, now=now)
            await self._database.write(settle, tenant=tenant)

    async def rebuild(
        self, tenant: Tenant, *, study: str | None = None, now: float, event: AuditEvent
    ) -> int:
        def rebuild(unit: Unit) -> int:
            mine = [_instance.c.tenant == tenant]
            if study is not None:
                mine.append(_instance.c.study == study)
            queued = _queue(unit.connection, mine)
            _discard_sources(unit.connection, tenant, study)
            unit.audit(tenant, event, now)
            return queued

        return await self._database.write(rebuild, tenant=tenant)

    async def requeue(
        self,
        tenant: Tenant,
        instances: Collection[int] | None,
        *,
        facilities: frozenset[str] | None = None,
        now: float,
        event: AuditEvent,
    ) -> int:
        def requeue(unit: Unit) -> int:
            mine = [_instance.c.tenant == tenant, IS_UNINDEXED]
            if instances is None:
                mine.append(_instance.c.state == IndexState.QUARANTINED)
            else:
                mine.append(_instance.c.id.in_(sorted(instances)))
            if facilities is not None:
                mine.append(_instance.c.facility.in_(sorted(facilities)))
            queued = _queue(unit.connection, mine)
            waiting = {"state": IndexState.WAITING, "problem": ""}
            unit.connection.execute(update(_instance).where(*mine).values(waiting))
            unit.audit(tenant, event, now)
            return queued

        return await self._database.write(requeue, tenant=tenant)


def _queue(connection: Connection, mine: Sequence[ColumnElement[bool]]) -> int:
    """Create jobs for instances, in two statements however many they are.

    The writer holds every store back meanwhile.
    """
    connection.execute(delete(_job).where(_job.c.instance.in_(select(_instance.c.id).where(*mine))))
    jobs = select(_instance.c.id, _instance.c.tenant, literal(0.0)).where(*mine)
    queued = insert(_job).from_select(["instance", "tenant", "until"], jobs)
    return connection.execute(queued.execution_options(preserve_rowcount=True)).rowcount


def _job_of(row: dict[str, Any], until: float) -> IndexJob:
    identity = msgspec.convert(row, InstanceIdentity)
    return msgspec.convert(row | {"identity": values(identity), "until": until}, IndexJob)


def _discard_sources(connection: Connection, tenant: Tenant, study: str | None) -> None:
    """Copy the attributes of studies and series from the next instance that is settled."""
    for table, column in (
        (schema.study, schema.study.c.uid),
        (schema.series, schema.series.c.study),
    ):
        mine = (
            table.c.tenant == tenant
            if study is None
            else (table.c.tenant == tenant) & (column == study)
        )
        connection.execute(update(table).where(mine).values(source=None))


def _settle(unit: Unit, outcomes: Sequence[IndexOutcome], now: float) -> None:
    touched: dict[Tenant, set[Place]] = {}
    known: list[IndexOutcome] = []
    read: dict[Tenant, set[str]] = {}
    for outcome in outcomes:
        place = unit.connection.execute(
            PLACE, {"tenant": outcome.tenant, "id": outcome.instance}
        ).first()
        if place is None:  # deleted meanwhile: nothing of it may appear
            continue
        known.append(outcome)
        studies = touched.setdefault(outcome.tenant, set())
        studies.add((place.facility, place.study))
        if isinstance(outcome, Indexed):
            studies.add((place.facility, outcome.study.uid))
            _keep_attributes(unit.connection, outcome, place.facility)
            if place.state != IndexState.INDEXED:
                read.setdefault(outcome.tenant, set()).add(place.sop_instance)
            if place.state != IndexState.INDEXED and place.visible:  # a rebuild is no acquisition
                unit.connection.execute(
                    TO_RULES,
                    {
                        "instance": outcome.instance,
                        "tenant": outcome.tenant,
                        "at": now,
                        "fired": "[]",
                    },
                )
        else:
            raised(
                unit.connection,
                outcome.tenant,
                quarantine_alarm(place.sop_instance, outcome.problem),
                now,
            )
    _keep_instances(unit.connection, known)
    for tenant, uids in read.items():
        clear_resolved(unit.connection, tenant, uids, now)
    for tenant, studies in touched.items():
        recount(unit.connection, tenant, {place for place in studies if place[1]})


def _keep_instances(connection: Connection, outcomes: Sequence[IndexOutcome]) -> None:
    if not outcomes:
        return
    done = [{"done": outcome.instance} for outcome in outcomes]
    connection.execute(SET_INSTANCE, [_instance_row(outcome) for outcome in outcomes])
    connection.execute(DROP_DOCUMENT, done)
    if documents := [
        _document_row(outcome) for outcome in outcomes if isinstance(outcome, Indexed)
    ]:
        connection.execute(ADD_DOCUMENT, documents)
    connection.execute(DROP_JOB, done)


def _instance_row(outcome: IndexOutcome) -> dict[str, Any]:
    row = dict(UNREAD)
    if isinstance(outcome, Quarantined):
        row |= {"state": IndexState.QUARANTINED, "problem": outcome.problem}
    else:
        row |= {
            "state": IndexState.INDEXED,
            "study": outcome.study.uid,
            "series": outcome.series.uid,
        }
        row |= {"number": outcome.number, "rows": outcome.rows, "columns": outcome.columns}
        row |= {"frames": outcome.frame_count}
    return {f"new_{name}": value for name, value in row.items()} | {"done": outcome.instance}


def _document_row(outcome: Indexed) -> dict[str, Any]:
    spans = msgspec.msgpack.encode(outcome.frames.spans)
    return {
        "instance": outcome.instance,
        "document": outcome.document,
        "spans": spans,
        "encapsulated": outcome.frames.encapsulated,
        "bulk": msgspec.msgpack.encode(outcome.frames.values) if outcome.frames.values else None,
    }


def _keep_attributes(connection: Connection, outcome: Indexed, facility: str) -> None:
    of, first = {"tenant": outcome.tenant, "facility": facility}, outcome.instance
    study, series = outcome.study, outcome.series
    _keep(connection, schema.study, of | {"uid": study.uid}, _study_row(study), first)
    _keep(
        connection,
        schema.series,
        of | {"study": study.uid, "uid": series.uid},
        _series_row(series),
        first,
    )


def _keep(
    connection: Connection, table: Table, key: dict[str, Any], row: dict[str, Any], source: int
) -> None:
    """Keep the attributes of the facility's first instance, in whatever order they are read."""
    mine = [table.c[name] == value for name, value in key.items()]
    kept = connection.execute(select(table.c.source).where(*mine)).first()
    if kept is None:
        connection.execute(insert(table), row | key | {"source": source})
    elif kept.source is None or source <= kept.source:
        attributes = {
            name: value for name, value in row.items() if name not in _COUNTED and name not in key
        }
        connection.execute(update(table).where(*mine).values(attributes | {"source": source}))


_COUNTED = frozenset({"series", "instances", "received", "updated", "modalities", "archive"})


def _study_row(study: Study) -> dict[str, Any]:
    name = folded(study.patient_name)
    return values(study) | {
        "patient_key": "=".join(group.rstrip("^") for group in name.split("=")),
        "patient_words": _spaced(words_of(name)),
        "description_key": folded(study.description),
        "modalities": "",
        "series": 0,
        "instances": 0,
    }


def _series_row(series: Series) -> dict[str, Any]:
    return values(series) | {"description_key": folded(series.description), "instances": 0}


def _spaced(words: Iterable[str]) -> str:
    return "".join(f" {word}" for word in words)
