"""WADO-RS (PS3.18 10.4): instances as DICOM files, their metadata, bulk data and frames.

Everything streams as it is stored.
"""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from itertools import accumulate
from typing import Annotated, Final, NamedTuple

from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from swallowtail.cloud.model.imaging import Instance, InstanceSearch
from swallowtail.cloud.model.paging import Page, PageRequest
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.transcoding import TARGETS, NotTranscoded, Transcoded
from swallowtail.cloud.query.part10 import header
from swallowtail.cloud.query.parts import PIXEL_DATA, Located, Span
from swallowtail.cloud.query.search import Fetched
from swallowtail.cloud.web import ranges
from swallowtail.cloud.web.api.schemas import UidPath
from swallowtail.cloud.web.api.studies import representation_of
from swallowtail.cloud.web.dicomweb.accept import (
    DICOM,
    JSON,
    MULTIPART,
    OCTETS,
    Choice,
    check_json,
    choices,
    not_acceptable,
)
from swallowtail.cloud.web.dicomweb.dicom_json import absolute, root_of
from swallowtail.cloud.web.dicomweb.media import (
    Offer,
    frame_offers,
    transcoded_offers,
    value_offers,
    video_type,
)
from swallowtail.cloud.web.dicomweb.narrowing import narrowed
from swallowtail.cloud.web.dicomweb.rendered import (
    Presenting,
    Small,
    problem_of,
    render_frames,
    render_instance,
    while_connected,
)
from swallowtail.cloud.web.dicomweb.retrieval import Retrieval, Retrieving
from swallowtail.cloud.web.problems import ProblemError

AT_ONCE: Final = 100
"""Instances that are looked up together."""
MAX_FRAMES: Final = 10_000
MP4: Final = "video/mp4"

Read = Callable[[list[Span]], AsyncIterator[bytes]]
"""Streams ranges of what an answer is made of."""
Held = AbstractAsyncContextManager[object]


class InstancePath(NamedTuple):
    """The UIDs of the instance that a path names."""

    study: str
    series: str
    instance: str


def _place(study: UidPath, series: UidPath, instance: UidPath) -> InstancePath:
    return InstancePath(study, series, instance)


Place = Annotated[InstancePath, Depends(_place)]


async def retrieve_study(caller: Retrieving, request: Request, study: UidPath) -> Response:
    """Retrieve a study.

    Returns every instance of the study, each as one part (WADO-RS, PS3.18 10.4).
    """
    return await _files(caller, request, InstanceSearch(study=study))


async def retrieve_series(
    caller: Retrieving, request: Request, study: UidPath, series: UidPath
) -> Response:
    """Retrieve a series.

    Returns every instance of the series, each as one part.
    """
    return await _files(caller, request, InstanceSearch(study=study, series=series))


async def retrieve_instance(caller: Retrieving, request: Request, place: Place) -> Response:
    """Retrieve an instance.

    Returns one instance as a part, or alone as `Accept: application/dicom` asks; alone and as it
    is stored, also in ranges.
    """
    search = InstanceSearch(study=place.study, series=place.series, sop_instances=(place.instance,))
    return await _files(caller, request, search, alone=True)


async def study_metadata(caller: Retrieving, request: Request, study: UidPath) -> Response:
    """Retrieve the metadata of a study.

    Returns the data set of every instance of the study, without bulk data.
    """
    return await _metadata(caller, request, InstanceSearch(study=study))


async def series_metadata(
    caller: Retrieving, request: Request, study: UidPath, series: UidPath
) -> Response:
    """Retrieve the metadata of a series.

    Returns the data set of every instance of the series, without bulk data.
    """
    return await _metadata(caller, request, InstanceSearch(study=study, series=series))


async def instance_metadata(caller: Retrieving, request: Request, place: Place) -> Response:
    """Retrieve the metadata of an instance.

    Returns the data set of one instance, without bulk data.
    """
    return await _metadata(
        caller,
        request,
        InstanceSearch(study=place.study, series=place.series, sop_instances=(place.instance,)),
    )


async def retrieve_frames(
    caller: Retrieving, request: Request, place: Place, frames: str
) -> Response:
    """Retrieve frames.

    Returns frames by their numbers from 1, like `1,2,5-9`, as they are stored or in the encoding
    that Accept names.
    """
    located = await caller.frames.locate(caller, *place)
    if video_type(located.instance.identity.transfer_syntax):
        raise NotFoundError("a video's frames are not to be had alone; ask for its rendered form")
    numbers = _numbers(frames)
    parts = [located.frame(number) for number in numbers]
    return await _frames(caller, request, located, numbers, parts)


async def retrieve_bulk_data(
    caller: Retrieving, request: Request, place: Place, tag: str
) -> Response:
    """Retrieve bulk data.

    Returns the value that a BulkDataURI of the metadata names, with one part for each encapsulated
    frame; a single value alone also in ranges.
    """
    located = await caller.frames.locate(caller, *place)
    parts, encapsulated = located.value(tag)
    syntax, alone = located.instance.identity.transfer_syntax, len(parts) == 1
    wanted = choices(request)
    if "range" in request.headers and alone:  # whoever takes either way means the value itself
        wanted = [replace(one, multipart=False) if one.multipart is None else one for one in wanted]
    offer, multipart = _chosen(
        wanted, frame_offers(syntax) if encapsulated else value_offers(syntax), alone=alone
    )
    if multipart:
        return await _answer(_stored(caller, located), parts, offer, multipart)
    media = f"{offer.media}; transfer-syntax={offer.syntax}"
    return await ranges.answer(request, _part_of(caller, located, parts[0], media, tag))


async def _frames(
    caller: Retrieval,
    request: Request,
    located: Located,
    numbers: list[int],
    stored: list[list[Span]],
) -> Response:
    """Return frames as they are stored where any choice accepts that, else transcoded."""
    syntax, wanted, alone = (
        located.instance.identity.transfer_syntax,
        choices(request),
        len(numbers) == 1,
    )
    offers, others = frame_offers(syntax), transcoded_offers(syntax)
    if (chosen := _choose(wanted, offers, alone=alone)) is not None:
        return await _answer(_stored(caller, located), stored, *chosen)
    if (chosen := _choose(wanted, others, alone=alone, octets=False)) is None:
        raise _none_of([*offers, *others], alone=alone)
    making = caller.pixels.frames(located.tenant, located.instance, chosen[0].syntax, numbers)
    made = await while_connected(request, making)
    if isinstance(made, NotTranscoded):
        raise problem_of(made)
    begins = accumulate(made.frames, initial=0)
    spans = [[(begin, length)] for begin, length in zip(begins, made.frames, strict=False)]
    return await _answer(made.read, spans, *chosen, hold=made)


def _stored(caller: Retrieval, located: Located) -> Read:
    return partial(caller.frames.read, located)


def _part_of(
    caller: Retrieval, located: Located, spans: list[Span], media: str, name: str
) -> ranges.Representation:
    """Return parts of a data set; `name` distinguishes them from its other parts."""
    stored = _stored(caller, located)

    def read(start: int, length: int) -> AsyncIterator[bytes]:
        return stored([*ranges.cut(spans, ranges.ByteRange(start, length))])

    validator = f"{located.instance.identity.sha256.hex()}.{name}"
    return ranges.Representation(media, sum(length for _, length in spans), validator, read)


async def retrieve_rendered(
    caller: Retrieving,
    request: Request,
    place: Place,
    look: Presenting,
) -> Response:
    """Render an instance.

    Returns the middle frame as JPEG or PNG. A video is returned as it is stored, also in ranges.
    """
    located = await caller.frames.locate(caller, *place)
    media = video_type(located.instance.identity.transfer_syntax)
    if media is None:
        return await render_instance(caller, request, located, None, look)
    spans = located.frame(1)
    if not any(one.allows(media) and one.multipart is not True for one in choices(request)):
        raise not_acceptable([media])
    head = b"".join(
        [
            piece
            async for piece in caller.frames.read(located, [(spans[0][0], min(12, spans[0][1]))])
        ]
    )
    if media == MP4 and head[4:8] != b"ftyp":
        raise not_acceptable(
            [f'bulkdata/{PIXEL_DATA}: {MULTIPART}; type="{media}"']
        )  # a bare stream, which no browser plays
    return await ranges.answer(request, _part_of(caller, located, spans, media, "video"))


async def retrieve_rendered_frames(
    caller: Retrieving,
    request: Request,
    place: Place,
    frames: str,
    look: Presenting,
) -> Response:
    """Render frames.

    Returns frames as JPEG or PNG, several of them as parts.
    """
    located = await caller.frames.locate(caller, *place)
    return await render_frames(caller, request, located, _numbers(frames), look)


async def instance_thumbnail(
    caller: Retrieving, request: Request, place: Place, look: Small
) -> Response:
    """Get the thumbnail of an instance.

    Returns its middle frame as a small JPEG or PNG.
    """
    located = await caller.frames.locate(caller, *place)
    return await render_instance(caller, request, located, None, look)


async def frame_thumbnail(
    caller: Retrieving, request: Request, place: Place, frames: str, look: Small
) -> Response:
    """Get the thumbnail of a frame.

    Returns the frame as a small JPEG or PNG.
    """
    located = await caller.frames.locate(caller, *place)
    return await render_instance(caller, request, located, _numbers(frames)[0], look)


async def _files(
    caller: Retrieval, request: Request, search: InstanceSearch, *, alone: bool = False
) -> Response:
    wanted = [
        one
        for one in choices(request)
        if one.allows(DICOM) and (one.multipart is not False or alone)
    ]
    if not wanted:
        raise not_acceptable(
            [f'{MULTIPART}; type="{DICOM}"; transfer-syntax=*', *([DICOM] if alone else [])]
        )
    query, search = caller.query, narrowed(search, request)
    first = await query.instances(caller, search, PageRequest(AT_ONCE))
    if not first.items:
        raise NotFoundError("nothing is stored under this UID")
    choice = _choice_of(wanted, first)
    if choice.multipart is False:
        made = await _made(caller, request, first.items[0], choice.syntax)
        media = f"{DICOM}; transfer-syntax={made.transfer_syntax}"
        if isinstance(made.body, Fetched):
            return await ranges.answer(request, representation_of(made.body, media))
        return StreamingResponse(
            made.pieces(), media_type=media, headers={"Content-Length": str(made.length)}
        )
    boundary = secrets.token_hex(16)
    made = await _made(
        caller, request, first.items[0], choice.syntax, or_stored=not alone
    )  # it may be a refusal
    media = f'{MULTIPART}; type="{DICOM}"; boundary={boundary}'
    return StreamingResponse(
        _parts(caller, request, _Wanted(search, first, choice.syntax), boundary, made),
        media_type=media,
    )


def _choice_of(wanted: list[Choice], page: Page[Instance]) -> Choice:
    """Return the first choice that accepts all as they are stored, else one for transcoding."""
    for choice in wanted:
        if all(choice.syntax in {"", "*", one.identity.transfer_syntax} for one in page.items):
            return choice
    for choice in wanted:
        if choice.syntax in TARGETS:
            return choice
    syntaxes = sorted({one.identity.transfer_syntax for one in page.items} | TARGETS)
    raise not_acceptable(
        f'{MULTIPART}; type="{DICOM}"; transfer-syntax={syntax}' for syntax in ("*", *syntaxes)
    )


class _OutgoingFile(NamedTuple):
    """A DICOM file on its way out."""

    transfer_syntax: str
    length: int
    head: bytes
    body: Fetched | Transcoded

    async def pieces(self) -> AsyncIterator[bytes]:
        """Stream it; its end frees what it holds."""
        if isinstance(self.body, Fetched):
            async for piece in self.body.pieces():
                yield piece
            return
        async with self.body:
            yield self.head
            async for piece in self.body.pieces():
                yield piece


async def _made(
    caller: Retrieval, request: Request, instance: Instance, syntax: str, *, or_stored: bool = False
) -> _OutgoingFile:
    """Return a file as it is stored, or transcoded where another syntax is requested.

    Raises ProblemError.

    `or_stored`: one of several that cannot be transcoded is sent as it is stored, which its part
    states. A report among images has no pixels to encode, and to end the answer of a whole study
    there, or to leave it out in silence, would be worse.
    """
    identity = instance.identity
    if syntax in {"", "*", identity.transfer_syntax}:
        return await _as_stored(caller, instance)
    tenant = await caller.query.accessed(caller, instance)
    made = await while_connected(request, caller.pixels.transcode(tenant, instance, syntax))
    if isinstance(made, NotTranscoded):
        if or_stored and not made.transient:
            return await _as_stored(caller, instance)
        raise problem_of(made)
    head = header(instance.sop_class, identity.sop_instance, syntax)
    return _OutgoingFile(syntax, len(head) + made.length, head, made)


async def _as_stored(caller: Retrieval, instance: Instance) -> _OutgoingFile:
    fetched = await caller.query.file(caller, instance)
    return _OutgoingFile(instance.identity.transfer_syntax, fetched.length, fetched.head, fetched)


class _Wanted(NamedTuple):
    """A requested set of instances, and the transfer syntax."""

    search: InstanceSearch
    page: Page[Instance]
    syntax: str


async def _parts(
    caller: Retrieval, request: Request, wanted: _Wanted, boundary: str, first: _OutgoingFile
) -> AsyncIterator[bytes]:
    made: _OutgoingFile | None = first
    async for instance in _walk(caller, wanted.search, wanted.page):
        file = made or await _made(caller, request, instance, wanted.syntax, or_stored=True)
        made = None
        yield (
            f"--{boundary}\r\nContent-Type: {DICOM};"
            f" transfer-syntax={file.transfer_syntax}\r\n\r\n".encode()
        )
        async for piece in file.pieces():
            yield piece
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


async def _walk(
    caller: Retrieval, search: InstanceSearch, page: Page[Instance]
) -> AsyncIterator[Instance]:
    while True:
        for instance in page.items:
            yield instance
        if page.next is None:
            return
        rest = PageRequest(AT_ONCE, page.next)
        page = await caller.query.instances(caller, search, rest)


async def _metadata(caller: Retrieval, request: Request, search: InstanceSearch) -> Response:
    check_json(request)
    search = narrowed(search, request)
    first = await caller.query.instances(caller, search, PageRequest(AT_ONCE))
    if not first.items:
        raise NotFoundError("nothing is stored under this UID")
    return StreamingResponse(_documents(caller, search, first, root_of(request)), media_type=JSON)


async def _documents(
    caller: Retrieval, search: InstanceSearch, page: Page[Instance], root: str
) -> AsyncIterator[bytes]:
    query, before = caller.query, b"["
    while True:
        await query.record_reading(caller, page.items)
        documents = await query.documents(caller, page.items)
        for instance in page.items:
            if instance.id not in documents:
                continue  # it is being indexed again
            yield before + await absolute(documents[instance.id].document, instance, root)
            before = b","
        if page.next is None:
            break
        page = await query.instances(caller, search, PageRequest(AT_ONCE, page.next))
    yield b"[]" if before == b"[" else b"]"


def _chosen(wanted: list[Choice], offers: list[Offer], *, alone: bool) -> tuple[Offer, bool]:
    """Return the first offer that a choice allows, and whether it is sent as multipart.

    Raises ProblemError.
    """
    chosen = _choose(wanted, offers, alone=alone)
    if chosen is None:
        raise _none_of(offers, alone=alone)
    return chosen


def _choose(
    wanted: list[Choice], offers: list[Offer], *, alone: bool, octets: bool = True
) -> tuple[Offer, bool] | None:
    """Return it, if there is one; `octets`.

    Whoever asks for octets in a named syntax, or in any, takes encoded ones.
    """
    for choice in wanted:
        if choice.multipart is False and not alone:
            continue
        for offer in offers:
            if choice.allows(offer.media) and choice.syntax in {"", "*", offer.syntax}:
                return offer, choice.multipart is not False
            if (
                octets and choice.media == OCTETS and choice.syntax in {"*", offer.syntax}
            ):  # as viewers ask for what is stored
                return offer, choice.multipart is not False
    return None


def _none_of(offers: list[Offer], *, alone: bool) -> ProblemError:
    return not_acceptable(
        text
        for offer in offers
        for text in (
            f'{MULTIPART}; type="{offer.media}"; transfer-syntax={offer.syntax}',
            *([offer.media] if alone else []),
        )
    )


async def _answer(
    read: Read, parts: list[list[Span]], offer: Offer, multipart: bool, hold: Held | None = None
) -> Response:
    media = f"{offer.media}; transfer-syntax={offer.syntax}"
    if not multipart:
        return await ranges.body(
            _read(read, [(b"", parts[0], b"")], hold), sum(length for _, length in parts[0]), media
        )
    boundary = secrets.token_hex(16)
    head = f"--{boundary}\r\nContent-Type: {media}\r\n\r\n".encode()
    framed = [(head, part, b"\r\n") for part in parts]
    end = f"--{boundary}--\r\n".encode()
    length = sum(len(head) + 2 + sum(size for _, size in part) for part in parts) + len(end)
    content = _read(read, [*framed, (end, [], b"")], hold)
    return await ranges.body(
        content, length, f'{MULTIPART}; type="{offer.media}"; boundary={boundary}'
    )


async def _read(
    read: Read, parts: list[tuple[bytes, list[Span], bytes]], hold: Held | None = None
) -> AsyncIterator[bytes]:
    """Stream parts; the end of it frees what is held."""
    async with hold or nullcontext():
        for before, spans, after in parts:
            yield before
            async for piece in read(spans):
                yield piece
            yield after


def _numbers(text: str) -> list[int]:
    """Return a list of frame numbers, of which ranges are accepted too (PS3.18 10.4.1.1.4)."""
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not all(
            one.isascii() and one.isdigit() and len(one) <= 6
            for one in (first, last if dash else first)
        ):
            raise _bad_frames("is a list of numbers from 1, like 1,2,5-9")
        ends = int(first), int(last if dash else first)
        if ends[1] - ends[0] >= MAX_FRAMES:
            raise _bad_frames(f"names more than {MAX_FRAMES} frames")
        numbers.extend(range(ends[0], ends[1] + 1))
        if len(numbers) > MAX_FRAMES:
            raise _bad_frames(f"names more than {MAX_FRAMES} frames")
    if not numbers:
        raise _bad_frames("names no frame")
    return numbers


def _bad_frames(message: str) -> ProblemError:
    return ProblemError(
        HTTPStatus.BAD_REQUEST,
        "frames",
        f"the frame list {message}",
        remedy="Correct the end of the path.",
    )
