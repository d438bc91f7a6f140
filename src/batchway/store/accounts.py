"""Accounts and their API keys."""

from sqlalchemy import Connection

from batchway.kit.clock import Microseconds
from batchway.kit.ids import hash_api_key
from batchway.model.account import Account, ApiKey, Identity
from batchway.store.database import run, sql_for_share

_HINT_CHARACTERS = 4


def create(connection: Connection, name: str, now: Microseconds) -> Account:
    """Store a new account and return it."""
    account_id = run(
        connection,
        """
        INSERT INTO accounts (name, created_at) VALUES (:name, :now)
        RETURNING id -- no account: this statement creates it
        """,
        name=name,
        now=now,
    ).scalar_one()
    return Account(account_id, name, now)


def find_all(connection: Connection) -> list[Account]:
    """Return all accounts, oldest first. For the operator only."""
    rows = run(
        connection,
        """
        SELECT id, name, created_at FROM accounts
        ORDER BY id -- no account: the operator sees all
        """,
    )
    return [Account(*row) for row in rows]


def add_key(
    connection: Connection, account_id: int, key: str, label: str, now: Microseconds
) -> bool:
    """Store the hash of a key; return False if any account has a key with this hash already."""
    added = run(
        connection,
        """
        INSERT INTO api_keys (account_id, key_hash, label, hint, created_at)
        VALUES (:account_id, :key_hash, :label, :hint, :now)
        ON CONFLICT (key_hash) DO NOTHING
        """,
        account_id=account_id,
        key_hash=hash_api_key(key),
        label=label,
        hint=key.split("-", maxsplit=1)[0][-_HINT_CHARACTERS:],
        now=now,
    )
    return bool(added.rowcount)


def find_keys(connection: Connection) -> list[ApiKey]:
    """Return the keys of all accounts, oldest first. For the operator only."""
    rows = run(
        connection,
        """
        SELECT id, account_id, label, hint, created_at, revoked_at FROM api_keys
        ORDER BY id -- no account: the operator sees all
        """,
    )
    return [ApiKey(*row) for row in rows]


def revoke_key(connection: Connection, key_id: int, now: Microseconds) -> bool:
    """Revoke a key for good; return False if it does not exist or is revoked already."""
    revoked = run(
        connection,
        """
        UPDATE api_keys SET revoked_at = :now
        WHERE id = :key_id AND revoked_at IS NULL -- no account: the operator may revoke any
        """,
        key_id=key_id,
        now=now,
    )
    return bool(revoked.rowcount)


def is_key_revoked(
    connection: Connection, account_id: int, key_id: int, *, locked: bool = False
) -> bool:
    """Return whether a key is revoked.

    If it is `locked` and not revoked, no other transaction can revoke it before the commit.
    """
    unrevoked = run(
        connection,
        f"""
        SELECT 1 FROM api_keys
        WHERE id = :key_id AND account_id = :account_id AND revoked_at IS NULL
        {sql_for_share(connection) if locked else ""}
        """,
        key_id=key_id,
        account_id=account_id,
    ).first()
    return unrevoked is None


def identify(connection: Connection, key: str) -> Identity | None:
    """Return the account and the id of a key; None if the key is unknown or revoked."""
    row = run(
        connection,
        """
        SELECT a.id, a.name, a.created_at, k.id AS key_id
        FROM api_keys AS k JOIN accounts AS a ON a.id = k.account_id
        WHERE k.key_hash = :key_hash AND k.revoked_at IS NULL
        -- no account: this query finds it
        """,
        key_hash=hash_api_key(key),
    ).one_or_none()
    if row is None:
        return None
    return Identity(Account(row.id, row.name, row.created_at), row.key_id)


def find(connection: Connection, account_id: int) -> Account | None:
    """Return an account, or None if it does not exist."""
    row = run(
        connection,
        """
        SELECT id, name, created_at FROM accounts
        WHERE id = :account_id
        """,
        account_id=account_id,
    ).one_or_none()
    return None if row is None else Account(*row)


def lock(connection: Connection, account_id: int) -> None:
    """Keep all other transactions from counting or starting batches of the account until commit."""
    run(
        connection,
        """
        UPDATE accounts SET name = name
        WHERE id = :account_id
        """,
        account_id=account_id,
    )
