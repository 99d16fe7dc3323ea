"""Ranges of a representation (RFC 9110 14): one range is given, 206.

Several, or another unit, mean the whole.

A client that continues a download sends If-Range with the ETag of what it has: if the bytes are no
longer those, it gets the whole (RFC 9110 13.1.5). Range has a meaning for GET alone (14.2).
"""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from swallowtail.cloud.web.problems import ProblemError, response_of

SMALL: Final = 1024 * 1024
"""Bodies up to here are gathered: one message to the socket instead of many."""
_ONE: Final = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", re.IGNORECASE)


class ByteRange(NamedTuple):
    """Bytes of a body from `start` on; `length` may be 0, which no body satisfies."""

    start: int
    length: int


class Representation(NamedTuple):
    """A representation of a resource, readable by byte range."""

    media: str
    size: int
    validator: str
    """The ETag without its quotes: the same exactly as long as the bytes are (RFC 9110 8.8.1)."""
    read: Callable[[int, int], AsyncIterator[bytes]]
    """Streams bytes: from where, and how many."""
    headers: Mapping[str, str] = {}


async def answer(request: Request, whole: Representation) -> Response:
    """Return the whole or the requested range for GET, the headers of the whole for HEAD."""
    etag = f'"{whole.validator}"'
    headers = {**whole.headers, "ETag": etag, "Accept-Ranges": "bytes"}
    if request.method == "HEAD":
        headers["Content-Length"] = str(whole.size)
        return Response(headers=headers, media_type=whole.media)
    part = asked(request, whole.size, etag)
    if part is None:
        return await body(whole.read(0, whole.size), whole.size, whole.media, headers)
    if not part.length:
        return unsatisfiable(whole.size)
    last = part.start + part.length - 1
    headers["Content-Range"] = f"bytes {part.start}-{last}/{whole.size}"
    made = await body(whole.read(*part), part.length, whole.media, headers)
    made.status_code = HTTPStatus.PARTIAL_CONTENT
    return made


async def body(
    content: AsyncIterator[bytes],
    length: int,
    media: str,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an answer of `length` bytes, gathered when they are few."""
    given = {} if headers is None else dict(headers)
    if length <= SMALL:
        gathered = b"".join([piece async for piece in content])
        return Response(gathered, headers=given, media_type=media)
    given["Content-Length"] = str(length)
    return StreamingResponse(content, media_type=media, headers=given)


def asked(request: Request, size: int, etag: str) -> ByteRange | None:
    """Return the range that is asked for of a body of `size` bytes; None: the whole."""
    found = _ONE.fullmatch(request.headers.get("range", ""))
    if found is None or found.groups() == ("", ""):
        return None
    if request.headers.get("if-range", etag) != etag:
        return None  # a strong comparison, which a weak ETag and a date fail: we send neither
    first, last = found.groups()
    if not first:  # the last so many
        length = min(int(last), size)
        return ByteRange(size - length, length)
    if last and int(last) < int(first):
        return None  # RFC 9110 14.1.1: invalid, so as if it were not there
    end = min(int(last) + 1, size) if last else size
    return ByteRange(int(first), max(0, end - int(first)))


def unsatisfiable(size: int) -> Response:
    """Return the answer that a body has nothing in this range."""
    problem = ProblemError(
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        "range",
        f"the content has {size} bytes, none of which lie in the range",
        remedy=(
            f"Ask for bytes 0 to {size - 1}, or leave Range out." if size else "Leave Range out."
        ),
    )
    answer = response_of(problem)
    answer.headers["Content-Range"] = f"bytes */{size}"
    return answer


def cut(spans: Iterable[tuple[int, int]], part: ByteRange) -> Iterator[tuple[int, int]]:
    """Return the parts of these consecutive spans (offset, length) that are in the range."""
    skip, left = part
    for offset, length in spans:
        taken = min(max(0, length - skip), left)
        if taken > 0:
            yield offset + skip, taken
        skip, left = max(0, skip - length), left - max(0, taken)
