"""Counts and times of studies and series in each facility, made again from the visible instances.

Repeating them changes nothing.
"""

from collections.abc import Collection

from sqlalchemy import Connection, bindparam, func, select, update

from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records.schema import instance, series, study

Place = tuple[str, str]
"""A facility, and the Study Instance UID of what it holds."""

_of_study = (
    instance.c.tenant == bindparam("tenant"),
    instance.c.study == bindparam("study"),
    instance.c.facility == bindparam("facility"),
    instance.c.visible,
)
BY_SERIES = (
    select(
        instance.c.series,
        func.count().label("instances"),
        func.min(instance.c.received).label("received"),
        func.max(instance.c.received).label("updated"),
    )
    .where(*_of_study)
    .group_by(instance.c.series)
)
MODALITIES = select(series.c.uid, series.c.modality).where(
    series.c.tenant == bindparam("tenant"),
    series.c.study == bindparam("study"),
    series.c.facility == bindparam("facility"),
)
_series_of = (
    series.c.tenant == bindparam("of"),
    series.c.study == bindparam("in_study"),
    series.c.facility == bindparam("in_facility"),
)
CLEAR_SERIES = update(series).where(*_series_of).values(instances=0)
SET_SERIES = (
    update(series)
    .where(*_series_of, series.c.uid == bindparam("series_uid"))
    .values(instances=bindparam("n"), received=bindparam("first"))
)
SET_STUDY = (
    update(study)
    .where(
        study.c.tenant == bindparam("of"),
        study.c.uid == bindparam("in_study"),
        study.c.facility == bindparam("in_facility"),
    )
    .values(
        series=bindparam("n_series"),
        instances=bindparam("n"),
        received=bindparam("first"),
        updated=bindparam("last"),
        modalities=bindparam("found"),
    )
)


def recount(connection: Connection, tenant: Tenant, places: Collection[Place]) -> None:
    """Count these studies and their series again, each in its facility."""
    for facility, uid in sorted(places):
        _recount_one(connection, tenant, facility, uid)


def _recount_one(connection: Connection, tenant: Tenant, facility: str, uid: str) -> None:
    key = {"tenant": tenant, "study": uid, "facility": facility}
    of = {"of": tenant, "in_study": uid, "in_facility": facility}
    counted = connection.execute(BY_SERIES, key).all()
    connection.execute(CLEAR_SERIES, of)
    if counted:
        rows = [
            of | {"series_uid": row.series, "n": row.instances, "first": row.received}
            for row in counted
        ]
        connection.execute(SET_SERIES, rows)
    seen = {row.series for row in counted}
    modalities = sorted(
        {
            row.modality
            for row in connection.execute(MODALITIES, key)
            if row.uid in seen and row.modality
        }
    )
    totals = {
        "n_series": len(counted),
        "n": sum(row.instances for row in counted),
        "first": min((row.received for row in counted), default=0.0),
        "last": max((row.updated for row in counted), default=0.0),
        "found": "\\".join(modalities),
    }
    connection.execute(SET_STUDY, of | totals)
