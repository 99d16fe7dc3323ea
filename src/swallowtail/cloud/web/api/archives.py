"""Archives: folders of studies. Which studies are in one is asked of the searches, by `archive`."""

from typing import Annotated, Final

from fastapi import Response
from pydantic import StringConstraints

from swallowtail.cloud.model.archives import Archive, Limits
from swallowtail.cloud.model.audit import AuditEvent, EventAction, EventId
from swallowtail.cloud.model.identifiers import new_id
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.web.access import Caller, InOrganisation
from swallowtail.cloud.web.api.schemas import Body, Out, PageOut, UidPath, page_out
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.roles import PATIENT_DATA_READERS, QUEUE_MANAGERS
from swallowtail.cloud.web.route import FILTERED, REFUSED, Route

ArchiveKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
ArchiveName = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]


class ArchiveOut(Out):
    """An archive: a folder of studies."""

    id: str
    name: str
    created: float


class ArchiveNew(Body):
    """An archive to create; the name is unique in the organisation."""

    name: ArchiveName


class ArchiveUpdate(Body):
    """A new name."""

    name: ArchiveName


async def list_archives(
    caller: InOrganisation, page: Paging, name: ArchiveName | None = None
) -> PageOut[ArchiveOut]:
    """List archives.

    Returns the archives of the organisation by name; a token that is limited to archives sees
    those.
    """
    allowed = caller.principal.archives
    found = await caller.services.archives.archives(caller.tenant, page, name=name, ids=allowed)
    return page_out(found, ArchiveOut.model_validate)


async def create_archive(caller: InOrganisation, body: ArchiveNew) -> ArchiveOut:
    """Create an archive.

    An organisation has at most 1,000.
    """
    archive = Archive(id=new_id(caller.services.random), name=body.name, created=caller.now)
    event = _event(caller, EventAction.CREATE, "archive.create", archive.id)
    await caller.services.archives.add(caller.tenant, archive, now=caller.now, event=event)
    return ArchiveOut.model_validate(archive)


async def get_archive(caller: InOrganisation, archive_id: str) -> ArchiveOut:
    """Get an archive."""
    _check(caller, archive_id)
    return ArchiveOut.model_validate(
        await caller.services.archives.archive(caller.tenant, archive_id)
    )


async def rename_archive(
    caller: InOrganisation, archive_id: str, body: ArchiveUpdate
) -> ArchiveOut:
    """Rename an archive.

    Rules and tokens name it by id, so nothing else changes.
    """
    event = _event(caller, EventAction.UPDATE, "archive.rename", archive_id)
    archives = caller.services.archives
    renamed = await archives.rename(
        caller.tenant, archive_id, body.name, now=caller.now, event=event
    )
    return ArchiveOut.model_validate(renamed)


async def delete_archive(caller: InOrganisation, archive_id: str) -> Response:
    """Delete an archive.

    Its studies stay stored and are in no archive then. Refused (409) while a rule or a token names
    the archive.
    """
    event = _event(caller, EventAction.DELETE, "archive.delete", archive_id)
    await caller.services.archives.remove(caller.tenant, archive_id, now=caller.now, event=event)
    return Response(status_code=204)


async def put_into_archive(caller: InOrganisation, archive_id: str, study_uid: UidPath) -> Response:
    """Put a study into an archive.

    The study leaves the archive that it was in. What comes of it later is in the archive too.
    """
    _check(caller, archive_id)
    await caller.services.archives.put(
        caller.tenant,
        study_uid,
        archive_id,
        limits=_limits(caller),
        now=caller.now,
        event=_event(caller, EventAction.UPDATE, "archive.put", archive_id, ("study", study_uid)),
    )
    return Response(status_code=204)


async def take_out_of_archive(
    caller: InOrganisation, archive_id: str, study_uid: UidPath
) -> Response:
    """Take a study out of an archive.

    It stays stored, and is in no archive then.
    """
    _check(caller, archive_id)
    await caller.services.archives.take_out(
        caller.tenant,
        study_uid,
        archive_id,
        limits=_limits(caller),
        now=caller.now,
        event=_event(
            caller, EventAction.UPDATE, "archive.take-out", archive_id, ("study", study_uid)
        ),
    )
    return Response(status_code=204)


def _check(caller: Caller, archive_id: str) -> None:
    """Hide an archive that the caller may not see, with the message of one that does not exist."""
    if caller.principal.archives is not None and archive_id not in caller.principal.archives:
        raise NotFoundError("there is no such archive")


def _limits(caller: Caller) -> Limits:
    return Limits(facilities=caller.principal.facilities, archives=caller.principal.archives)


def _event(
    caller: Caller, action: EventAction, kind: str, archive_id: str, *more: tuple[str, str]
) -> AuditEvent:
    objects = (("archive", archive_id), *more)
    return caller.event(action, kind, *objects, event=EventId.APPLICATION_ACTIVITY)


ROUTES: Final = (
    Route("GET", "/archives", list_archives, PATIENT_DATA_READERS, FILTERED, "archives"),
    Route("POST", "/archives", create_archive, QUEUE_MANAGERS, REFUSED, "archives", 201),
    Route("GET", "/archives/{archive_id}", get_archive, PATIENT_DATA_READERS, FILTERED, "archives"),
    Route("PATCH", "/archives/{archive_id}", rename_archive, QUEUE_MANAGERS, REFUSED, "archives"),
    Route(
        "DELETE",
        "/archives/{archive_id}",
        delete_archive,
        QUEUE_MANAGERS,
        REFUSED,
        "archives",
        204,
    ),
    Route(
        "PUT",
        "/archives/{archive_id}/studies/{study_uid}",
        put_into_archive,
        PATIENT_DATA_READERS,
        FILTERED,
        "archives",
        204,
    ),
    Route(
        "DELETE",
        "/archives/{archive_id}/studies/{study_uid}",
        take_out_of_archive,
        PATIENT_DATA_READERS,
        FILTERED,
        "archives",
        204,
    ),
)
