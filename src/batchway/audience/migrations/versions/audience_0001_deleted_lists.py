"""Lists that were deleted, and whose members and tags must still be deleted."""

import sqlalchemy as sa
from alembic import op

revision = "audience_0001"
down_revision = None
branch_labels = ("audience",)
depends_on = "0001"


def upgrade() -> None:
    """Add the table. The caretaker deletes the rows of these lists in short transactions."""
    op.create_table(
        "deleted_lists",
        sa.Column("list_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("account_id", sa.BigInteger, nullable=False),
        sa.Column("deleted_at", sa.BigInteger, nullable=False),
    )
