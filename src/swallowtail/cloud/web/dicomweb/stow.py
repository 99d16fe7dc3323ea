"""STOW-RS (PS3.18 10.5).

Instances stream from the request into the ingest path, each committed before the answer names it.
"""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from fastapi import Query
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from swallowtail.calls.store import Committed, NotStored, NotStoredReason
from swallowtail.cloud.ingest.instance_upload import BegunUpload, InstanceUpload
from swallowtail.cloud.ingest.store_instance import InstanceKey
from swallowtail.cloud.ingest.upload import NotAFileError, body_of, read_head
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.web.access import InOrganisation
from swallowtail.cloud.web.api.schemas import UidPath
from swallowtail.cloud.web.dicomweb.accept import DICOM, JSON, MULTIPART, check_json
from swallowtail.cloud.web.dicomweb.dicom_json import root_of
from swallowtail.cloud.web.dicomweb.multipart import (
    MalformedMultipartError,
    Parts,
    parameters_of,
)
from swallowtail.cloud.web.problems import ProblemError
from swallowtail.cloud.web.use_cases import provided
from swallowtail.dicom import uids

CANNOT_UNDERSTAND: Final = 0xC000
NO_MATCH: Final = 0xA900
REASONS: Final = {
    NotStoredReason.MALFORMED: CANNOT_UNDERSTAND,
    NotStoredReason.TOO_LARGE: 0xA700,
    NotStoredReason.STORAGE_UNAVAILABLE: 0xA700,
    NotStoredReason.TRANSFER_DAMAGED: 0x0110,
    NotStoredReason.FENCED: 0x0110,
}
"""PS3.18 Table I.2-2, with the codes of PS3.4 Table B.2-1."""

Storing = Annotated[InstanceUpload, provided(InstanceUpload)]
Facility = Annotated[str | None, Query(max_length=64)]


class PartOutcome(NamedTuple):
    """The outcome of one part; `comment` is the cause of a failure."""

    key: InstanceKey
    study: str
    series: str
    failure: int | None
    comment: str = ""
    unavailable: bool = False


UNKNOWN: Final = InstanceKey("", "", "")


async def store_instances(
    caller: InOrganisation, storing: Storing, request: Request, facility: Facility = None
) -> Response:
    """Store instances.

    Stores DICOM files (STOW-RS, PS3.18 10.5) in a facility, by default the only one that the token
    sees. Returns which were stored and which were not, and why.
    """
    return await _store(caller, storing, request, facility, "")


async def store_study_instances(
    caller: InOrganisation,
    storing: Storing,
    request: Request,
    study: UidPath,
    facility: Facility = None,
) -> Response:
    """Store instances of a study.

    Stores DICOM files of one study; those of another study are refused, each by itself. Returns
    which were stored and which were not, and why.
    """
    return await _store(caller, storing, request, facility, study)


async def _store(
    caller: Caller, storing: InstanceUpload, request: Request, facility: str | None, study: str
) -> Response:
    check_json(request)
    boundary = _boundary(request)
    upload = await storing.begin(caller, facility)
    outcomes: list[PartOutcome] = []
    try:
        parts = Parts(request.stream(), boundary)
        while (media := await parts.head()) is not None:
            outcomes.append(await _store_part(storing, upload, parts.data(), media, study))
    except MalformedMultipartError as error:
        raise _bad_body(f"the body is no multipart/related: {error}", outcomes) from error
    except ClientDisconnect as error:
        raise _bad_body("the body has ended early", outcomes) from error
    if not outcomes:
        raise _bad_body("the body holds no part", outcomes)
    return _answer(outcomes, root_of(request))


async def _store_part(
    storing: InstanceUpload,
    upload: BegunUpload,
    pieces: AsyncIterator[bytes],
    media: str,
    study: str,
) -> PartOutcome:
    if media not in {DICOM, ""}:
        return PartOutcome(UNKNOWN, "", "", CANNOT_UNDERSTAND, f"its Content-Type is not {DICOM}")
    try:
        head = await read_head(pieces)
    except NotAFileError as error:
        return PartOutcome(UNKNOWN, "", "", CANNOT_UNDERSTAND, str(error))
    if study and head.study != study:
        return PartOutcome(
            head.key,
            head.study,
            head.series,
            NO_MATCH,
            "its study is not the one that the path names",
        )
    answer = await storing.store(upload, head.key, body_of(head, pieces))
    match answer:
        case Committed():
            return PartOutcome(head.key, head.study, head.series, None)
        case NotStored():
            down = answer.reason is NotStoredReason.STORAGE_UNAVAILABLE
            return PartOutcome(
                head.key,
                head.study,
                head.series,
                REASONS.get(answer.reason, 0x0110),
                answer.detail,
                unavailable=down,
            )


def _boundary(request: Request) -> str:
    media, parameters = parameters_of(request.headers.get("content-type", ""))
    if (
        media != MULTIPART
        or parameters.get("type", DICOM).lower() != DICOM
        or "boundary" not in parameters
    ):
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "media-type",
            "instances are taken as DICOM files only; metadata with bulk data in parts of their own"
            " are not",
            remedy=f'Send Content-Type: {MULTIPART}; type="{DICOM}"; boundary=…',
        )
    return parameters["boundary"]


def _bad_body(detail: str, outcomes: list[PartOutcome]) -> ProblemError:
    kept = sum(one.failure is None for one in outcomes)
    remedy = (
        f"Send it again; {kept} instances before that were stored, and storing them twice changes"
        " nothing."
    )
    return ProblemError(HTTPStatus.BAD_REQUEST, "body", detail, remedy=remedy)


def _answer(outcomes: list[PartOutcome], root: str) -> Response:
    """Return what was stored and what was not, one by one (PS3.18 10.5.3, I.2.2)."""
    stored, failed = (
        [one for one in outcomes if one.failure is None],
        [one for one in outcomes if one.failure is not None],
    )
    if failed and not stored and all(one.unavailable for one in failed):
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "storage",
            "the storage is unavailable; nothing was stored",
            remedy="Try again later.",
        )
    studies = {one.study for one in stored}
    known_study = len(studies) == 1 and uids.is_valid(*studies)
    body: dict[str, Any] = {
        "00081190": _url(f"{root}/studies/{stored[0].study}" if known_study else "")
    }
    if named := [one for one in failed if _is_named(one)]:
        body["00081198"] = {"vr": "SQ", "Value": [_item(one) | _failure(one) for one in named]}
    if stored:
        body["00081199"] = {"vr": "SQ", "Value": [_item(one) | _place(one, root) for one in stored]}
    if others := [one for one in failed if not _is_named(one)]:
        body["0008119A"] = {"vr": "SQ", "Value": [_failure(one) for one in others]}
    status = HTTPStatus.OK if not failed else HTTPStatus.ACCEPTED if stored else HTTPStatus.CONFLICT
    return Response(msgspec.json.encode(body), status, media_type=JSON)


def _is_named(outcome: PartOutcome) -> bool:
    return uids.is_valid(outcome.key.sop_class) and uids.is_valid(outcome.key.sop_instance)


def _item(outcome: PartOutcome) -> dict[str, Any]:
    pairs = (("00081150", outcome.key.sop_class), ("00081155", outcome.key.sop_instance))
    return {tag: {"vr": "UI", "Value": [uid]} for tag, uid in pairs}


def _failure(outcome: PartOutcome) -> dict[str, Any]:
    """Return Failure Reason, and the cause as Error Comment, for which PS3.18 has no attribute."""
    return {
        "00000902": {"vr": "LO", "Value": [outcome.comment[:64]]},
        "00081197": {"vr": "US", "Value": [outcome.failure]},
    }


def _place(outcome: PartOutcome, root: str) -> dict[str, Any]:
    known = uids.is_valid(outcome.study) and uids.is_valid(
        outcome.series
    )  # else once it is indexed
    series = f"{root}/studies/{outcome.study}/series/{outcome.series}"
    url = f"{series}/instances/{outcome.key.sop_instance}"
    return {"00081190": _url(url if known else "")}


def _url(url: str) -> dict[str, Any]:
    return {"vr": "UR", "Value": [url]} if url else {"vr": "UR"}
