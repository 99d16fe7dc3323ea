"""Deletion and restoration as the use case does them, for the tests of the ports."""

from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.deletion import NewDeletion, Scope, Selection
from swallowtail.cloud.model.delivery import (
    Target,
)
from swallowtail.cloud.model.imaging import InstanceSearch
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import (
    NORTH,
    NOW,
    arrival,
)

DELETED = AuditEvent(
    event=EventId.STUDY_DELETED, action=EventAction.DELETE, type="study.delete", actor="admin"
)
RESTORED = AuditEvent(
    event=EventId.INSTANCES_ACCESSED,
    action=EventAction.CREATE,
    type="deletion.restore",
    actor="admin",
)
STUDY = Scope(study="1.2.1")
PACS = Target(link="ward", destination="pacs")
ALL = InstanceSearch(hidden=True)
WHOLE = Selection()


def deletion(scope: Scope = STUDY, name: str = "d1", **more: object) -> NewDeletion:
    given = {
        "reason": "wrong patient",
        "deleted": NOW,
        "deleted_by": "admin",
        "until": NOW + 100,
    } | more
    return NewDeletion(id=name, scope=scope, **given)


async def delete(
    records: Records, scope: Scope = STUDY, name: str = "d1", *, limit: int = 100, **more: object
) -> int:
    """Delete as the use case does; returns how many."""
    new = deletion(scope, name, **more)
    batch = await records.deletions.delete(NORTH, new, limit=limit, now=NOW, event=DELETED)
    count = batch.count
    while batch.count:
        batch = await records.deletions.delete(
            NORTH, new, last=batch.last, limit=limit, now=NOW, event=DELETED
        )
        count += batch.count
    return count


async def restore(
    records: Records, name: str = "d1", selection: Selection = WHOLE, **more: object
) -> int:
    given = {"limit": 100, "now": NOW, "event": RESTORED} | more
    return await records.deletions.restore(NORTH, name, selection, **given)


async def commit(records: Records, *values: object, **more: object) -> int:
    return (await records.instances.commit(NORTH, arrival(*values, **more), now=NOW)).id


async def visible(records: Records) -> list[str]:
    return [
        one.identity.sop_instance
        for one in (await records.instances.instances(NORTH, InstanceSearch())).items
    ]
