"""Batch webhooks with deliveries; paged results; cancelling, retries, idempotency keys."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_TEXT = sa.Text()
_MOMENT = sa.BigInteger()  # UTC epoch microseconds


def _column(name: str, kind: Any, **more: Any) -> sa.Column[Any]:  # noqa: ANN401 - as sa.Column
    return sa.Column(name, kind, **{"nullable": False, **more})


def upgrade() -> None:
    """Add the tables and columns. The defaults do not change batches that were accepted before."""
    _batches()
    _webhooks()
    _idempotency_keys()


def _batches() -> None:
    for column in (
        _column("operation_count", sa.BigInteger, server_default="0"),
        _column("is_cancelling", sa.Boolean, server_default=sa.false()),
        _column("layout", _TEXT, server_default="per-operation"),
        _column("retry_of", _KEY, nullable=True),
        _column("began_at", _MOMENT, nullable=True),
    ):
        op.add_column("batches", column)
    op.execute("UPDATE batches SET operation_count = total_operations")
    for column in (
        _column("continuation", _TEXT, nullable=True),
        _column("next_page", sa.Integer, server_default="0"),
    ):
        op.add_column("chunks", column)
    for column in (
        _column("kind", _TEXT, server_default="files"),
        _column("first_page", sa.Integer, server_default="0"),
        _column("status_counts", _TEXT, nullable=True),  # unknown in older segments
    ):
        op.add_column("segments", column)


def _webhooks() -> None:
    op.create_table(
        "batch_webhooks",
        sa.Column("id", _KEY, primary_key=True, autoincrement=True),
        _column("account_id", _KEY),
        _column("public_id", _TEXT, unique=True),
        _column("url", _TEXT),
        _column("enabled", sa.Boolean),
        _column("signing_enabled", sa.Boolean),
        _column("secret", sa.LargeBinary, nullable=True),  # encrypted
        _column("old_secret", sa.LargeBinary, nullable=True),  # encrypted
        _column("old_secret_until", _MOMENT, nullable=True),
        _column("failing_since", _MOMENT, nullable=True),
        _column("disabled_reason", _TEXT, nullable=True),
        _column("created_at", _MOMENT),
        sqlite_autoincrement=True,
    )
    op.create_index("batch_webhooks_of_account", "batch_webhooks", ["account_id", "id"])
    op.create_table(
        "deliveries",
        sa.Column("id", _KEY, primary_key=True, autoincrement=True),
        _column("account_id", _KEY),
        _column("public_id", _TEXT, unique=True),
        _column("batch_webhook_id", _KEY),
        _column("batch_id", _KEY, nullable=True),  # none in a test event
        _column("state", _TEXT),
        _column("fired_at", _MOMENT),
        _column("attempt_count", sa.Integer, server_default="0"),
        _column("attempts_before", sa.Integer, server_default="0"),
        _column("next_attempt_at", _MOMENT, nullable=True),
        _column("touched_at", _MOMENT),
        _column("hand_over_count", sa.Integer, server_default="0"),
        sa.UniqueConstraint("batch_id", "batch_webhook_id", name="deliveries_once"),
        sqlite_autoincrement=True,
    )
    op.create_index("deliveries_of_webhook", "deliveries", ["batch_webhook_id", "id"])
    op.create_index(
        "deliveries_pending",
        "deliveries",
        ["account_id", "attempt_count", "next_attempt_at"],
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "delivery_attempts",
        _column("delivery_id", _KEY, primary_key=True),
        _column("number", sa.Integer, primary_key=True),
        _column("account_id", _KEY),
        _column("attempted_at", _MOMENT),
        _column("duration", _MOMENT),
        _column("status_code", sa.Integer, nullable=True),
        _column("reason", _TEXT, nullable=True),
        _column("answer_start", _TEXT),
    )


def _idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        _column("account_id", _KEY, primary_key=True),
        _column("key_hash", sa.LargeBinary, primary_key=True),
        _column("body_hash", sa.LargeBinary),
        _column("batch_id", _KEY),
        _column("created_at", _MOMENT),
    )
    op.create_index("idempotency_keys_by_age", "idempotency_keys", ["created_at"])
