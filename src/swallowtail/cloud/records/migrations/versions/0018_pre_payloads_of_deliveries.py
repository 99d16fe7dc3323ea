# Once released it is never edited, and a test compares the sum of all with the schema.
"""Payloads of deliveries.

The tables are made again, since the columns, the states and the key change together. No release
before it exists.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018_pre"
down_revision = "0017_pre"
branch_labels = None
depends_on = None

OPEN = sa.text("state IN ('pending', 'sending', 'stopped')")
SENDING = sa.text("state = 'sending'")
STATE = """CASE state WHEN 'waiting' THEN 'pending' WHEN 'leased' THEN 'sending'
    WHEN 'dead' THEN 'dead-letter' ELSE state END"""
ABOUT = "CASE about WHEN 'instance' THEN 'payload' WHEN 'link' THEN 'route' ELSE about END"
DELIVERIES = f"""
    INSERT INTO delivery (id, tenant, link, destination, lane, rank, place, kind, reference,
        facility, parent, identifier, type, format, cause, state, created, changed, next_at,
        until, token, tries, refusals, cuts, status, about, phase, detail, sent_format)
    SELECT id, tenant, link, destination, lane, rank, place, 'instance', instance,
        facility, study, sop_instance, sop_class, transfer_syntax, cause, {STATE}, created, changed,
        next_at, until, token, tries, refusals, cuts, status, {ABOUT}, phase, detail, sent_syntax
    FROM old_delivery
"""  # noqa: S608 - nothing of it is input
ATTEMPTS = f"""
    INSERT INTO attempt (delivery, token, tenant, number, began, ended, state, epoch, configuration,
        connection, status, about, phase, detail, sent_format, comment)
    SELECT delivery, token, tenant, number, began, ended, {STATE}, epoch, configuration,
        connection, status, {ABOUT}, phase, detail, sent_syntax, ''
    FROM old_attempt
"""  # noqa: S608 - nothing of it is input


def upgrade() -> None:
    for table in ("delivery", "attempt"):
        op.execute(f"CREATE TABLE old_{table} AS SELECT * FROM {table}")  # noqa: S608
    op.drop_table("attempt")
    op.drop_table("delivery")
    _create_delivery()
    _create_attempt()
    op.execute(DELIVERIES)
    op.execute(ATTEMPTS)
    for table in ("attempt", "delivery"):
        op.drop_table(f"old_{table}")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "SELECT setval(pg_get_serial_sequence('delivery', 'id'), max(id)) FROM delivery"
            " HAVING max(id) IS NOT NULL"
        )


def _create_delivery() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "delivery",
        sa.Column("id", big, nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("link", "destination", "lane")),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("place", big, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reference", big, nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("facility", "parent", "identifier", "type", "format", "cause", "state")
        ),
        *(
            sa.Column(name, sa.Double(), nullable=False)
            for name in ("created", "changed", "next_at", "until")
        ),
        *(
            sa.Column(name, sa.Integer(), nullable=False)
            for name in ("token", "tries", "refusals", "cuts")
        ),
        sa.Column("status", sa.Integer(), nullable=True),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("about", "phase")),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("detail", "sent_format")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.UniqueConstraint(
            "tenant",
            "link",
            "destination",
            "kind",
            "reference",
            "cause",
            name=op.f("uq_delivery_tenant_link_destination_kind_reference_cause"),
        ),
    )
    place = ["tenant", "link", "destination"]
    _index("lane", [*place, "lane", "rank", "place"], OPEN)
    _index("sending", [*place, "lane", "until"], SENDING)
    _index("oldest", [*place, "created"], OPEN)
    _index("state", [*place, "state", "changed"])
    _index("parent", ["tenant", "parent"])
    _index("place", ["place"])
    _index("reference", ["reference", "kind"])
    _index("newest", ["tenant", "id"])


def _index(name: str, columns: list[str], where: sa.TextClause | None = None) -> None:
    op.create_index(
        f"ix_delivery_{name}", "delivery", columns, sqlite_where=where, postgresql_where=where
    )


def _create_attempt() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "attempt",
        sa.Column("delivery", big, autoincrement=False, nullable=False),
        sa.Column("token", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("began", "ended")),
        sa.Column("state", sa.Text(), nullable=False),
        *(
            sa.Column(name, sa.Integer(), nullable=False)
            for name in ("epoch", "configuration", "connection")
        ),
        sa.Column("status", sa.Integer(), nullable=True),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("about", "phase")),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("detail", "sent_format", "comment")
        ),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["delivery"],
            ["delivery.id"],
            name=op.f("fk_attempt_delivery"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("delivery", "token", name=op.f("pk_attempt")),
        sqlite_with_rowid=False,
    )
