"""Batch webhooks refer to the API key that created them; they are deleted when it is revoked."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the column. It is null in older webhooks, which remain until they are deleted."""
    op.add_column("batch_webhooks", sa.Column("api_key_id", _KEY, nullable=True))
