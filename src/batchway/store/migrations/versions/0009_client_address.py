"""Batches remember the network address of the client that has submitted them.

It is the `ip_opt` of members that the operations add. Batches that are running have none.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column(
        "batches", sa.Column("client_address", sa.Text, server_default="", nullable=False)
    )
