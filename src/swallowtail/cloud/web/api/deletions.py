"""Deletion of studies, series and instances, and restoring them."""

from typing import Annotated, Final

from fastapi import Query, Response
from pydantic import Field, StringConstraints

from swallowtail.cloud.model.audit import EventAction, EventId
from swallowtail.cloud.model.deletion import (
    MAX_REASON,
    Deletion,
    DeletionState,
    RetentionLock,
    Scope,
    Selection,
)
from swallowtail.cloud.model.identifiers import new_id
from swallowtail.cloud.web.access import Caller, InOrganisation
from swallowtail.cloud.web.api.schemas import (
    MAX_NUMBER,
    Body,
    Out,
    PageOut,
    RowId,
    UidPath,
    UidText,
    page_out,
)
from swallowtail.cloud.web.api.studies import InstanceOut, instance_out
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.roles import ADMINISTRATORS
from swallowtail.cloud.web.route import BY_FACILITY, REFUSED, Route

MAX_SELECTED = 1000
Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=3, max_length=MAX_REASON),
    Query(
        min_length=3,
        max_length=MAX_REASON,
        description="Why it is deleted; kept with the deletion. No patient data.",
    ),
]


class DeletionOut(Out):
    """A deletion. `study`, `series`, `sop_instance` and `instance` are what the request named.

    `instances` were deleted; of these `restored` and `purged` are no longer among the deleted. The
    counts are of what the caller may see. Until the moment `until` the rest can be restored.
    """

    id: str
    state: DeletionState
    study: str
    series: str
    sop_instance: str
    instance: int | None
    reason: str
    deleted: float
    deleted_by: str
    until: float
    instances: int
    restored: int
    purged: int


class Restore(Body):
    """What to restore: the instances of these series, and those with these ids.

    Left out, all of the deletion.
    """

    series: Annotated[tuple[UidText, ...], Field(max_length=MAX_SELECTED)] = ()
    instances: Annotated[
        tuple[Annotated[int, Field(ge=1, le=MAX_NUMBER)], ...], Field(max_length=MAX_SELECTED)
    ] = ()


class PurgeNow(Body):
    """The confirmation of a purge.

    The UID that was deleted, in its narrowest term, or the id of the instance.
    """

    confirm: Annotated[str, StringConstraints(min_length=1, max_length=64)]


class RetentionLockNew(Body):
    """Why a study is locked. No patient data."""

    reason: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=3, max_length=MAX_REASON)
    ]


class RetentionLockOut(Out):
    """A study of which nothing may be deleted or purged."""

    study: str
    reason: str
    locked_by: str
    since: float


async def delete_study(caller: InOrganisation, study_uid: UidPath, reason: Reason) -> DeletionOut:
    """Delete a study: what the caller may see of it, with all copies.

    It can be restored until its retention ends.

    Deliveries that wait are skipped. Sending an instance again stores it anew. Repeating the
    request returns the same deletion.
    """
    return await _delete(
        caller, Scope(study=study_uid), reason, "study.delete", EventId.STUDY_DELETED
    )


async def delete_series(
    caller: InOrganisation, study_uid: UidPath, series_uid: UidPath, reason: Reason
) -> DeletionOut:
    """Delete a series of a study, as a study is deleted."""
    return await _delete(caller, Scope(study=study_uid, series=series_uid), reason, "series.delete")


async def delete_sop_instance(
    caller: InOrganisation,
    study_uid: UidPath,
    series_uid: UidPath,
    sop_instance_uid: UidPath,
    reason: Reason,
) -> DeletionOut:
    """Delete an instance by its UIDs, with all copies in this series, as a study is deleted."""
    scope = Scope(study=study_uid, series=series_uid, sop_instance=sop_instance_uid)
    return await _delete(caller, scope, reason, "instance.delete")


async def delete_instance(
    caller: InOrganisation, instance_id: RowId, reason: Reason
) -> DeletionOut:
    """Delete one copy of an instance by its id, also one that could not be indexed, as a study is
    deleted.
    """
    return await _delete(caller, Scope(instance=instance_id), reason, "instance.delete")


async def list_deletions(caller: InOrganisation, page: Paging) -> PageOut[DeletionOut]:
    """List deletions, the newest first."""
    found = await caller.services.deleting.deletions(caller.principal, caller.tenant, page)
    return page_out(found, _out)


async def get_deletion(caller: InOrganisation, deletion_id: str) -> DeletionOut:
    """Return one deletion."""
    return _out(
        await caller.services.deleting.deletion(caller.principal, caller.tenant, deletion_id)
    )


async def list_deleted_instances(
    caller: InOrganisation, deletion_id: str, page: Paging
) -> PageOut[InstanceOut]:
    """List the instances of a deletion that can be restored, in the order of arrival."""
    found = await caller.services.deleting.deleted(
        caller.principal, caller.tenant, deletion_id, page
    )
    event = caller.event(
        EventAction.READ,
        "deletion.look",
        ("deletion", deletion_id),
        event=EventId.INSTANCES_ACCESSED,
    )
    await caller.services.audit.append(caller.tenant, [event], now=caller.now)
    return page_out(found, instance_out)


async def restore_deletion(caller: InOrganisation, deletion_id: str, body: Restore) -> DeletionOut:
    """Restore a deletion, or a part of it.

    Deliveries that were skipped stay so: resend them where they are body.

    An instance that has been stored again since is left in the deletion, for the same is there.
    """
    event = caller.event(
        EventAction.CREATE,
        "deletion.restore",
        ("deletion", deletion_id),
        event=EventId.INSTANCES_ACCESSED,
    )
    selection = Selection(series=body.series, instances=body.instances)
    return _out(
        await caller.services.deleting.restore(
            caller.principal, caller.tenant, deletion_id, selection, event=event
        )
    )


async def purge_deletion(caller: InOrganisation, deletion_id: str, body: PurgeNow) -> DeletionOut:
    """Purge a deletion now: what the caller may see of it can no longer be restored.

    There is no way back.

    `confirm` repeats what was deleted. What is being delivered at the moment stays; ask again when
    it has ended.
    """
    purge = caller.services.purge.purge
    found = await purge(
        caller.principal, caller.tenant, deletion_id, body.confirm, address=caller.address
    )
    return _out(found)


async def _delete(
    caller: Caller, scope: Scope, reason: str, act: str, event: EventId = EventId.INSTANCES_ACCESSED
) -> DeletionOut:
    deletion = new_id(caller.services.random)
    objects = [("deletion", deletion)]
    objects += [(kind, uid) for kind, uid in _named(scope) if uid]
    made = caller.event(EventAction.DELETE, act, *objects, event=event, detail=reason)
    found = await caller.services.deleting.delete(
        caller.principal, caller.tenant, deletion, scope, reason=reason, event=made
    )
    return _out(found)


def _named(scope: Scope) -> tuple[tuple[str, str], ...]:
    row = "" if scope.instance is None else str(scope.instance)
    return (
        ("study", scope.study),
        ("series", scope.series),
        ("instance", scope.sop_instance),
        ("row", row),
    )


def _out(deletion: Deletion) -> DeletionOut:
    scope = deletion.scope
    return DeletionOut(
        id=deletion.id,
        state=deletion.state,
        study=scope.study,
        series=scope.series,
        sop_instance=scope.sop_instance,
        instance=scope.instance,
        reason=deletion.reason,
        deleted=deletion.deleted,
        deleted_by=deletion.deleted_by,
        until=deletion.until,
        instances=deletion.instances,
        restored=deletion.restored,
        purged=deletion.purged,
    )


async def list_retention_locks(caller: InOrganisation, page: Paging) -> PageOut[RetentionLockOut]:
    """List the studies of which nothing may be deleted, by UID."""
    found = await caller.services.retentions.locks(caller.tenant, page)
    return page_out(found, RetentionLockOut.model_validate)


async def lock_study(
    caller: InOrganisation, study_uid: UidPath, body: RetentionLockNew
) -> RetentionLockOut:
    """Lock a study: nothing of it is deleted or purged, in any facility, until the lock is removed.

    Locking again keeps the first lock.
    """
    lock = RetentionLock(
        study=study_uid, reason=body.reason, locked_by=caller.principal.id, since=caller.now
    )
    event = caller.event(
        EventAction.CREATE,
        "retention.lock",
        ("study", study_uid),
        event=EventId.APPLICATION_ACTIVITY,
        detail=body.reason,
    )
    kept = await caller.services.retentions.lock(caller.tenant, lock, now=caller.now, event=event)
    return RetentionLockOut.model_validate(kept)


async def unlock_study(caller: InOrganisation, study_uid: UidPath) -> Response:
    """Remove the lock of a study.

    Deletions whose retention has ended meanwhile are purged at once.
    """
    event = caller.event(
        EventAction.DELETE,
        "retention.unlock",
        ("study", study_uid),
        event=EventId.APPLICATION_ACTIVITY,
    )
    await caller.services.retentions.unlock(caller.tenant, study_uid, now=caller.now, event=event)
    return Response(status_code=204)


ROUTES: Final = (
    Route(
        "DELETE",
        "/studies/{study_uid}",
        delete_study,
        ADMINISTRATORS,
        BY_FACILITY,
        "deletions",
    ),
    Route(
        "DELETE",
        "/studies/{study_uid}/series/{series_uid}",
        delete_series,
        ADMINISTRATORS,
        BY_FACILITY,
        "deletions",
    ),
    Route(
        "DELETE",
        "/studies/{study_uid}/series/{series_uid}/instances/{sop_instance_uid}",
        delete_sop_instance,
        ADMINISTRATORS,
        BY_FACILITY,
        "deletions",
    ),
    Route(
        "DELETE",
        "/instances/{instance_id}",
        delete_instance,
        ADMINISTRATORS,
        BY_FACILITY,
        "deletions",
    ),
    Route("GET", "/deletions", list_deletions, ADMINISTRATORS, BY_FACILITY, "deletions"),
    Route(
        "GET",
        "/deletions/{deletion_id}",
        get_deletion,
        ADMINISTRATORS,
        BY_FACILITY,
        "deletions",
    ),
    Route(
        "GET",
        "/deletions/{deletion_id}/instances",
        list_deleted_instances,
        ADMINISTRATORS,
        BY_FACILITY,
        "deletions",
    ),
    Route(
        "POST",
        "/deletions/{deletion_id}/restore",
        restore_deletion,
        ADMINISTRATORS,
        BY_FACILITY,
        "deletions",
    ),
    Route(
        "POST",
        "/deletions/{deletion_id}/purge",
        purge_deletion,
        ADMINISTRATORS,
        BY_FACILITY,
        "deletions",
    ),
    Route(
        "GET",
        "/retention-locks",
        list_retention_locks,
        ADMINISTRATORS,
        REFUSED,
        "deletions",
    ),
    Route(
        "PUT",
        "/studies/{study_uid}/retention-lock",
        lock_study,
        ADMINISTRATORS,
        REFUSED,
        "deletions",
    ),
    Route(
        "DELETE",
        "/studies/{study_uid}/retention-lock",
        unlock_study,
        ADMINISTRATORS,
        REFUSED,
        "deletions",
        204,
    ),
)
