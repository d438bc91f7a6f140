"""The installation: one row with what all processes share, written by the first one that starts.

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
    """Write the row, unless there is one."""
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
    """The row, which the first process has written."""
    row = run(
        connection,
        """
        SELECT archive_id, key_fingerprint FROM installation
        -- no account: the row belongs to all processes
        """,
    ).one()
    return Installation(*row)


def change_key(connection: Connection, old_fingerprint: str, new_fingerprint: str) -> None:
    """Note that another key signs from now on, unless another process has noted one meanwhile."""
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
    """Forget what is shared: the next process that starts decides it."""
    run(connection, "DELETE FROM installation -- no account: the row belongs to all processes")


def begin_housekeeping(connection: Connection, interval_seconds: float) -> bool:
    """Whether the caller shall do the housekeeping: nobody has begun it for so long."""
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
