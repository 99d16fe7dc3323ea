"""The REST resource of archives.

Searches find the studies of an archive by their parameter `archive`.
"""

from typing import Annotated, Final

from fastapi import Response
from pydantic import StringConstraints

from swallowtail.cloud.tenancy.archives import ArchiveAdministration
from swallowtail.cloud.web.access import InOrganisation
from swallowtail.cloud.web.api.schemas import Body, Out, PageOut, Timestamp, UidPath, page_out
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.roles import PATIENT_DATA_READERS, QUEUE_MANAGERS
from swallowtail.cloud.web.route import FILTERED, REFUSED, Route
from swallowtail.cloud.web.use_cases import provided

Administration = Annotated[ArchiveAdministration, provided(ArchiveAdministration)]
ArchiveKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
ArchiveName = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]


class ArchiveOut(Out):
    """An archive: a folder of studies."""

    id: str
    name: str
    created: Timestamp


class ArchiveNew(Body):
    """An archive to create; the name is unique in the organisation."""

    name: ArchiveName


class ArchiveUpdate(Body):
    """A new name."""

    name: ArchiveName


async def list_archives(
    caller: InOrganisation, archives: Administration, page: Paging, name: ArchiveName | None = None
) -> PageOut[ArchiveOut]:
    """List archives.

    Returns the archives of the organisation by name. A token that is limited to archives sees
    those.
    """
    found = await archives.archives(caller, page, name=name)
    return page_out(found, ArchiveOut.model_validate)


async def create_archive(
    caller: InOrganisation, archives: Administration, body: ArchiveNew
) -> ArchiveOut:
    """Create an archive.

    An organisation has at most 1,000.
    """
    return ArchiveOut.model_validate(await archives.create(caller, body.name))


async def get_archive(
    caller: InOrganisation, archives: Administration, archive_id: str
) -> ArchiveOut:
    """Get an archive.

    Returns one archive.
    """
    return ArchiveOut.model_validate(await archives.archive(caller, archive_id))


async def rename_archive(
    caller: InOrganisation, archives: Administration, archive_id: str, body: ArchiveUpdate
) -> ArchiveOut:
    """Rename an archive.

    Rules and tokens name it by id, so nothing else changes.
    """
    return ArchiveOut.model_validate(await archives.rename(caller, archive_id, body.name))


async def delete_archive(
    caller: InOrganisation, archives: Administration, archive_id: str
) -> Response:
    """Delete an archive.

    Its studies are kept and are in no archive then. Refused (409) while a rule or a token names
    the archive.
    """
    await archives.delete(caller, archive_id)
    return Response(status_code=204)


async def put_into_archive(
    caller: InOrganisation, archives: Administration, archive_id: str, study_uid: UidPath
) -> Response:
    """Put a study into an archive.

    The study leaves the archive that it was in. Its instances that arrive later are in the archive
    too.
    """
    await archives.add_study(caller, archive_id, study_uid)
    return Response(status_code=204)


async def take_out_of_archive(
    caller: InOrganisation, archives: Administration, archive_id: str, study_uid: UidPath
) -> Response:
    """Take a study out of an archive.

    The study is kept, and is in no archive then.
    """
    await archives.remove_study(caller, archive_id, study_uid)
    return Response(status_code=204)


_ARCHIVE: Final = "/archives/{archive_id}"
_STUDY: Final = f"{_ARCHIVE}/studies/{{study_uid}}"

ROUTES: Final = (
    Route(
        "GET",
        "/archives",
        list_archives,
        PATIENT_DATA_READERS,
        FILTERED,
        "archives",
        use_case=ArchiveAdministration.archives,
    ),
    Route(
        "POST",
        "/archives",
        create_archive,
        QUEUE_MANAGERS,
        REFUSED,
        "archives",
        201,
        use_case=ArchiveAdministration.create,
        audit="archive.create",
    ),
    Route(
        "GET",
        _ARCHIVE,
        get_archive,
        PATIENT_DATA_READERS,
        FILTERED,
        "archives",
        use_case=ArchiveAdministration.archive,
    ),
    Route(
        "PATCH",
        _ARCHIVE,
        rename_archive,
        QUEUE_MANAGERS,
        REFUSED,
        "archives",
        use_case=ArchiveAdministration.rename,
        audit="archive.rename",
    ),
    Route(
        "DELETE",
        _ARCHIVE,
        delete_archive,
        QUEUE_MANAGERS,
        REFUSED,
        "archives",
        204,
        use_case=ArchiveAdministration.delete,
        audit="archive.delete",
    ),
    Route(
        "PUT",
        _STUDY,
        put_into_archive,
        PATIENT_DATA_READERS,
        FILTERED,
        "archives",
        204,
        use_case=ArchiveAdministration.add_study,
        audit="archive.put",
    ),
    Route(
        "DELETE",
        _STUDY,
        take_out_of_archive,
        PATIENT_DATA_READERS,
        FILTERED,
        "archives",
        204,
        use_case=ArchiveAdministration.remove_study,
        audit="archive.take-out",
    ),
)
