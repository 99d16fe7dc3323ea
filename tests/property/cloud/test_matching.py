"""Attribute matching and cursors, against plain readings of what they promise."""

import re

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Text, create_engine, literal, select

from swallowtail.cloud.model.paging import cursor_of, key_of
from swallowtail.cloud.model.port_errors import InvalidCursorError
from swallowtail.cloud.records.searching import matches

letters = st.text(alphabet="aA%_\\*?b.^", max_size=6)
engine = create_engine("sqlite://")
keys = st.tuples(st.text(max_size=20), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))


def by_the_book(pattern: str, value: str) -> bool:
    """PS3.4 C.2.2.2.4: `*` is any run, `?` any one character, everything else itself.

    An empty key matches all.
    """
    expression = "".join(
        ".*" if one == "*" else "." if one == "?" else re.escape(one) for one in pattern
    )
    return pattern == "" or re.fullmatch(expression, value, re.DOTALL) is not None


@given(pattern=letters, value=letters)
def test_a_pattern_matches_what_the_standard_says(pattern: str, value: str) -> None:
    row = select(literal(value, Text).label("v")).subquery()
    statement = select(row.c.v).where(matches(row.c.v, pattern))
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA case_sensitive_like = ON")
        assert bool(connection.execute(statement).first()) == by_the_book(pattern, value)


@given(keys)
def test_a_cursor_gives_its_key_back(key: tuple[str, int, float]) -> None:
    assert key_of(cursor_of(key), str, int, float) == key


@given(st.text(max_size=40))
def test_a_foreign_cursor_is_refused_and_nothing_else_happens(cursor: str) -> None:
    try:
        key = key_of(cursor, str, int)
    except InvalidCursorError:
        return
    assert [type(part) for part in key] == [str, int]
