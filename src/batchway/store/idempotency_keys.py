"""Idempotency keys: which batch a key was used for, kept for a day."""

from dataclasses import dataclass

from sqlalchemy import Connection

from batchway.kit.clock import Microseconds
from batchway.store.database import run


@dataclass(frozen=True, slots=True)
class KeyUse:
    """The request that a key was used for: the hash of its body, and its batch."""

    body_hash: bytes
    batch_id: int


def find(
    connection: Connection, account_id: int, key_hash: bytes, made_since: Microseconds
) -> KeyUse | None:
    """Return the use of a key since a moment, or None."""
    row = run(
        connection,
        """
        SELECT body_hash, batch_id FROM idempotency_keys
        WHERE account_id = :account_id AND key_hash = :key_hash AND created_at >= :made_since
        """,
        account_id=account_id,
        key_hash=key_hash,
        made_since=made_since,
    ).one_or_none()
    return None if row is None else KeyUse(bytes(row.body_hash), row.batch_id)


def save(
    connection: Connection, account_id: int, key_hash: bytes, use: KeyUse, now: Microseconds
) -> None:
    """Store the use of a key; it replaces an earlier use."""
    run(
        connection,
        """
        INSERT INTO idempotency_keys (account_id, key_hash, body_hash, batch_id, created_at)
        VALUES (:account_id, :key_hash, :body_hash, :batch_id, :now)
        ON CONFLICT (account_id, key_hash) DO UPDATE
        SET body_hash = excluded.body_hash, batch_id = excluded.batch_id,
            created_at = excluded.created_at
        """,
        account_id=account_id,
        key_hash=key_hash,
        body_hash=use.body_hash,
        batch_id=use.batch_id,
        now=now,
    )


def remove_old(connection: Connection, made_before: Microseconds) -> None:
    """Delete the keys that were used before a moment."""
    run(
        connection,
        """
        DELETE FROM idempotency_keys WHERE created_at < :made_before
        -- no account: the sweep works for all accounts
        """,
        made_before=made_before,
    )
