"""Row-level security on PostgreSQL.

Deletions that run; no count of claims of index jobs

A second barrier behind the condition on the tenant in every statement (ADR 0030). The owner of the
tables is exempt: it changes them, and the server connects as another role.
"""

import sqlalchemy as sa
from alembic import op

from swallowtail.cloud.records.migrations.row_security import protect

revision = "0019_pre"
down_revision = "0018_pre"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
OF_TENANTS = (
    "alarm",
    "archive",
    "attempt",
    "audit",
    "audit_export",
    "audit_head",
    "audit_object",
    "configuration",
    "deleted_instance",
    "deletion",
    "deletion_part",
    "delivery",
    "destination",
    "ended_association",
    "facility",
    "instance",
    "lane",
    "retention_lock",
    "rule",
    "running",
    "series",
    "study",
    "unknown_device",
    "unreferenced_blob",
)


def upgrade() -> None:
    with op.batch_alter_table("index_job") as batch:
        batch.drop_column("attempts")
    op.add_column("deletion", sa.Column("facilities", sa.Text(), nullable=True))
    op.add_column("deletion", sa.Column("last", BIG, nullable=True))
    op.add_column("deletion", sa.Column("runs_until", sa.Double(), nullable=True))
    running = sa.text("runs_until IS NOT NULL")
    op.create_index(
        "ix_deletion_running",
        "deletion",
        ["tenant"],
        sqlite_where=running,
        postgresql_where=running,
    )
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in OF_TENANTS:
        protect(table)
    protect("link", credentials=("code",))
    protect("api_token", credentials=("digest", "previous"))
    protect("index_document", through=("instance", "deleted_instance"))
