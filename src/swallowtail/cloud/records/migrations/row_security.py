"""Row-level security in revisions for PostgreSQL (ADR 0030)."""

from collections.abc import Sequence
from typing import Final

from alembic import op

TENANT: Final = "substr(nullif(current_setting('swallowtail.tenant', true), ''), 2)"
"""The tenant that the transaction has entered (`scopes`); null, which equals nothing, in none."""
CREDENTIAL: Final = "decode(nullif(current_setting('swallowtail.credential', true), ''), 'hex')"


def protect(table: str, *, credentials: Sequence[str] = (), through: Sequence[str] = ()) -> None:
    """Show only the rows of the tenant that the transaction has entered.

    `credentials` names columns whose value shows a row too, to reading alone: the code or the
    secret reports the tenant. A table without tenants shows the rows of instances that are shown in
    the tables `through`.
    """
    mine = f"tenant = {TENANT}"
    if through:
        mine = " OR ".join(
            f"EXISTS (SELECT FROM {other} WHERE {other}.id = {table}.instance)" for other in through
        )
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant ON {table} USING ({mine})")
    if credentials:
        presented = " OR ".join(f"{column} = {CREDENTIAL}" for column in credentials)
        op.execute(f"CREATE POLICY credential ON {table} FOR SELECT USING ({presented})")
