"""Statements of the commit path, compiled once and passed to the driver directly.

They are the same named expressions as everywhere. SQLAlchemy's work for each execution (20 to 30
µs, against 2 µs in SQLite's driver) is most of a store's CPU where a store is ten statements.
psycopg prepares on the server what a connection executes for the sixth time.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import psycopg
from sqlalchemy import Connection, Executable
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import psycopg as postgresql
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import Compiled
from sqlalchemy.sql.elements import BindParameter

_SQLITE: Final = sqlite.dialect()
_POSTGRESQL: Final = postgresql.dialect()  # type: ignore[no-untyped-call]
_Parameters = Mapping[str, Any]


class Prepared:
    """One statement.

    Its parameters are named as in the expression, its rows are tuples in the order of its columns.
    """

    def __init__(self, statement: Executable) -> None:
        self.statement = statement
        assert isinstance(statement, ClauseElement)
        compiled = statement.compile(dialect=_SQLITE)
        self._text = str(compiled)
        self._names: tuple[str, ...] = tuple(getattr(compiled, "positiontup", None) or ())
        self._constants = _constants_of(compiled)

    def rows(self, connection: Connection, parameters: _Parameters) -> Sequence[Sequence[Any]]:
        """Execute it and return its rows."""
        driver = connection.connection.driver_connection
        if isinstance(driver, sqlite3.Connection):
            return driver.execute(self._text, self._values(parameters)).fetchall()
        assert isinstance(driver, psycopg.Connection)
        text, constants = self._postgresql
        return driver.execute(text, {**constants, **parameters}).fetchall()

    def run(self, connection: Connection, *parameters: _Parameters) -> None:
        """Execute it once for each set of parameters."""
        driver = connection.connection.driver_connection
        if isinstance(driver, sqlite3.Connection):
            for one in parameters:
                driver.execute(self._text, self._values(one))
            return
        assert isinstance(driver, psycopg.Connection)
        text, constants = self._postgresql
        if len(parameters) == 1:
            driver.execute(text, {**constants, **parameters[0]})
        elif parameters:  # one round trip for all: psycopg sends them as a pipeline
            driver.cursor().executemany(text, [{**constants, **one} for one in parameters])

    @cached_property
    def _postgresql(self) -> tuple[bytes, _Parameters]:
        assert isinstance(self.statement, ClauseElement)
        compiled = self.statement.compile(dialect=_POSTGRESQL)
        return str(compiled).encode(), _constants_of(compiled)

    def _values(self, parameters: _Parameters) -> list[Any]:
        if self._constants:  # those that are in the expression itself
            parameters = {**self._constants, **parameters}
        return [parameters[name] for name in self._names]


def _constants_of(compiled: Compiled) -> dict[str, Any]:
    binds: Mapping[str, BindParameter[Any]] = getattr(compiled, "binds", {})
    return {name: bind.value for name, bind in binds.items() if not bind.required}
