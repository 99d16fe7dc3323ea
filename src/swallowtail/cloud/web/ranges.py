"""A range of a body (RFC 9110 14): one range of bytes is given; several, another unit or a validator mean the whole."""

import re
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from swallowtail.cloud.web.problems import ProblemError, response_of

_ONE: Final = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", re.IGNORECASE)


class ByteRange(NamedTuple):
    """Bytes of a body from `start` on; `length` may be 0, which no body satisfies."""

    start: int
    length: int


def asked(request: Request, size: int) -> ByteRange | None:
    """Give the range that is asked for of a body of `size` bytes; None for the whole."""
    found = _ONE.fullmatch(request.headers.get("range", ""))
    if found is None or "if-range" in request.headers or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:  # the last so many
        length = min(int(last), size)
        return ByteRange(size - length, length)
    if last and int(last) < int(first):
        return None  # RFC 9110 14.1.1: invalid, so as if it were not there
    end = min(int(last) + 1, size) if last else size
    return ByteRange(int(first), max(0, end - int(first)))


def headers_of(part: ByteRange, size: int) -> dict[str, str]:
    """Give what a 206 says of itself."""
    return {"Content-Range": f"bytes {part.start}-{part.start + part.length - 1}/{size}"}


def unsatisfiable(size: int) -> Response:
    """Say that a body has nothing in this range."""
    problem = ProblemError(
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        "range",
        f"the value has {size} bytes, none of which lie in the range",
        remedy=f"Ask for bytes 0 to {size - 1}, or leave Range out." if size else "Leave Range out.",
    )
    answer = response_of(problem)
    answer.headers["Content-Range"] = f"bytes */{size}"
    return answer


def cut(spans: Iterable[tuple[int, int]], part: ByteRange) -> Iterator[tuple[int, int]]:
    """Give what of these spans (offset, length), one after the other, lies in the range."""
    skip, left = part
    for offset, length in spans:
        taken = min(max(0, length - skip), left)
        if taken > 0:
            yield offset + skip, taken
        skip, left = max(0, skip - length), left - max(0, taken)
