"""A batch that its owner has deleted has the status `deleted` instead of `cancelled`."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Rename the status. Clients never see it: they get 404 for such a batch."""
    op.execute("UPDATE batches SET status = 'deleted' WHERE status = 'cancelled'")
