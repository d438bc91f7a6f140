"""The latest time that the caretaker has seen, so that a clock that goes back is noticed."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. 0 means that no time was seen yet."""
    column = sa.Column("seen_at", sa.BigInteger, nullable=False, server_default="0")
    op.add_column("installation", column)
