"""Steps are claimed by workers; chunks and segments may name their positions, and chunks may wait.

Every default suits batches that are running: their chunks are claimed by nobody, hold consecutive
positions, and go to the built-in audience, which was the only target.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TEXT = sa.Text()
_MOMENT = sa.BigInteger()  # UTC epoch microseconds


def upgrade() -> None:
    """Add the columns, and an index for each query that the sweep runs every two seconds."""
    _columns()
    _indexes()


def _columns() -> None:
    for table, column in (
        ("batches", sa.Column("claimed_by", _TEXT)),
        ("batches", sa.Column("target", _TEXT, server_default="audience")),
        ("chunks", sa.Column("claimed_by", _TEXT)),
        ("chunks", sa.Column("target", _TEXT, server_default="audience", nullable=False)),
        ("chunks", sa.Column("positions", _TEXT)),
        ("chunks", sa.Column("not_before", _MOMENT)),
        ("chunks", sa.Column("reason", _TEXT)),
        ("segments", sa.Column("positions", _TEXT)),
        ("segments", sa.Column("end_position", sa.BigInteger)),
    ):
        op.add_column(table, column)


def _indexes() -> None:
    # Not partial: SQLite prefers the index of statuses and accounts to a partial index of times.
    op.create_index("batches_by_age", "batches", ["status", "submitted_at"])
    for name, table, columns, condition in (
        ("batches_claimed", "batches", ["claimed_by"], "claimed_by IS NOT NULL"),
        ("chunks_claimed", "chunks", ["claimed_by"], "claimed_by IS NOT NULL"),
        ("deliveries_due", "deliveries", ["next_attempt_at", "id"], "state = 'pending'"),
    ):
        op.create_index(
            name,
            table,
            columns,
            sqlite_where=sa.text(condition),
            postgresql_where=sa.text(condition),
        )
