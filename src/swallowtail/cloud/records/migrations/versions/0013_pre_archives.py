"""Archives: folders of studies.

Tokens that are limited to some
"""

import sqlalchemy as sa
from alembic import op

revision = "0013_pre"
down_revision = "0012_pre"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "archive",
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_archive")),
        sa.UniqueConstraint("tenant", "name", name=op.f("uq_archive_tenant_name")),
    )
    op.add_column(
        "study", sa.Column("archive", sa.Text(), nullable=False, server_default=sa.text("''"))
    )
    op.create_index("ix_study_tenant_archive_updated", "study", ["tenant", "archive", "updated"])
    op.add_column("api_token", sa.Column("archives", sa.Text(), nullable=True))
