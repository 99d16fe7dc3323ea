"""Deletions that run: what they are about to take is not stored once more meanwhile.

A deletion runs in batches. An instance that arrives again between two of them would be answered
"stored", as a repeat, and then be deleted with the rest. Its sender is asked to send it again later
instead, when it makes a row of its own.
"""

from typing import Final

import msgspec
from sqlalchemy import Connection, bindparam, select

from swallowtail.cloud.model.port_errors import DeletionRunningError
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records import schema
from swallowtail.cloud.records.prepared import Prepared

RUNS: Final = 60.0
"""Seconds after its last batch that a deletion counts as running: one that a crash ended stops."""
_deletion, _instance = schema.deletion, schema.instance
RUNNING = Prepared(
    select(
        *(_deletion.c[name] for name in ("study", "series", "sop_instance", "instance")),
        _deletion.c.facilities,
    ).where(
        _deletion.c.tenant == bindparam("tenant"),
        _deletion.c.runs_until.is_not(None),
        _deletion.c.runs_until > bindparam("now"),
        _deletion.c.runs_until <= bindparam("latest"),
        _deletion.c.last >= bindparam("id"),
    )
)
ROW = Prepared(
    select(
        *(_instance.c[name] for name in ("study", "series", "sop_instance", "id", "facility"))
    ).where(_instance.c.tenant == bindparam("tenant"), _instance.c.id == bindparam("id"))
)


def check_kept(connection: Connection, tenant: Tenant, instance: int, now: float) -> None:
    """Raise DeletionRunningError where a deletion that runs is about to take this instance."""
    key = {"tenant": tenant, "id": instance}
    running = RUNNING.rows(connection, key | {"now": now, "latest": now + RUNS})
    if not running:
        return
    (row,) = ROW.rows(connection, key)
    for *scope, facilities in running:
        if facilities is not None and row[4] not in msgspec.json.decode(facilities):
            continue
        if all(wanted in {"", None, value} for wanted, value in zip(scope, row[:4], strict=True)):
            raise DeletionRunningError
