"""Rows as model values, and pages of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import Column, ColumnElement, Connection, CursorResult, RowMapping, Select, tuple_

from swallowtail.cloud.model.paging import Page, PageRequest, cursor_of, key_of
from swallowtail.cloud.model.port_errors import NotFoundError

T = TypeVar("T")

Convert = type[T] | Callable[[dict[str, Any]], T]


def values(value: msgspec.Struct) -> dict[str, Any]:
    """Return a model value as a row: its fields by name."""
    return msgspec.structs.asdict(value)


def plain(row: RowMapping) -> dict[str, Any]:
    """Return a row as a dict whose keys are `str` itself, which msgspec asks for."""
    return {str(name): value for name, value in row.items()}


def of(row: RowMapping, kind: Convert[T]) -> T:
    """Make a model value of a row.

    A struct by its fields' names, or what a function makes of it.
    """
    if isinstance(kind, type):
        return msgspec.convert(plain(row), kind)
    return kind(plain(row))


def only(result: CursorResult[Any], kind: Convert[T], noun: str) -> T:
    """Return the one row of a result; raises NotFoundError that names the noun."""
    row = result.mappings().first()
    if row is None:
        raise NotFoundError(f"there is no such {noun}")
    return of(row, kind)


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A statement that pages.

    What its rows become, and the columns of its order, which together are unique.
    """

    query: Select[Any]
    kind: Convert[T]
    order: tuple[Column[Any], ...]
    descending: bool = False

    def where(self, *conditions: ColumnElement[bool]) -> "Listing[T]":
        """Narrow the listing."""
        return Listing(self.query.where(*conditions), self.kind, self.order, self.descending)


def _passed_over(
    query: Select[Any], key: Column[Any], directed: list[ColumnElement[Any]], request: PageRequest
) -> Select[Any]:
    """Find the keys behind the offset first, where one column is the key.

    So that rows before it are passed over in an index.
    """
    if [column.name for column in key.table.primary_key] != [key.name]:
        return query.order_by(*directed).limit(request.limit + 1).offset(request.offset)
    keys = (
        query.with_only_columns(key)
        .order_by(*directed)
        .limit(request.limit + 1)
        .offset(request.offset)
        .correlate(None)
    )
    return query.with_only_columns(*key.table.c).where(key.in_(keys)).order_by(*directed)


def paged(
    connection: Connection, listing: Listing[T], parameters: Mapping[str, Any], request: PageRequest
) -> Page[T]:
    """Run one page of a listing; raises InvalidCursorError."""
    query, order = listing.query, listing.order
    if request.cursor is not None:
        after = key_of(request.cursor, *(column.type.python_type for column in order))
        query = query.where(
            tuple_(*order) < after if listing.descending else tuple_(*order) > after
        )
    directed: list[ColumnElement[Any]] = [
        column.desc() if listing.descending else column for column in order
    ]
    ordered = query.order_by(*directed).limit(request.limit + 1)
    if request.offset:
        ordered = _passed_over(query, order[-1], directed, request)
    rows = connection.execute(ordered, dict(parameters)).mappings().all()
    items = tuple(of(row, listing.kind) for row in rows[: request.limit])
    if len(rows) <= request.limit:
        return Page(items)
    last = rows[request.limit - 1]
    return Page(items, cursor_of(tuple(last[column] for column in order)))
