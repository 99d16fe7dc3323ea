"""QIDO-RS (PS3.18 10.6) at every level.

`qido` and `includefield` read what is asked, `dicom_json` writes what was found.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from itertools import islice
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from swallowtail.cloud.model.imaging import Instance, Study
from swallowtail.cloud.model.paging import Page, PageRequest
from swallowtail.cloud.query.search import COUNTED
from swallowtail.cloud.web.api.schemas import UidPath
from swallowtail.cloud.web.dicomweb import includefield, qido
from swallowtail.cloud.web.dicomweb.accept import JSON, check_json
from swallowtail.cloud.web.dicomweb.dicom_json import (
    absolute,
    instance_json,
    root_of,
    series_json,
    study_json,
)
from swallowtail.cloud.web.dicomweb.narrowing import NAMES, Search, narrowed
from swallowtail.cloud.web.dicomweb.retrieval import Retrieval, Retrieving

AT_ONCE: Final = 50
"""Results that are written before the loop may do something else."""


async def search_studies(caller: Retrieving, request: Request) -> Response:
    """Search for studies.

    Returns the studies that match every given key (QIDO-RS, PS3.18 10.6), latest updated first;
    204 when there is none.
    """
    keys, window, fuzzy = qido.read_keys(_query(request), qido.STUDY_KEYS)
    check_json(request)
    await includefield.read(_query(request))
    search, root = narrowed(qido.study_search(keys, fuzzy=fuzzy), request), root_of(request)
    found = await caller.query.studies(caller, search, _page(window))
    return await _answer(
        caller, search, window, found, (study_json(study, root) for study in found.items)
    )


async def search_series(caller: Retrieving, request: Request, study: UidPath) -> Response:
    """Search for series of a study.

    Returns the series of one study that match every given key; 204 when there is none.
    """
    return await _search_series(caller, request, study)


async def search_all_series(caller: Retrieving, request: Request) -> Response:
    """Search for series.

    Returns the series of all studies that match every given key, each with the attributes of its
    study; 204 when there is none.
    """
    return await _search_series(caller, request, "")


async def search_instances(
    caller: Retrieving, request: Request, study: UidPath, series: UidPath
) -> Response:
    """Search for instances of a series.

    Returns the instances of one series that match every given key; 204 when there is none.
    """
    return await _search_instances(caller, request, study, series)


async def search_study_instances(caller: Retrieving, request: Request, study: UidPath) -> Response:
    """Search for instances of a study.

    Returns the instances of one study that match every given key, each with the attributes of its
    series; 204 when there is none.
    """
    return await _search_instances(caller, request, study, "")


async def search_all_instances(caller: Retrieving, request: Request) -> Response:
    """Search for instances.

    Returns the instances of all studies that match every given key, each with the attributes of
    its study and series; 204 when there is none.
    """
    return await _search_instances(caller, request, "", "")


async def _search_series(caller: Retrieval, request: Request, study: str) -> Response:
    keys, window, fuzzy = qido.read_keys(_query(request), qido.STUDY_KEYS, qido.SERIES_KEYS)
    check_json(request)
    await includefield.read(_query(request))
    search, root, query = (
        narrowed(qido.series_search(keys, study, fuzzy=fuzzy), request),
        root_of(request),
        caller.query,
    )
    found = await query.series(caller, search, _page(window))
    studies: dict[tuple[str, str], Study] = {}
    if not study and found.items:
        studies, _ = await query.parents(caller, frozenset(one.study for one in found.items))
    above = {place: study_json(one, root) for place, one in studies.items()}
    made = (
        above.get((one.facility, one.study), {}) | series_json(one, root) for one in found.items
    )
    return await _answer(caller, search, window, found, made)


async def _search_instances(
    caller: Retrieval, request: Request, study: str, series: str
) -> Response:
    keys, window, fuzzy = qido.read_keys(
        _query(request), qido.STUDY_KEYS, qido.SERIES_KEYS, qido.INSTANCE_KEYS
    )
    check_json(request)
    wanted = await includefield.read(_query(request))
    search, root, query = (
        narrowed(qido.instance_search(keys, study, series, fuzzy=fuzzy), request),
        root_of(request),
        caller.query,
    )
    found = await query.instances(caller, search, _page(window))
    above: dict[tuple[str, str, str], dict[str, Any]] = {}
    if not series and found.items:
        uids = (
            frozenset(one.study for one in found.items),
            frozenset(one.series for one in found.items),
        )
        studies, several = await query.parents(caller, *uids)
        of_studies = (
            {} if study else {place: study_json(one, root) for place, one in studies.items()}
        )
        above = {
            key: of_studies.get(key[:2], {}) | series_json(one, root)
            for key, one in several.items()
        }
    places = ((one.origin.facility, one.study, one.series) for one in found.items)
    made = (
        above.get(place, {}) | instance_json(one, root)
        for place, one in zip(places, found.items, strict=True)
    )
    if not (wanted and found.items):
        return await _answer(caller, search, window, found, made)
    texts = _with_documents(caller, found.items, made, wanted, root)
    return StreamingResponse(
        texts, media_type=JSON, headers=await _more(caller, search, window, found)
    )


async def _with_documents(
    caller: Retrieval,
    instances: tuple[Instance, ...],
    found: Iterator[dict[str, Any]],
    wanted: includefield.Wanted,
    root: str,
) -> AsyncIterator[bytes]:
    """Return instances with the requested attributes of their data sets, a few at a time."""
    before = b"["
    for start in range(0, len(instances), AT_ONCE):
        some = instances[start : start + AT_ONCE]
        documents = await caller.query.documents(caller, some)
        for instance, row in zip(some, found, strict=False):
            extra: dict[str, Any] = {}
            if instance.id in documents:
                text = await absolute(documents[instance.id].document, instance, root)
                extra |= await includefield.chosen(text, wanted)
            yield before + msgspec.json.encode(extra | row)
            before = b","
    yield b"]"


def _page(window: qido.Window) -> PageRequest:
    return PageRequest(window.limit, offset=window.offset)


async def _answer(
    caller: Retrieval,
    search: Search,
    window: qido.Window,
    page: Page[Any],
    found: Iterator[dict[str, Any]],
) -> Response:
    """Return the response, 204 when nothing matched (PS3.18 10.6.3)."""
    if not page.items:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    texts: list[bytes] = []
    while some := list(islice(found, AT_ONCE)):
        texts.extend(msgspec.json.encode(one) for one in some)
        await asyncio.sleep(0)  # a thousand of them take longer than the loop may be held
    return Response(
        b"[" + b",".join(texts) + b"]",
        media_type=JSON,
        headers=await _more(caller, search, window, page),
    )


async def _more(
    caller: Retrieval, search: Search, window: qido.Window, page: Page[Any]
) -> dict[str, str]:
    """Return the header with the number of further results (PS3.18 8.3.4.4)."""
    if page.next is None:
        return {}
    more = await caller.query.remaining(caller, search, window.offset + len(page.items))
    about = f"{more}" if more < COUNTED else f"at least {COUNTED}"
    return {
        "Warning": f'299 swallowtail "There are {about} additional results that can be requested"'
    }


def _query(request: Request) -> list[tuple[str, str]]:
    return [
        (name, value) for name, value in request.query_params.multi_items() if name not in NAMES
    ]
