"""DICOMweb: QIDO-RS at every level, WADO-RS for whole instances; blobs stream as they came."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from itertools import islice
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from swallowtail.cloud.model.errors import NotFoundError
from swallowtail.cloud.model.imaging import Instance, InstanceSearch, SeriesSearch, Study, StudySearch
from swallowtail.cloud.model.paging import MAX_PAGE, Page, PageRequest
from swallowtail.cloud.query.search import COUNTED
from swallowtail.cloud.web import qido
from swallowtail.cloud.web.access import Caller, InOrganisation
from swallowtail.cloud.web.dicom_json import instance_json, series_json, study_json
from swallowtail.cloud.web.problems import ProblemError
from swallowtail.cloud.web.studies import pieces

Search = TypeVar("Search", StudySearch, SeriesSearch, InstanceSearch)

PREFIX: Final = "/dicomweb"
JSON: Final = "application/dicom+json"
SEARCHABLE: Final = frozenset({JSON, "application/json", "application/*", "*/*", ""})
AT_ONCE: Final = 50
"""Results that are written before the loop may do something else."""
DICOM: Final = "application/dicom"
MULTIPART: Final = "multipart/related"
RETRIEVABLE: Final = frozenset({MULTIPART, DICOM, "multipart/*", "application/*", "*/*"})


async def search_studies(caller: InOrganisation, request: Request) -> Response:
    """Find studies (QIDO-RS, PS3.18 10.6)."""
    keys, window, fuzzy = qido.read_keys(_query(request), qido.STUDY_KEYS)
    _check_json(request)
    search, root = qido.study_search(keys, fuzzy=fuzzy), _root(request)
    found = await caller.services.query.studies(caller.principal, search, _page(window), address=caller.address)
    return await _answer(caller, search, window, found, (study_json(study, root) for study in found.items))


async def search_series(caller: InOrganisation, request: Request, study: str) -> Response:
    """Find series of a study."""
    return await _search_series(caller, request, study)


async def search_all_series(caller: InOrganisation, request: Request) -> Response:
    """Find series of all studies; each comes with what is known of its study."""
    return await _search_series(caller, request, "")


async def search_instances(caller: InOrganisation, request: Request, study: str, series: str) -> Response:
    """Find instances of a series."""
    return await _search_instances(caller, request, study, series)


async def search_study_instances(caller: InOrganisation, request: Request, study: str) -> Response:
    """Find instances of a study; each comes with what is known of its series."""
    return await _search_instances(caller, request, study, "")


async def search_all_instances(caller: InOrganisation, request: Request) -> Response:
    """Find instances of all studies; each comes with what is known of its study and series."""
    return await _search_instances(caller, request, "", "")


async def _search_series(caller: Caller, request: Request, study: str) -> Response:
    keys, window, fuzzy = qido.read_keys(_query(request), qido.STUDY_KEYS, qido.SERIES_KEYS)
    _check_json(request)
    search, root, query = qido.series_search(keys, study, fuzzy=fuzzy), _root(request), caller.services.query
    found = await query.series(caller.principal, search, _page(window), address=caller.address)
    studies: dict[str, Study] = {}
    if not study and found.items:
        studies, _ = await query.parents(caller.principal, frozenset(one.study for one in found.items))
    above = {uid: study_json(one, root) for uid, one in studies.items()}
    made = (above.get(one.study, {}) | series_json(one, root) for one in found.items)
    return await _answer(caller, search, window, found, made)


async def _search_instances(caller: Caller, request: Request, study: str, series: str) -> Response:
    keys, window, fuzzy = qido.read_keys(_query(request), qido.STUDY_KEYS, qido.SERIES_KEYS, qido.INSTANCE_KEYS)
    _check_json(request)
    search, root, query = qido.instance_search(keys, study, series, fuzzy=fuzzy), _root(request), caller.services.query
    found = await query.instances(caller.principal, search, _page(window), address=caller.address)
    above: dict[tuple[str, str], dict[str, Any]] = {}
    if not series and found.items:
        uids = frozenset(one.study for one in found.items), frozenset(one.series for one in found.items)
        studies, several = await query.parents(caller.principal, *uids)
        told = {} if study else {uid: study_json(one, root) for uid, one in studies.items()}
        above = {key: told.get(one.study, {}) | series_json(one, root) for key, one in several.items()}
    made = (above.get((one.study, one.series), {}) | instance_json(one, root) for one in found.items)
    return await _answer(caller, search, window, found, made)


async def retrieve_study(caller: InOrganisation, request: Request, study: str) -> Response:
    """Retrieve every instance of a study (WADO-RS, PS3.18 10.4)."""
    return await _retrieve(caller, request, InstanceSearch(study=study))


async def retrieve_series(caller: InOrganisation, request: Request, study: str, series: str) -> Response:
    """Retrieve every instance of a series."""
    return await _retrieve(caller, request, InstanceSearch(study=study, series=series))


async def retrieve_instance(caller: InOrganisation, request: Request, study: str, series: str, instance: str) -> Response:
    """Retrieve one instance."""
    search = InstanceSearch(study=study, series=series, sop_instances=(instance,))
    return await _retrieve(caller, request, search)


async def _retrieve(caller: Caller, request: Request, search: InstanceSearch) -> Response:
    _check_accept(request.headers.get("accept", "*/*"))
    first = await caller.services.query.instances(caller.principal, search, PageRequest(MAX_PAGE), address=caller.address)
    if not first.items:
        raise NotFoundError("nothing is stored under this UID")
    boundary = secrets.token_hex(16)
    return StreamingResponse(
        _parts(caller, search, first, boundary),
        media_type=f'multipart/related; type="application/dicom"; boundary={boundary}',
    )


async def _parts(caller: Caller, search: InstanceSearch, page: Page[Instance], boundary: str) -> AsyncIterator[bytes]:
    while True:
        for instance in page.items:
            fetched = await caller.services.query.file(caller.principal, instance, address=caller.address)
            syntax = instance.identity.transfer_syntax
            yield f"--{boundary}\r\nContent-Type: application/dicom; transfer-syntax={syntax}\r\n\r\n".encode()
            async for piece in pieces(fetched):
                yield piece
            yield b"\r\n"
        if page.next is None:
            break
        rest = PageRequest(MAX_PAGE, page.next)
        page = await caller.services.query.instances(caller.principal, search, rest, address=caller.address)
    yield f"--{boundary}--\r\n".encode()


def _page(window: qido.Window) -> PageRequest:
    return PageRequest(window.limit, offset=window.offset)


async def _answer(
    caller: Caller, search: Search, window: qido.Window, page: Page[Any], found: Iterator[dict[str, Any]]
) -> Response:
    """PS3.18 10.6.3: 204 when nothing matched, and a warning that says how much follows (8.3.4.4)."""
    if not page.items:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    texts: list[bytes] = []
    while some := list(islice(found, AT_ONCE)):
        texts.extend(msgspec.json.encode(one) for one in some)
        await asyncio.sleep(0)  # a thousand of them take longer than the loop may be held
    headers = {}
    if page.next is not None:
        more = await caller.services.query.remaining(caller.principal, search, window.offset + len(page.items))
        about = f"{more}" if more < COUNTED else f"at least {COUNTED}"
        headers["Warning"] = f'299 swallowtail "There are {about} additional results that can be requested"'
    return Response(b"[" + b",".join(texts) + b"]", media_type=JSON, headers=headers)


def _query(request: Request) -> list[tuple[str, str]]:
    return [(name, value) for name, value in request.query_params.multi_items() if name != "organisation"]


def _root(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}{PREFIX}"


def _check_json(request: Request) -> None:
    """Refuse who takes no JSON; the XML of PS3.18 Annex F.3 is an option that we leave out."""
    if not _media_types(request.headers.get("accept", "*/*")) & SEARCHABLE:
        raise ProblemError(
            HTTPStatus.NOT_ACCEPTABLE, "not-acceptable", "searches are answered in JSON only", remedy=f"Ask for: {JSON}"
        )


def _media_types(accept: str) -> set[str]:
    return {choice.partition(";")[0].strip().lower() for choice in accept.split(",")}


def _check_accept(accept: str) -> None:
    """Judge by media type alone: every instance leaves in the transfer syntax it came in, and says so in its part."""
    if not _media_types(accept) & RETRIEVABLE:
        raise ProblemError(
            HTTPStatus.NOT_ACCEPTABLE,
            "not-acceptable",
            "instances are given as DICOM files only",
            remedy='Ask for: multipart/related; type="application/dicom"; transfer-syntax=*',
        )
