"""A store for the page docs/howto/add-a-store.md: bookmarks of studies.

Its table, its port, its statements and its revision stand in one file here; in the product they are
four.
"""

from typing import Final, Protocol

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column, MetaData, String, Table, Text, bindparam, insert, select

from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.tenancy import Tenant, Value
from swallowtail.cloud.records.database import Database, Unit
from swallowtail.cloud.records.migrations.row_security import protect
from swallowtail.cloud.records.rows import Listing, paged, values

metadata: Final = MetaData()
bookmark = Table(
    "bookmark",
    metadata,
    Column("tenant", String(32), primary_key=True),
    Column("study", Text, primary_key=True),
    Column("title", Text, nullable=False),
)


class Bookmark(Value, frozen=True, kw_only=True):
    """A title for a study."""

    study: str
    title: str


class Bookmarks(Protocol):
    """Bookmarks of studies."""

    async def add(
        self, tenant: Tenant, bookmark: Bookmark, *, now: float, event: AuditEvent
    ) -> None:
        """Add a bookmark; ConflictError where the study has one."""

    async def bookmarks(self, tenant: Tenant, page: PageRequest = FIRST_PAGE) -> Page[Bookmark]:
        """Return the bookmarks by their studies."""


class BookmarkRecords:
    """The port `Bookmarks` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, tenant: Tenant, new: Bookmark, *, now: float, event: AuditEvent) -> None:
        def add(unit: Unit) -> None:
            unit.connection.execute(insert(bookmark), values(new) | {"tenant": tenant})
            unit.audit(tenant, event, now)

        await self._database.write(add, tenant=tenant)

    async def bookmarks(self, tenant: Tenant, page: PageRequest = FIRST_PAGE) -> Page[Bookmark]:
        return await self._database.read(
            lambda connection: paged(connection, BOOKMARKS, {"tenant": tenant}, page),
            tenant=tenant,
        )


BOOKMARKS: Final = Listing(
    select(bookmark).where(bookmark.c.tenant == bindparam("tenant")), Bookmark, (bookmark.c.study,)
)


def upgrade() -> None:
    """Add the table, as a revision does."""
    op.create_table(
        "bookmark",
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("study", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "study", name=op.f("pk_bookmark")),
    )
    if op.get_bind().dialect.name == "postgresql":
        protect("bookmark")
