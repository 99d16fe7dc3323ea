"""Columns and a table for searches of audit records and alarms.

The columns and the table repeat what the events contain. They are filled from the events here,
once.
"""

from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0011_pre"
down_revision = "0010_pre"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_AT_ONCE = 5000
PAGE = sa.text(
    "SELECT tenant, sequence, event FROM audit WHERE (tenant, sequence) > (:tenant, :sequence) "
    "ORDER BY tenant, sequence LIMIT :limit"
)
FILL = sa.text(
    "UPDATE audit SET type = :type, actor = :actor, outcome = :outcome WHERE tenant = :tenant AND"
    " sequence = :sequence",
)
NAME = sa.text(
    "INSERT INTO audit_object (tenant, object, sequence) VALUES (:tenant, :object, :sequence)",
)


def upgrade() -> None:
    for name in ("type", "actor"):
        column = sa.Column(name, sa.Text(), server_default=sa.text("''"), nullable=False)
        op.add_column("audit", column)
    zero = sa.text("0")
    op.add_column("audit", sa.Column("outcome", sa.Integer(), server_default=zero, nullable=False))
    op.create_table(
        "audit_object",
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("sequence", _BIG, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "object", "sequence", name=op.f("pk_audit_object")),
        sqlite_with_rowid=False,
    )
    _fill(op.get_bind())
    for name in ("actor", "type"):
        op.create_index(f"ix_audit_{name}", "audit", ["tenant", name, "at", "sequence"])
    op.create_index("ix_audit_at", "audit", ["tenant", "at", "sequence"])
    _create_partial("ix_audit_failed", "audit", ["tenant", "at", "sequence"], "outcome > 0")
    op.create_index("ix_alarm_newest", "alarm", ["tenant", "id"])
    op.create_index("ix_alarm_subject", "alarm", ["tenant", "subject", "id"])
    _create_partial("ix_alarm_raised", "alarm", ["tenant", "id"], "cleared IS NULL")


def _create_partial(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def _fill(connection: sa.Connection) -> None:
    after: dict[str, Any] = {"tenant": "", "sequence": 0, "limit": _AT_ONCE}
    while rows := connection.execute(PAGE, after).all():
        filled: list[dict[str, Any]] = []
        named: list[dict[str, Any]] = []
        for tenant, sequence, content in rows:
            event = msgspec.msgpack.decode(content)
            place = {"tenant": tenant, "sequence": sequence}
            outcome = event.get("outcome", 0)
            found_by = {"type": event.get("type", ""), "actor": event["actor"], "outcome": outcome}
            filled.append(place | found_by)
            objects = {name for kind, name in event.get("objects", ()) if kind != "sha256"}
            named += [place | {"object": name} for name in objects]
        connection.execute(FILL, filled)
        if named:
            connection.execute(NAME, named)
        after |= {"tenant": rows[-1].tenant, "sequence": rows[-1].sequence}
