"""What is done when the database's clock goes back: each wait ends after the time it was meant for.

The times until which steps wait are absolute. If the clock goes back by a day, a step that waits
for five seconds would wait for a day.
"""

from sqlalchemy import Connection

from batchway import limits
from batchway.kit.clock import SECOND, Microseconds
from batchway.store.database import run, sql_for_update, sql_now

# What a moved clock shifts: table, its rows, and their times.
_WAITS = (
    ("deliveries", "state = 'pending'", ("next_attempt_at", "touched_at")),
    ("batches", "status NOT IN ('finished', 'deleted')", ("touched_at",)),
    ("chunks", "state = 'waiting' AND not_before IS NOT NULL", ("not_before",)),
    ("installation", "id = 1", ("housekeeping_at",)),
)


def note_time(connection: Connection) -> Microseconds:
    """Note the database's time; return by how much it has gone back since it was noted, or 0."""
    row = run(
        connection,
        f"""
        SELECT seen_at, {sql_now(connection)} AS now FROM installation
        WHERE id = 1 {sql_for_update(connection)}
        -- no account: the row belongs to all processes
        """,
    ).one_or_none()
    if row is None:
        return 0  # the installation was forgotten; the next process that starts writes the row
    run(
        connection,
        "UPDATE installation SET seen_at = :now -- no account: the row belongs to all processes",
        now=row.now,
    )
    back = row.seen_at - row.now
    return back if back > limits.clock_tolerance_seconds * SECOND else 0


def move_waits_back(connection: Connection, back: Microseconds) -> None:
    """Let what waits for a time wait as long as before the clock went back by so much."""
    for table, condition, columns in _WAITS:
        changes = ", ".join(f"{column} = {column} - :back" for column in columns)
        run(
            connection,
            f"""
            UPDATE {table} SET {changes} WHERE {condition}
            -- no account: the clock is that of all accounts
            """,
            back=back,
        )
