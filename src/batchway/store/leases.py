"""Leases: how a process shows that it is alive, on the database's clock.

No lease belongs to an account: processes work for all of them.
"""

from sqlalchemy import Connection

from batchway import limits
from batchway.kit.clock import SECOND, Microseconds
from batchway.store.database import run, sql_now

# A lease that lasts for longer was written before the clock went back. Living processes renew it.
LASTS_MAX: Microseconds = int(2 * limits.lease_seconds * SECOND)
_CARETAKER = "caretaker"


def sql_is_live(connection: Connection) -> str:
    """Return SQL that is true for leases that have not expired."""
    moment = sql_now(connection)
    return f"(leases.expires_at > {moment} AND leases.expires_at <= {moment} + {LASTS_MAX})"


def renew(connection: Connection, name: str, *, is_ready: bool, seconds: float) -> None:
    """Take or extend the lease of a worker process."""
    run(
        connection,
        f"""
        INSERT INTO leases (name, holder, is_ready, expires_at)
        VALUES (:name, :name, :is_ready, {sql_now(connection)} + :span)
        ON CONFLICT (name) DO UPDATE
        SET is_ready = excluded.is_ready, expires_at = excluded.expires_at
        -- no account: leases belong to processes
        """,
        name=name,
        is_ready=is_ready,
        span=int(seconds * SECOND),
    )


def is_live(connection: Connection, name: str, seconds_left: float = 0) -> bool:
    """Return whether a process has a lease, which lasts for at least so many seconds more."""
    found = run(
        connection,
        f"""
        SELECT 1 FROM leases
        WHERE name = :name AND {sql_is_live(connection)}
          AND expires_at >= {sql_now(connection)} + :span
        -- no account: leases belong to processes
        """,
        name=name,
        span=int(seconds_left * SECOND),
    ).first()
    return found is not None


def release(connection: Connection, name: str) -> None:
    """End the lease of a process, and its role as caretaker, if it has them."""
    run(
        connection,
        """
        DELETE FROM leases WHERE name = :name OR holder = :name
        -- no account: leases belong to processes
        """,
        name=name,
    )


def release_all(connection: Connection) -> None:
    """End all leases. Call it only when no worker process is alive."""
    run(connection, "DELETE FROM leases -- no account: leases belong to processes")


def find_live(connection: Connection) -> set[str]:
    """Return the names of all processes whose lease has not expired."""
    rows = run(
        connection,
        f"""
        SELECT name FROM leases WHERE {sql_is_live(connection)}
        -- no account: leases belong to processes
        """,
    )
    return set(rows.scalars())


def is_any_ready(connection: Connection) -> bool:
    """Return whether any worker is alive and takes work."""
    found = run(
        connection,
        f"""
        SELECT 1 FROM leases
        WHERE is_ready AND {sql_is_live(connection)} LIMIT 1
        -- no account: leases belong to processes
        """,
    ).first()
    return found is not None


def take_caretaker(connection: Connection, holder: str, seconds: float) -> bool:
    """Become the caretaker, or extend that role; return False while another process has it."""
    moment = sql_now(connection)
    taken = run(
        connection,
        f"""
        INSERT INTO leases (name, holder, is_ready, expires_at)
        VALUES (:name, :holder, FALSE, {moment} + :span)
        ON CONFLICT (name) DO UPDATE
        SET holder = excluded.holder, expires_at = excluded.expires_at
        WHERE leases.holder = excluded.holder OR NOT {sql_is_live(connection)}
        -- no account: leases belong to processes
        """,
        name=_CARETAKER,
        holder=holder,
        span=int(seconds * SECOND),
    )
    return bool(taken.rowcount)
