"""Batch webhooks know the API key that made them, and end with it."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Nobody knows who made the older ones: they stay until they are deleted."""
    op.add_column("batch_webhooks", sa.Column("api_key_id", _KEY, nullable=True))
