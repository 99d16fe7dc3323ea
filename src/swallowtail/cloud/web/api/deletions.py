"""The REST resources of deletions and retention locks."""

from typing import Annotated, Final

from fastapi import Query, Response
from pydantic import Field, StringConstraints

from swallowtail.cloud.model.deletion import (
    MAX_REASON,
    Deletion,
    DeletionState,
    Scope,
    Selection,
)
from swallowtail.cloud.retention.deleting import Deleting
from swallowtail.cloud.retention.locks import RetentionLocking
from swallowtail.cloud.retention.purge import Purge
from swallowtail.cloud.web.access import InOrganisation
from swallowtail.cloud.web.api.schemas import (
    MAX_NUMBER,
    Body,
    Out,
    PageOut,
    RowId,
    Timestamp,
    UidPath,
    UidText,
    page_out,
)
from swallowtail.cloud.web.api.studies import InstanceOut, instance_out
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.roles import ADMINISTRATORS
from swallowtail.cloud.web.route import BY_FACILITY, REFUSED, Route
from swallowtail.cloud.web.use_cases import provided

Administration = Annotated[Deleting, provided(Deleting)]
Purging = Annotated[Purge, provided(Purge)]
Locking = Annotated[RetentionLocking, provided(RetentionLocking)]
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
    deleted: Timestamp
    deleted_by: str
    until: Timestamp
    instances: int
    restored: int
    purged: int


class Restore(Body):
    """A selection to restore: the instances of these series, and those with these ids.

    Left out, all of the deletion.
    """

    series: Annotated[tuple[UidText, ...], Field(max_length=MAX_SELECTED)] = ()
    instances: Annotated[
        tuple[Annotated[int, Field(strict=True, ge=1, le=MAX_NUMBER)], ...],
        Field(max_length=MAX_SELECTED),
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
    since: Timestamp


async def delete_study(
    caller: InOrganisation, deleting: Administration, study_uid: UidPath, reason: Reason
) -> DeletionOut:
    """Delete a study.

    Deletes all copies of it that the caller may see. They can be restored until the retention
    ends. Pending deliveries are skipped, and sending an instance again stores it again. Repeating
    the request returns the same deletion.
    """
    return _out(await deleting.delete_study(caller, Scope(study=study_uid), reason))


async def delete_series(
    caller: InOrganisation,
    deleting: Administration,
    study_uid: UidPath,
    series_uid: UidPath,
    reason: Reason,
) -> DeletionOut:
    """Delete a series.

    Deletes the series as `DELETE /studies/{study_uid}` deletes a study.
    """
    scope = Scope(study=study_uid, series=series_uid)
    return _out(await deleting.delete_series(caller, scope, reason))


async def delete_sop_instance(
    caller: InOrganisation,
    deleting: Administration,
    study_uid: UidPath,
    series_uid: UidPath,
    *,
    sop_instance_uid: UidPath,
    reason: Reason,
) -> DeletionOut:
    """Delete an instance by UID.

    Deletes all copies of it in this series, as `DELETE /studies/{study_uid}` deletes a study.
    """
    scope = Scope(study=study_uid, series=series_uid, sop_instance=sop_instance_uid)
    return _out(await deleting.delete_instance(caller, scope, reason))


async def delete_instance(
    caller: InOrganisation, deleting: Administration, instance_id: RowId, reason: Reason
) -> DeletionOut:
    """Delete an instance.

    Deletes one copy by its id, also one that is not indexed.
    """
    return _out(await deleting.delete_instance(caller, Scope(instance=instance_id), reason))


async def list_deletions(
    caller: InOrganisation, deleting: Administration, page: Paging
) -> PageOut[DeletionOut]:
    """List deletions.

    Returns the deletions of the organisation, newest first.
    """
    return page_out(await deleting.deletions(caller, page), _out)


async def get_deletion(
    caller: InOrganisation, deleting: Administration, deletion_id: str
) -> DeletionOut:
    """Get a deletion.

    Returns one deletion.
    """
    return _out(await deleting.deletion(caller, deletion_id))


async def list_deleted_instances(
    caller: InOrganisation, deleting: Administration, deletion_id: str, page: Paging
) -> PageOut[InstanceOut]:
    """List deleted instances.

    Returns the instances of a deletion that can be restored, in the order of arrival.
    """
    return page_out(await deleting.deleted(caller, deletion_id, page), instance_out)


async def restore_deletion(
    caller: InOrganisation, deleting: Administration, deletion_id: str, body: Restore
) -> DeletionOut:
    """Restore a deletion.

    Restores all or some of its instances. Skipped deliveries stay skipped; resend the instances
    where needed. An instance that has been stored again since stays deleted, because the same
    bytes are stored.
    """
    selection = Selection(series=body.series, instances=body.instances)
    return _out(await deleting.restore(caller, deletion_id, selection))


async def purge_deletion(
    caller: InOrganisation, purge: Purging, deletion_id: str, body: PurgeNow
) -> DeletionOut:
    """Purge a deletion.

    Permanently removes what the caller may see of it. `confirm` repeats what was deleted. Instances
    that are being delivered are kept; repeat the request when the deliveries have ended.
    """
    return _out(await purge.purge(caller, deletion_id, body.confirm))


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


async def list_retention_locks(
    caller: InOrganisation, locking: Locking, page: Paging
) -> PageOut[RetentionLockOut]:
    """List retention locks.

    Returns the studies of which nothing may be deleted, by UID.
    """
    return page_out(await locking.locks(caller, page), RetentionLockOut.model_validate)


async def lock_study(
    caller: InOrganisation, locking: Locking, study_uid: UidPath, body: RetentionLockNew
) -> RetentionLockOut:
    """Lock a study.

    Nothing of it can be deleted or purged in any facility until the lock is removed. Locking a
    locked study keeps the first lock.
    """
    return RetentionLockOut.model_validate(await locking.lock(caller, study_uid, body.reason))


async def unlock_study(caller: InOrganisation, locking: Locking, study_uid: UidPath) -> Response:
    """Unlock a study.

    Deletions whose retention has ended meanwhile are purged at once.
    """
    await locking.unlock(caller, study_uid)
    return Response(status_code=204)


_STUDY: Final = "/studies/{study_uid}"
_SERIES: Final = f"{_STUDY}/series/{{series_uid}}"
_DELETION: Final = "/deletions/{deletion_id}"

ROUTES: Final = (
    Route(
        "DELETE",
        _STUDY,
        delete_study,
        ADMINISTRATORS,
        BY_FACILITY,
        "deletions",
        use_case=Deleting.delete_study,
        audit="study.delete",
    ),
    Route(
        "DELETE",
        _SERIES,
        delete_series,
        ADMINISTRATORS,
        BY_FACILITY,
        "deletions",
        use_case=Deleting.delete_series,
        audit="series.delete",
    ),
    Route(
        "DELETE",
        f"{_SERIES}/instances/{{sop_instance_uid}}",
        delete_sop_instance,
        ADMINISTRATORS,
        BY_FACILITY,
        "deletions",
        use_case=Deleting.delete_instance,
        audit="instance.delete",
    ),
    Route(
        "DELETE",
        "/instances/{instance_id}",
        delete_instance,
        ADMINISTRATORS,
        BY_FACILITY,
        "deletions",
        use_case=Deleting.delete_instance,
        audit="instance.delete",
    ),
    Route(
        "GET",
        "/deletions",
        list_deletions,
        ADMINISTRATORS,
        BY_FACILITY,
        "deletions",
        use_case=Deleting.deletions,
    ),
    Route(
        "GET",
        _DELETION,
        get_deletion,
        ADMINISTRATORS,
        BY_FACILITY,
        "deletions",
        use_case=Deleting.deletion,
    ),
    Route(
        "GET",
        f"{_DELETION}/instances",
        list_deleted_instances,
        ADMINISTRATORS,
        BY_FACILITY,
        "deletions",
        use_case=Deleting.deleted,
        audit="deletion.look",
    ),
    Route(
        "POST",
        f"{_DELETION}/restore",
        restore_deletion,
        ADMINISTRATORS,
        BY_FACILITY,
        "deletions",
        use_case=Deleting.restore,
        audit="deletion.restore",
    ),
    Route(
        "POST",
        f"{_DELETION}/purge",
        purge_deletion,
        ADMINISTRATORS,
        BY_FACILITY,
        "deletions",
        use_case=Purge.purge,
        audit="deletion.purge",
    ),
    Route(
        "GET",
        "/retention-locks",
        list_retention_locks,
        ADMINISTRATORS,
        REFUSED,
        "deletions",
        use_case=RetentionLocking.locks,
    ),
    Route(
        "PUT",
        f"{_STUDY}/retention-lock",
        lock_study,
        ADMINISTRATORS,
        REFUSED,
        "deletions",
        use_case=RetentionLocking.lock,
        audit="retention.lock",
    ),
    Route(
        "DELETE",
        f"{_STUDY}/retention-lock",
        unlock_study,
        ADMINISTRATORS,
        REFUSED,
        "deletions",
        204,
        use_case=RetentionLocking.unlock,
        audit="retention.unlock",
    ),
)
