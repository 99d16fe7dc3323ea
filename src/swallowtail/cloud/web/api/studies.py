"""Studies, series and instances over REST.

Listed, found, and fetched as a file or as the bytes that the modality sent.
"""

import datetime as dt
from typing import Annotated, Any, Final

from fastapi import Query as QueryParameter
from pydantic import WithJsonSchema
from starlette.requests import Request
from starlette.responses import Response

from swallowtail.calls.store import Stored
from swallowtail.cloud.model.imaging import (
    IndexState,
    Instance,
    InstanceSearch,
    SeriesSearch,
    StudySearch,
)
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.query.search import Fetched, Query
from swallowtail.cloud.web.access import InOrganisation
from swallowtail.cloud.web.api.schemas import (
    Moment,
    Out,
    PageOut,
    RowId,
    Timestamp,
    UidPath,
    UidText,
    page_out,
)
from swallowtail.cloud.web.dicomweb.accept import DICOM, OCTETS
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.ranges import Representation, answer
from swallowtail.cloud.web.roles import ADMINISTRATORS, PATIENT_DATA_READERS
from swallowtail.cloud.web.route import BY_FACILITY, FILTERED, Route
from swallowtail.cloud.web.use_cases import provided

Reading = Annotated[Query, provided(Query)]
UidKey = Annotated[UidText | None, QueryParameter()]
LocalTime = Annotated[
    dt.time,
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?$"}),
]
"""Of the place where it was acquired: without the offset that JSON Schema's `time` demands."""
TextKey = Annotated[str, QueryParameter(max_length=64)]


class StudyOut(Out):
    """The part of a study that a facility holds; it appears once its first instance is indexed.

    The same UID in two facilities is two entries, each with its own attributes and counts.
    """

    uid: str
    facility: str
    patient_name: str
    patient_id: str
    issuer: str
    birth_date: dt.date | None
    sex: str
    accession: str
    study_id: str
    study_date: dt.date | None
    study_time: LocalTime | None
    description: str
    referring_physician: str
    modalities: list[str]
    series: int
    instances: int
    received: Timestamp
    updated: Timestamp
    archive: str
    """The id of the archive that it is in; empty: in none."""


class SeriesOut(Out):
    """A series of a study."""

    study: str
    uid: str
    facility: str
    modality: str
    number: int | None
    description: str
    body_part: str
    performed_date: dt.date | None
    performed_time: LocalTime | None
    instances: int
    received: Timestamp


class InstanceOut(Out):
    """A stored instance; `sha256` and `length` are of the data set as the modality sent it."""

    id: int
    sop_instance: str
    sop_class: str
    transfer_syntax: str
    sha256: str
    length: int
    received: Timestamp
    visible: bool
    stored: Stored
    state: IndexState
    problem: str
    study: str
    series: str
    number: int | None
    rows: int | None
    columns: int | None
    frames: int | None
    facility: str
    link: str | None
    listener: str
    device: str
    calling_ae: str
    called_ae: str


async def list_studies(
    caller: InOrganisation,
    query: Reading,
    page: Paging,
    *,
    patient_name: TextKey = "",
    patient_id: TextKey = "",
    accession: TextKey = "",
    description: TextKey = "",
    modality: TextKey = "",
    archive: TextKey = "",
    facility: TextKey = "",
    date_from: dt.date | None = None,
    date_to: dt.date | None = None,
) -> PageOut[StudyOut]:
    """List studies.

    Returns the studies that match every given parameter, latest updated first. `*` and `?` are
    wildcards in text.
    """
    search = StudySearch(
        archives=frozenset({archive}) if archive else None,
        facilities=frozenset({facility}) if facility else None,
        patient_name=patient_name,
        patient_id=patient_id,
        accession=accession,
        description=description,
        modalities=(modality,) if modality else (),
        date_from=date_from,
        date_to=date_to,
    )
    found = await query.studies(caller, search, page)
    return page_out(found, StudyOut.model_validate)


async def get_study(caller: InOrganisation, query: Reading, study_uid: UidPath) -> StudyOut:
    """Get a study.

    Returns one study.
    """
    found = await query.studies(caller, StudySearch(uids=(study_uid,)))
    if not found.items:
        raise NotFoundError("there is no such study")
    return StudyOut.model_validate(found.items[0])


async def list_series(
    caller: InOrganisation, query: Reading, study_uid: UidPath, page: Paging
) -> PageOut[SeriesOut]:
    """List the series of a study.

    Returns the series, by UID.
    """
    search = SeriesSearch(study=study_uid)
    found = await query.series(caller, search, page)
    return page_out(found, SeriesOut.model_validate)


async def list_instances(
    caller: InOrganisation,
    query: Reading,
    page: Paging,
    *,
    study: UidKey = None,
    series: UidKey = None,
    sop_instance: UidKey = None,
    archive: TextKey = "",
    facility: TextKey = "",
    state: IndexState | None = None,
    received_since: Moment | None = None,
    hidden: bool = False,
) -> PageOut[InstanceOut]:
    """List instances.

    Returns the instances that match every given parameter, in the order of arrival. `hidden`
    includes kept copies that are not visible.
    """
    search = InstanceSearch(
        archives=frozenset({archive}) if archive else None,
        facilities=frozenset({facility}) if facility else None,
        study=study or "",
        series=series or "",
        sop_instances=(sop_instance,) if sop_instance else (),
        state=state,
        received_since=received_since,
        hidden=hidden,
    )
    found = await query.instances(caller, search, page)
    return page_out(found, instance_out)


async def get_instance(caller: InOrganisation, query: Reading, instance_id: RowId) -> InstanceOut:
    """Get an instance.

    Returns one instance, visible or not.
    """
    return instance_out(await query.read(caller, instance_id))


async def get_file(
    caller: InOrganisation, query: Reading, request: Request, instance_id: RowId
) -> Response:
    """Download an instance.

    Returns it as a DICOM file (PS3.10), or one range of its bytes. The ETag changes exactly when
    the bytes do.
    """
    fetched = await query.file_of(caller, instance_id)
    return await answer(request, representation_of(fetched, DICOM))


async def get_data_set(
    caller: InOrganisation, query: Reading, request: Request, instance_id: RowId
) -> Response:
    """Download the data set of an instance.

    Returns the bytes as the modality sent them, without preamble and group 0002, or one range of
    them. The ETag is their SHA-256.
    """
    fetched = await query.data_set_of(caller, instance_id)
    return await answer(request, representation_of(fetched, OCTETS))


async def choose_instance(
    caller: InOrganisation, query: Reading, instance_id: RowId
) -> InstanceOut:
    """Choose the visible copy.

    Makes this copy the visible one of its SOP Instance UID, to resolve a conflict.
    """
    return instance_out(await query.choose(caller, instance_id))


def representation_of(fetched: Fetched, media: str) -> Representation:
    """Return a stored instance as it is downloaded."""
    name = f'attachment; filename="{fetched.instance.identity.sop_instance}.dcm"'
    headers = {"Content-Disposition": name}
    return Representation(media, fetched.length, fetched.validator, fetched.pieces, headers)


def instance_out(instance: Instance) -> InstanceOut:
    """Return an instance as a client gets it."""
    values: dict[str, Any] = {name: getattr(instance, name) for name in _OWN}
    values |= {name: getattr(instance.origin, name) for name in _ORIGIN}
    identity = instance.identity
    return InstanceOut(
        **values,
        sop_instance=identity.sop_instance,
        transfer_syntax=identity.transfer_syntax,
        sha256=identity.sha256.hex(),
    )


_ORIGIN: Final = ("facility", "link", "listener", "device", "calling_ae", "called_ae")
_OWN: Final = tuple(name for name in InstanceOut.model_fields if name in Instance.__struct_fields__)


ROUTES: Final = (
    Route(
        "GET",
        "/studies",
        list_studies,
        PATIENT_DATA_READERS,
        FILTERED,
        "imaging",
        use_case=Query.studies,
        audit="study.search",
    ),
    Route(
        "GET",
        "/studies/{study_uid}",
        get_study,
        PATIENT_DATA_READERS,
        FILTERED,
        "imaging",
        use_case=Query.studies,
        audit="study.search",
    ),
    Route(
        "GET",
        "/studies/{study_uid}/series",
        list_series,
        PATIENT_DATA_READERS,
        FILTERED,
        "imaging",
        use_case=Query.series,
        audit="series.search",
    ),
    Route(
        "GET",
        "/instances",
        list_instances,
        PATIENT_DATA_READERS,
        FILTERED,
        "imaging",
        use_case=Query.instances,
        audit="instance.search",
    ),
    Route(
        "GET",
        "/instances/{instance_id}",
        get_instance,
        PATIENT_DATA_READERS,
        FILTERED,
        "imaging",
        use_case=Query.read,
        audit="instance.look",
    ),
    Route(
        "GET",
        "/instances/{instance_id}/file",
        get_file,
        PATIENT_DATA_READERS,
        FILTERED,
        "imaging",
        use_case=Query.file_of,
        audit="instance.fetch",
        media=DICOM,
        ranged=True,
    ),
    Route(
        "GET",
        "/instances/{instance_id}/dataset",
        get_data_set,
        PATIENT_DATA_READERS,
        FILTERED,
        "imaging",
        use_case=Query.data_set_of,
        audit="instance.fetch",
        media="application/octet-stream",
        ranged=True,
    ),
    Route(
        "POST",
        "/instances/{instance_id}/choose",
        choose_instance,
        ADMINISTRATORS,
        BY_FACILITY,
        "imaging",
        use_case=Query.choose,
        audit="instance.choose",
    ),
)
