"""The condition of offline Links is named as in the API."""

from alembic import op

revision = "0020_pre"
down_revision = "0019_pre"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # of the former names one began with these letters
    op.execute("UPDATE alarm SET condition = 'link-offline' WHERE condition LIKE 'link-a%'")
