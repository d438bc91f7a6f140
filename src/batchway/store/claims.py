"""Claims: which worker runs a step. A claim is valid as long as the lease of its worker.

`claimed_by` is the name of a worker's lease. A worker can claim a row that no worker has claimed,
that a dead worker has claimed, or that it has claimed itself. In the last case the process checks
in memory that it does not run the step already (`lifecycle/running_steps.py`); so a step whose
release failed can still be run. What a step commits is guarded by `claimed_by = :worker`: a worker
that continues after its lease has expired changes nothing.
"""

from sqlalchemy import Connection

from batchway.store.leases import sql_is_live


def sql_is_free(connection: Connection) -> str:
    """Return SQL that is true for rows that `:worker` may claim or hand over."""
    return f"""(claimed_by IS NULL OR claimed_by = :worker OR {sql_is_left_by_dead(connection)})"""


def sql_is_left_by_dead(connection: Connection, table: str = "") -> str:
    """Return SQL that is true for rows that a dead worker has claimed.

    `table` qualifies the column in a statement that reads two tables with claims.
    """
    claimed_by = f"{table}.claimed_by" if table else "claimed_by"
    return f"""({claimed_by} IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM leases
            WHERE leases.name = {claimed_by} AND {sql_is_live(connection)}))"""
