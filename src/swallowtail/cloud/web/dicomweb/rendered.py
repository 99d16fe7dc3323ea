"""WADO-RS rendered resources and thumbnails (PS3.18 10.4.1.1.2, 10.4.1.1.3).

A frame as JPEG or PNG, a video as it is stored.
"""

import asyncio
import math
import secrets
from collections.abc import Coroutine
from http import HTTPStatus
from typing import Annotated, Any, Final, NamedTuple, TypeVar

from fastapi import Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from swallowtail.cloud.model.imaging import InstanceSearch
from swallowtail.cloud.model.paging import PageRequest
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.transcoding import VIDEOS, Cause, NotTranscoded
from swallowtail.cloud.pixels.jobs import Render, Shape, Viewport, VoiWindow
from swallowtail.cloud.query.parts import Located
from swallowtail.cloud.web.api.schemas import UidPath
from swallowtail.cloud.web.dicomweb.accept import MULTIPART, choices, not_acceptable
from swallowtail.cloud.web.dicomweb.retrieval import Retrieval, Retrieving
from swallowtail.cloud.web.problems import ProblemError, invalid
from swallowtail.runtime.tasks import Tasks

JPEG: Final = "image/jpeg"
PNG: Final = "image/png"
MAX_RENDERED: Final = 50
"""Frames of one answer."""
THUMBNAIL: Final = 128
MAX_VIEWPORT: Final = 8192
MOST_EXAMINED: Final = 20
"""Instances among which a thumbnail's is looked for."""
_STATUS: Final = {
    Cause.UNSUPPORTED: (
        HTTPStatus.NOT_ACCEPTABLE,
        "not-acceptable",
        "Retrieve it as it is stored: transfer-syntax=*",
    ),
    Cause.MALFORMED: (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "pixels",
        "Retrieve it as it is stored, and have a sound one sent.",
    ),
    Cause.TOO_LARGE: (
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "too-large",
        "Retrieve it as it is stored: transfer-syntax=*",
    ),
    Cause.MISSING: (HTTPStatus.NOT_FOUND, "not-found", "Look into its metadata for what it has."),
    Cause.TRANSIENT: (HTTPStatus.SERVICE_UNAVAILABLE, "pixels-wait", "Try again later."),
}
T = TypeVar("T")
WindowKey = Annotated[
    str | None, Query(max_length=100, description="center,width,function (PS3.18 8.3.5.1.4)")
]
ViewportKey = Annotated[
    str | None, Query(max_length=100, description="vw,vh,sx,sy,sw,sh (PS3.18 8.3.5.1.3)")
]
QualityKey = Annotated[int, Query(ge=1, le=100)]


class Look(NamedTuple):
    """The presentation of a rendered frame."""

    quality: int = 90
    window: VoiWindow | None = None
    viewport: Viewport | None = None


def _look(quality: QualityKey = 90, window: WindowKey = None, viewport: ViewportKey = None) -> Look:
    return Look(
        quality,
        read_window(window) if window else None,
        read_viewport(viewport) if viewport else None,
    )


def _small(viewport: ViewportKey = None) -> Look:
    return Look(80, None, read_viewport(viewport) if viewport else Viewport(THUMBNAIL, THUMBNAIL))


Presenting = Annotated[Look, Depends(_look)]
Small = Annotated[Look, Depends(_small)]


async def render_instance(
    caller: Retrieval, request: Request, located: Located, frame: int | None, look: Look
) -> Response:
    """Return one rendered frame, the middle one where none is named."""
    media = _media(request)
    content = await _picture(caller, request, located, _job(located, frame, media, look))
    return Response(content, media_type=media)


async def render_frames(
    caller: Retrieval, request: Request, located: Located, frames: list[int], look: Look
) -> Response:
    """Return rendered frames, several as parts."""
    if len(frames) == 1:
        return await render_instance(caller, request, located, frames[0], look)
    if len(frames) > MAX_RENDERED:
        raise invalid("frames", f"an answer has {MAX_RENDERED} rendered frames at most")
    media = _media(request, several=True)
    boundary, body = secrets.token_hex(16), bytearray()
    for frame in frames:
        job = _job(located, frame, media, look)
        body += (
            f"--{boundary}\r\nContent-Type: {media}\r\n\r\n".encode()
            + await _picture(caller, request, located, job)
            + b"\r\n"
        )
    body += f"--{boundary}--\r\n".encode()
    return Response(bytes(body), media_type=f'{MULTIPART}; type="{media}"; boundary={boundary}')


async def study_thumbnail(
    caller: Retrieving, request: Request, study: UidPath, look: Small
) -> Response:
    """Get the thumbnail of a study.

    Returns the middle frame of its first image as a small JPEG or PNG.
    """
    return await _thumbnail(caller, request, InstanceSearch(study=study), look)


async def series_thumbnail(
    caller: Retrieving, request: Request, study: UidPath, series: UidPath, look: Small
) -> Response:
    """Get the thumbnail of a series.

    Returns the middle frame of its first image as a small JPEG or PNG.
    """
    return await _thumbnail(caller, request, InstanceSearch(study=study, series=series), look)


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await work that nobody needs once the client has left: its worker is freed then."""
    async with Tasks("pixels") as tasks:
        task = tasks.spawn(work, name="work")
        left = tasks.spawn(_left(request), name="client")
        await asyncio.wait([task, left], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ProblemError(
                HTTPStatus.REQUEST_TIMEOUT,
                "client-left",
                "the client has left",
                remedy="Ask again.",
            )
        return task.result()


def problem_of(refused: NotTranscoded) -> ProblemError:
    """Return the problem of an instance that cannot be transcoded."""
    status, code, remedy = _STATUS[refused.cause]
    return ProblemError(status, code, refused.reason, remedy=remedy)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue


async def _thumbnail(
    caller: Retrieval, request: Request, search: InstanceSearch, look: Look
) -> Response:
    query = caller.query
    found = await query.instances(caller, search, PageRequest(MOST_EXAMINED))
    images = [
        one for one in found.items if one.frames and one.identity.transfer_syntax not in VIDEOS
    ]
    if not images:
        raise NotFoundError("there is no image to show")
    one = images[0]
    frames = caller.frames
    located = await frames.locate(caller, one.study, one.series, one.identity.sop_instance)
    return await render_instance(caller, request, located, None, look)


async def _picture(caller: Retrieval, request: Request, located: Located, job: Render) -> bytes:
    made = await while_connected(
        request, caller.pixels.render(located.tenant, located.instance, job)
    )
    if isinstance(made, NotTranscoded):
        raise problem_of(made)
    return made


def _media(request: Request, *, several: bool = False) -> str:
    for choice in choices(request):
        if choice.multipart is (not several):
            continue
        for media in (JPEG, PNG):
            if choice.allows(media):
                return media
    raise not_acceptable(f'{MULTIPART}; type="{one}"' if several else one for one in (JPEG, PNG))


def _job(located: Located, frame: int | None, media: str, look: Look) -> Render:
    return Render(
        located.instance.identity.transfer_syntax,
        located.instance.length,
        frame,
        png=media == PNG,
        quality=look.quality,
        window=look.window,
        viewport=look.viewport,
    )


def read_window(text: str) -> VoiWindow:
    """Read `center,width,function`; raises ProblemError."""
    parts = text.split(",")
    try:
        center, width = (float(one) for one in parts[:2])
        shape = Shape(parts[2].lower()) if len(parts) == 3 else Shape.LINEAR
    except (ValueError, IndexError):
        raise invalid(
            "window", "is center,width,function with linear, linear-exact or sigmoid"
        ) from None
    if len(parts) > 3 or not math.isfinite(center) or not math.isfinite(width) or width <= 0:
        raise invalid("window", "is center,width,function, with a width above zero")
    return VoiWindow(center, width, shape)


def read_viewport(text: str) -> Viewport:
    """Read `vw,vh,sx,sy,sw,sh`, of which those after vh may be empty or left out.

    Raises ProblemError.
    """
    try:
        numbers = [float(one) if one.strip() else None for one in text.split(",")]
    except ValueError:
        numbers = []
    sides = numbers[:2]
    if len(numbers) not in {2, 4, 6} or any(
        one is not None and not math.isfinite(one) for one in numbers
    ):
        raise invalid("viewport", "is vw,vh or vw,vh,sx,sy,sw,sh, all numbers")
    if not all(one is not None and 1 <= one <= MAX_VIEWPORT for one in sides):
        raise invalid("viewport", f"has a width and a height from 1 to {MAX_VIEWPORT}")
    left, top, wide, high = (*numbers[2:], None, None, None, None)[:4]
    return Viewport(
        int(sides[0] or 1), int(sides[1] or 1), left or 0.0, top or 0.0, wide or None, high or None
    )
