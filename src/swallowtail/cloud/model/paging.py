"""Keyset paging.

A page ends with a cursor that names the last row's key, so that rows which come or go shift
nothing.
"""

import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable
from types import GenericAlias
from typing import Any, Final, Generic, TypeVar

import msgspec

from swallowtail.cloud.model.port_errors import InvalidCursorError

T = TypeVar("T")

MAX_PAGE: Final = 1000


class PageRequest(msgspec.Struct, frozen=True):
    """At most `limit` items (1 to MAX_PAGE) after `cursor`, which is a previous page's `next`.

    None: from the start.

    `offset` passes over so many more, for protocols that page by number (PS3.18 8.3.4.4); rows that
    come shift it.
    """

    limit: int = 100
    cursor: str | None = None
    offset: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_PAGE:
            raise ValueError(f"a page holds 1 to {MAX_PAGE} items, not {self.limit}")


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Some items in the list's order.

    `next` is the cursor of the following page, None at the end.
    """

    items: tuple[T, ...]
    next: str | None = None


FIRST_PAGE: Final = PageRequest()


async def walk(listing: Callable[[PageRequest], Awaitable[Page[T]]]) -> AsyncIterator[T]:
    """Return every item of a list, page by page."""
    request = PageRequest(MAX_PAGE)
    while True:
        page = await listing(request)
        for item in page.items:
            yield item
        if page.next is None:
            return
        request = PageRequest(MAX_PAGE, page.next)


def cursor_of(key: tuple[str | int | float, ...]) -> str:
    """Return the opaque cursor of a key."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(key)).rstrip(b"=").decode()


def key_of(cursor: str, *kinds: type) -> tuple[Any, ...]:
    """Read the key back, checked to be of these types; raises InvalidCursorError."""
    packed = cursor + "=" * (-len(cursor) % 4)
    try:
        key: tuple[Any, ...] = msgspec.msgpack.decode(
            base64.urlsafe_b64decode(packed), type=GenericAlias(tuple, kinds)
        )
    except (msgspec.DecodeError, binascii.Error, ValueError) as error:
        raise InvalidCursorError from error
    return key
