"""PostgreSQL does not try to compress data that are compressed already."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the storage of new rows; existing rows stay unchanged."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in ("batch_inputs", "segment_data"):
        op.execute(f"ALTER TABLE {table} ALTER COLUMN data SET STORAGE EXTERNAL")
