"""Accounts and keys; batches with their inputs, chunks and segments; leases; the audience."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_TEXT = sa.Text()
_MOMENT = sa.BigInteger()  # UTC epoch microseconds
_JSON = sa.Text()


def _column(name: str, kind: Any, **more: Any) -> sa.Column[Any]:  # noqa: ANN401 - as sa.Column
    return sa.Column(name, kind, **{"nullable": False, **more})


def upgrade() -> None:
    """Make every table of the first release.

    Keys are never used again after a DELETE (`sqlite_autoincrement`): hand-over ids hold them.
    """
    _accounts()
    _batches()
    _processes()
    _lists()
    _members()


def _accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", _KEY, primary_key=True, autoincrement=True),
        _column("name", _TEXT),
        _column("created_at", _MOMENT),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "api_keys",
        sa.Column("id", _KEY, primary_key=True, autoincrement=True),
        _column("account_id", _KEY),
        _column("key_hash", sa.LargeBinary, unique=True),
        _column("label", _TEXT),
        _column("hint", _TEXT),
        _column("created_at", _MOMENT),
        _column("revoked_at", _MOMENT, nullable=True),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "id_sequences",
        _column("name", _TEXT, primary_key=True),
        _column("next_id", sa.BigInteger),
    )


def _batches() -> None:
    op.create_table(
        "batches",
        sa.Column("id", _KEY, primary_key=True, autoincrement=True),
        _column("account_id", _KEY),
        _column("public_id", _TEXT, unique=True),
        _column("api_key_id", _KEY),
        _column("base_url", _TEXT),
        _column("status", _TEXT),
        _column("is_held", sa.Boolean, server_default=sa.false()),
        _column("total_operations", sa.BigInteger),
        _column("finished_operations", sa.BigInteger, server_default="0"),
        _column("errored_operations", sa.BigInteger, server_default="0"),
        _column("chunk_count", sa.Integer, server_default="0"),
        _column("chunks_left", sa.Integer, server_default="0"),
        _column("submitted_at", _MOMENT),
        _column("completed_at", _MOMENT, nullable=True),
        _column("touched_at", _MOMENT),
        _column("hand_over_count", sa.Integer, server_default="0"),
        _column("archive_key", _TEXT, nullable=True),
        _column("archive_bytes", sa.BigInteger, nullable=True),
        sqlite_autoincrement=True,
    )
    op.create_index("batches_of_account", "batches", ["account_id", "id"])
    op.create_index("batches_by_status", "batches", ["status", "account_id", "id"])
    op.create_table(
        "batch_inputs",
        _column("batch_id", _KEY, primary_key=True),
        _column("number", sa.Integer, primary_key=True),
        _column("account_id", _KEY),
        _column("first_position", sa.BigInteger),
        _column("operation_count", sa.Integer),
        _column("byte_count", sa.BigInteger),
        _column("data", sa.LargeBinary),
    )
    op.create_table(
        "chunks",
        _column("batch_id", _KEY, primary_key=True),
        _column("number", sa.Integer, primary_key=True),
        _column("account_id", _KEY),
        _column("first_position", sa.BigInteger),
        _column("operation_count", sa.Integer),
        _column("state", _TEXT),
        _column("attempt_count", sa.Integer, server_default="0"),
        _column("hand_over_count", sa.Integer, server_default="0"),
    )
    op.create_table(
        "segments",
        _column("batch_id", _KEY, primary_key=True),
        _column("chunk_number", sa.Integer, primary_key=True),
        _column("number", sa.Integer, primary_key=True),
        _column("account_id", _KEY),
        _column("first_position", sa.BigInteger),
        _column("operation_count", sa.Integer),
        _column("errored_count", sa.Integer),
        _column("file_count", sa.Integer),
        _column("raw_bytes", sa.BigInteger),
        _column("byte_count", sa.BigInteger),
        _column("crc32", sa.BigInteger),
        _column("archive_offset", sa.BigInteger, nullable=True),
    )
    op.create_table(
        "segment_data",
        _column("batch_id", _KEY, primary_key=True),
        _column("chunk_number", sa.Integer, primary_key=True),
        _column("number", sa.Integer, primary_key=True),
        _column("account_id", _KEY),
        _column("data", sa.LargeBinary),
    )


def _processes() -> None:
    op.create_table(
        "leases",
        _column("name", _TEXT, primary_key=True),
        _column("holder", _TEXT),
        _column("is_ready", sa.Boolean),
        _column("expires_at", _MOMENT),
    )


def _lists() -> None:
    op.create_table(
        "lists",
        sa.Column("id", _KEY, primary_key=True, autoincrement=True),
        _column("account_id", _KEY),
        _column("public_id", _TEXT, unique=True),
        _column("name", _TEXT),
        _column("settings", _JSON),
        _column("created_at", _MOMENT),
        _column("revision", sa.BigInteger, server_default="0"),
        sqlite_autoincrement=True,
    )
    op.create_index("lists_of_account", "lists", ["account_id", "id"])
    # Not in `lists`: counters change with every chunk, and must not make plans stale.
    op.create_table(
        "list_stats",
        _column("list_id", _KEY, primary_key=True),
        _column("account_id", _KEY),
        _column("subscribed_count", sa.BigInteger, server_default="0"),
        _column("unsubscribed_count", sa.BigInteger, server_default="0"),
        _column("cleaned_count", sa.BigInteger, server_default="0"),
        _column("pending_count", sa.BigInteger, server_default="0"),
        _column("transactional_count", sa.BigInteger, server_default="0"),
        _column("archived_count", sa.BigInteger, server_default="0"),
        _column("last_subscribed_at", _MOMENT, nullable=True),
        _column("last_unsubscribed_at", _MOMENT, nullable=True),
    )
    op.create_table(
        "merge_fields",
        sa.Column("id", _KEY, primary_key=True, autoincrement=True),
        _column("account_id", _KEY),
        _column("list_id", _KEY),
        _column("merge_id", sa.Integer),
        _column("tag", _TEXT),
        _column("name", _TEXT),
        _column("type", _TEXT),
        _column("required", sa.Boolean),
        _column("default_value", _TEXT),
        _column("public", sa.Boolean),
        _column("display_order", sa.Integer),
        _column("options", _JSON),
        _column("help_text", _TEXT),
        sa.UniqueConstraint("list_id", "merge_id", name="merge_fields_id"),
        sa.UniqueConstraint("list_id", "tag", name="merge_fields_tag"),
        sqlite_autoincrement=True,
    )


def _members() -> None:
    op.create_table(
        "members",
        _column("id", _KEY, primary_key=True, autoincrement=False),
        _column("account_id", _KEY),
        _column("list_id", _KEY),
        _column("subscriber_hash", _TEXT),
        _column("email_address", _TEXT),
        _column("unique_email_id", _TEXT),
        _column("status", _TEXT),
        _column("email_type", _TEXT),
        _column("merge_fields", _JSON),
        _column("language", _TEXT),
        _column("vip", sa.Boolean),
        _column("latitude", sa.Float),
        _column("longitude", sa.Float),
        _column("ip_signup", _TEXT),
        _column("timestamp_signup", _MOMENT, nullable=True),
        _column("ip_opt", _TEXT),
        _column("timestamp_opt", _MOMENT, nullable=True),
        _column("source", _TEXT),
        _column("unsubscribe_reason", _TEXT),
        _column("last_changed", _MOMENT),
        _column("revision", sa.BigInteger),
        sa.UniqueConstraint("list_id", "subscriber_hash", name="members_hash"),
    )
    op.create_index("members_of_list", "members", ["list_id", "id"])
    op.create_table(
        "list_segments",
        sa.Column("id", _KEY, primary_key=True, autoincrement=False),
        _column("account_id", _KEY),
        _column("list_id", _KEY),
        _column("name", _TEXT),
        _column("name_key", _TEXT),  # in lower case: the case of names is ignored
        _column("type", _TEXT),
        _column("created_at", _MOMENT),
        _column("updated_at", _MOMENT),
        sa.UniqueConstraint("list_id", "name_key", name="list_segments_name"),
    )
    op.create_table(
        "list_segment_members",
        _column("member_id", _KEY, primary_key=True),
        _column("list_segment_id", _KEY, primary_key=True),
        _column("account_id", _KEY),
        _column("added_at", _MOMENT),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "list_segment_members_of_segment", "list_segment_members", ["list_segment_id", "member_id"]
    )
    op.create_table(
        "forgotten_members",
        _column("list_id", _KEY, primary_key=True),
        _column("subscriber_hash", _TEXT, primary_key=True),
        _column("account_id", _KEY),
        _column("forgotten_at", _MOMENT),
    )
