"""Claims: which worker runs a step. A claim holds as long as the lease of its worker is live.

`claimed_by` is the name of a worker's lease. A row can be claimed if nobody holds it, if the holder
is dead, or if the holder is the worker itself: a process knows in memory which steps it really runs
(`lifecycle/running_steps.py`), so that a step whose release failed is not lost to a living worker.
What a step commits is guarded by `claimed_by = :worker`: a worker that was taken for dead and wakes
up changes nothing.
"""

from sqlalchemy import Connection

from batchway.store.database import sql_now


def is_free(connection: Connection) -> str:
    """SQL for whether `:worker` may claim a row, or hand over the step that it stands for."""
    return f"""(claimed_by IS NULL OR claimed_by = :worker OR {is_left_by_dead(connection)})"""


def is_left_by_dead(connection: Connection, table: str = "") -> str:
    """SQL for whether the worker that has claimed a row is dead; `table` for a statement of two."""
    claimed_by = f"{table}.claimed_by" if table else "claimed_by"
    return f"""({claimed_by} IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM leases
            WHERE leases.name = {claimed_by} AND leases.expires_at > {sql_now(connection)}))"""
