"""The next number of an instance: the order of arrival, never given twice."""

from typing import Any, Final

from sqlalchemy import BigInteger, func, select, union_all
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from swallowtail.cloud.records import schema

_HIGHEST: Final = union_all(
    select(func.max(schema.instance.c.id).label("id")), select(schema.high_water.c.value)
).subquery()
_AFTER_ALL: Final = select(func.coalesce(func.max(_HIGHEST.c.id), 0) + 1).scalar_subquery()


class NextId(FunctionElement[int]):
    """The number of the next instance.

    SQLite has one writer, which counts on from the highest; on PostgreSQL, where tenants commit
    in parallel, a sequence counts. A tenant's own numbers rise in the order of its commits.
    """

    type = BigInteger()
    inherit_cache = True


@compiles(NextId, "sqlite")
def _after_all(_element: NextId, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(_AFTER_ALL, **options)


@compiles(NextId, "postgresql")
def _of_sequence(_element: NextId, _compiler: SQLCompiler, **_options: Any) -> str:
    return "nextval('instance_id_seq')"
