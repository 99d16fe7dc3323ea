"""DICOMweb, minimal: QIDO-RS for studies, series and instances, WADO-RS for whole instances; blobs stream as they came."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from swallowtail.cloud.model.errors import NotFoundError
from swallowtail.cloud.model.imaging import Instance, InstanceSearch
from swallowtail.cloud.model.paging import MAX_PAGE, Page, PageRequest
from swallowtail.cloud.web import qido
from swallowtail.cloud.web.access import Caller, InOrganisation
from swallowtail.cloud.web.problems import ProblemError
from swallowtail.cloud.web.studies import pieces

T = TypeVar("T")

PREFIX: Final = "/dicomweb"
JSON: Final = "application/dicom+json"
DICOM: Final = "application/dicom"
MULTIPART: Final = "multipart/related"
RETRIEVABLE: Final = frozenset({MULTIPART, DICOM, "multipart/*", "application/*", "*/*"})


async def search_studies(caller: InOrganisation, request: Request) -> Response:
    """Find studies (QIDO-RS, PS3.18 10.6)."""
    keys, window, fuzzy = qido.read_keys(_query(request), qido.STUDY_KEYS)
    search = qido.study_search(keys, fuzzy=fuzzy)
    found = await _window(
        lambda page: caller.services.query.studies(caller.principal, search, page, address=caller.address), window
    )
    return _answer([qido.study_json(study, _root(request)) for study in found])


async def search_series(caller: InOrganisation, request: Request, study: str) -> Response:
    """Find series of a study."""
    keys, window, _ = qido.read_keys(_query(request), qido.SERIES_KEYS)
    search = qido.series_search(keys, study)
    found = await _window(lambda page: caller.services.query.series(caller.principal, search, page, address=caller.address), window)
    return _answer([qido.series_json(series, _root(request)) for series in found])


async def search_instances(caller: InOrganisation, request: Request, study: str, series: str) -> Response:
    """Find instances of a series."""
    keys, window, _ = qido.read_keys(_query(request), qido.INSTANCE_KEYS)
    search = qido.instance_search(keys, study, series)
    found = await _window(
        lambda page: caller.services.query.instances(caller.principal, search, page, address=caller.address), window
    )
    return _answer([qido.instance_json(instance, _root(request)) for instance in found])


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


async def _window(fetch: Callable[[PageRequest], Awaitable[Page[T]]], window: qido.Window) -> list[T]:
    """Give the matches of the window; our lists page by key, so what lies before it is walked over."""
    found: list[T] = []
    skip, cursor = window.offset, None
    while len(found) < window.limit:
        page = await fetch(PageRequest(min(MAX_PAGE, skip + window.limit - len(found)), cursor))
        found.extend(page.items[skip:])
        skip = max(0, skip - len(page.items))
        if page.next is None:
            break
        cursor = page.next
    return found[: window.limit]


def _answer(found: list[dict[str, Any]]) -> Response:
    """PS3.18 10.6.3: 204 when nothing matched."""
    return JSONResponse(found, media_type=JSON) if found else Response(status_code=HTTPStatus.NO_CONTENT)


def _query(request: Request) -> list[tuple[str, str]]:
    return [(name, value) for name, value in request.query_params.multi_items() if name != "organisation"]


def _root(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}{PREFIX}"


def _check_accept(accept: str) -> None:
    """Judge by media type alone: every instance leaves in the transfer syntax it came in, and says so in its part."""
    offered = {choice.partition(";")[0].strip().lower() for choice in accept.split(",")}
    if not offered & RETRIEVABLE:
        raise ProblemError(
            HTTPStatus.NOT_ACCEPTABLE,
            "not-acceptable",
            "instances are given as DICOM files only",
            remedy='Ask for: multipart/related; type="application/dicom"; transfer-syntax=*',
        )
