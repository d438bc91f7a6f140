"""The installation: one row with what all processes share, written by the first process.

It belongs to no account: processes work for all of them.
"""

from dataclasses import dataclass

from sqlalchemy import Connection

from batchway.kit.clock import SECOND
from batchway.store.database import run, sql_now


@dataclass(frozen=True, slots=True)
class Installation:
    """The identity of the archive store, and the fingerprint of the key that signs."""

    archive_id: str
    key_fingerprint: str


def insert_first(connection: Connection, new: Installation) -> None:
    """Insert the row if there is none."""
    run(
        connection,
        """
        INSERT INTO installation (id, archive_id, key_fingerprint, housekeeping_at)
        VALUES (1, :archive_id, :key_fingerprint, 0)
        ON CONFLICT (id) DO NOTHING
        -- no account: the row belongs to all processes
        """,
        archive_id=new.archive_id,
        key_fingerprint=new.key_fingerprint,
    )


def get(connection: Connection) -> Installation:
    """Return the row, which must exist."""
    row = run(
        connection,
        """
        SELECT archive_id, key_fingerprint FROM installation
        -- no account: the row belongs to all processes
        """,
    ).one()
    return Installation(*row)


def change_key(connection: Connection, old_fingerprint: str, new_fingerprint: str) -> None:
    """Replace the fingerprint of the key that signs, unless another process has replaced it."""
    run(
        connection,
        """
        UPDATE installation SET key_fingerprint = :new WHERE key_fingerprint = :old
        -- no account: the row belongs to all processes
        """,
        old=old_fingerprint,
        new=new_fingerprint,
    )


def delete(connection: Connection) -> None:
    """Delete the row; the next process that starts writes a new one."""
    run(connection, "DELETE FROM installation -- no account: the row belongs to all processes")


def begin_housekeeping(connection: Connection, interval_seconds: float) -> bool:
    """Return whether the caller must do the housekeeping: no process has begun it for so long."""
    begun = run(
        connection,
        f"""
        UPDATE installation SET housekeeping_at = {sql_now(connection)}
        WHERE housekeeping_at <= {sql_now(connection)} - :interval
        -- no account: the row belongs to all processes
        """,
        interval=int(interval_seconds * SECOND),
    )
    return bool(begun.rowcount)
