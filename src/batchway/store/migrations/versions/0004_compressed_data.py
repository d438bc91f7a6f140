"""PostgreSQL stores compressed data as they are, and does not try to compress them again."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What is stored already stays as it is."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in ("batch_inputs", "segment_data"):
        op.execute(f"ALTER TABLE {table} ALTER COLUMN data SET STORAGE EXTERNAL")
