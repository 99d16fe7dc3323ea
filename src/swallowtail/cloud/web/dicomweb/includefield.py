"""`includefield` (PS3.18 8.3.4.3): attributes beside those that a search returns anyway.

Of studies and series everything that is kept is returned always, so it adds nothing there. Of
instances any attribute of the data set can be had. What an instance does not have is left out; a
name that is in no dictionary is an error.
"""

import asyncio
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final, NamedTuple

import msgspec

from swallowtail.cloud.dispatch.tags import dictionary, digits_of
from swallowtail.cloud.web.problems import FieldError, ProblemError

NAME: Final = "includefield"
ALL: Final = "all"
MOST: Final = 256
THREAD_FROM: Final = 256 * 1024
"""Documents of more bytes are read in a thread."""


class Wanted(NamedTuple):
    """Top-level attributes by tag; or all of them."""

    everything: bool
    tags: frozenset[str]

    def __bool__(self) -> bool:
        """Return whether any attribute is requested."""
        return self.everything or bool(self.tags)


async def read(query: Iterable[tuple[str, str]]) -> Wanted:
    """Read what a query string asks for, by keyword or tag.

    Raises a 400 that names an unknown attribute.

    An attribute within a sequence (`Keyword.Keyword`) brings the sequence.
    """
    texts = [one for name, value in query if name.lower() == NAME for one in value.split(",")]
    names = [one.strip() for one in texts if one.strip()]
    if len(names) > MOST:
        raise _bad(f"{NAME} names more than {MOST} attributes")
    asked = [name for name in names if name.lower() != ALL]
    parts = {part for name in asked for part in name.split(".")}
    tags = {part: digits_of(part) for part in parts}
    if not all(tags.values()):
        find = await dictionary()
        tags |= {part: find(part) for part, tag in tags.items() if not tag}
    if unknown := sorted(part for part, tag in tags.items() if not tag):
        raise _bad(f"{NAME}: there is no attribute {', '.join(unknown)[:200]!r}")
    return Wanted(len(asked) < len(names), frozenset(tags[name.split(".")[0]] for name in asked))


async def chosen(document: bytes, wanted: Wanted) -> dict[str, msgspec.Raw]:
    """Return the requested attributes of a document (DICOM JSON)."""
    if len(document) > THREAD_FROM:
        return await asyncio.to_thread(_chosen, document, wanted)
    return _chosen(document, wanted)


def _chosen(document: bytes, wanted: Wanted) -> dict[str, msgspec.Raw]:
    every = msgspec.json.decode(document, type=dict[str, msgspec.Raw])
    return every if wanted.everything else {tag: every[tag] for tag in wanted.tags if tag in every}


def _bad(detail: str) -> ProblemError:
    remedy = (
        "Name attributes by keyword or by eight hexadecimal digits, with commas between them, or"
        f" use {NAME}={ALL}."
    )
    return ProblemError(
        HTTPStatus.BAD_REQUEST, "query", detail, remedy=remedy, faults=(FieldError(NAME, detail),)
    )
