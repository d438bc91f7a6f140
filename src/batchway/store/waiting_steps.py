"""Steps that wait to be run, as the tables show them; the sweep looks for them in the engine.

A step waits if no worker has claimed it and its batch has not changed for a while, or if a dead
worker has claimed it. A postponed chunk does not wait.
"""

from typing import Any, NamedTuple

from sqlalchemy import Connection

from batchway.kit.clock import SECOND, Microseconds
from batchway.model.batch import Status
from batchway.store.admission import SQL_IS_RUNNING
from batchway.store.claims import sql_is_left_by_dead
from batchway.store.database import run, sql_now

_BATCH_COLUMNS = "id, status, operation_count, hand_over_count"
_CHUNK_COLUMNS = """batch_id, number, chunks.target, chunks.hand_over_count,
               batches.operation_count, batches.hand_over_count"""


class WaitingBatch(NamedTuple):
    """A batch that waits to be split or finalized."""

    id: int
    status: Status
    operation_count: int
    hand_over_count: int

    @property
    def key(self) -> int:
        """Where the next page begins."""
        return self.id


class WaitingChunk(NamedTuple):
    """A chunk that waits to be executed, or sent."""

    batch_id: int
    number: int
    target: str
    hand_over_count: int
    batch_operation_count: int
    batch_hand_over_count: int

    @property
    def key(self) -> tuple[int, int]:
        """Where the next page begins."""
        return self.batch_id, self.number


class WaitingDelivery(NamedTuple):
    """A delivery whose next attempt is overdue."""

    next_attempt_at: Microseconds
    id: int
    hand_over_count: int

    @property
    def key(self) -> tuple[Microseconds, int]:
        """Where the next page begins."""
        return self.next_attempt_at, self.id


def find_batches(
    connection: Connection, after_id: int, count: int, *, quiet_seconds: float, running_max: int
) -> list[WaitingBatch]:
    """Return batches of all accounts that wait to be split or finalized, by key.

    A held batch waits only if fewer than `running_max` batches of its account run.
    """
    rows = run(
        connection,
        f"""
        SELECT {_BATCH_COLUMNS} FROM batches
        WHERE status IN ('pending', 'preprocessing', 'finalizing') AND id > :after_id
          AND (claimed_by IS NULL AND touched_at < {sql_now(connection)} - :quiet
               OR {sql_is_left_by_dead(connection)})
          AND (NOT is_held OR :running_max > (
            SELECT count(*) FROM batches AS others
            WHERE others.account_id = batches.account_id AND others.{SQL_IS_RUNNING}))
        ORDER BY id LIMIT :count
        -- no account: the sweep works for all accounts
        """,
        quiet=int(quiet_seconds * SECOND),
        running_max=running_max,
        after_id=after_id,
        count=count,
    )
    return [_parse_batch(row) for row in rows]


def find_chunks(
    connection: Connection, after: tuple[int, int], count: int, *, quiet_seconds: float
) -> list[WaitingChunk]:
    """Return chunks of all accounts that wait, by the key of their batch and their number."""
    rows = run(
        connection,
        f"""
        SELECT {_CHUNK_COLUMNS}
        FROM chunks JOIN batches ON batches.id = batch_id
        WHERE status = 'started' AND state = 'waiting'
          AND (batch_id, number) > (:after_batch_id, :after_number)
          AND (not_before IS NULL OR not_before < {sql_now(connection)} - :quiet)
          AND (chunks.claimed_by IS NULL AND touched_at < {sql_now(connection)} - :quiet
               OR {sql_is_left_by_dead(connection, "chunks")})
        ORDER BY batch_id, number LIMIT :count
        -- no account: the sweep works for all accounts
        """,
        quiet=int(quiet_seconds * SECOND),
        after_batch_id=after[0],
        after_number=after[1],
        count=count,
    )
    return [WaitingChunk(*row) for row in rows]


def find_deliveries(
    connection: Connection,
    after: tuple[Microseconds, int],
    count: int,
    *,
    quiet_seconds: float,
) -> list[WaitingDelivery]:
    """Return deliveries of all accounts whose next attempt is overdue, the oldest first."""
    due_before = f"{sql_now(connection)} - :quiet"
    rows = run(
        connection,
        f"""
        SELECT next_attempt_at, id, hand_over_count FROM deliveries
        WHERE state = 'pending' AND next_attempt_at < {due_before} AND touched_at < {due_before}
          AND (next_attempt_at, id) > (:after_moment, :after_id)
        ORDER BY next_attempt_at, id LIMIT :count
        -- no account: the sweep works for all accounts
        """,
        quiet=int(quiet_seconds * SECOND),
        after_moment=after[0],
        after_id=after[1],
        count=count,
    )
    return [WaitingDelivery(*row) for row in rows]


def find_claimed_batches(connection: Connection, worker: str) -> list[WaitingBatch]:
    """Return batches of all accounts that a worker has claimed."""
    rows = run(
        connection,
        f"""
        SELECT {_BATCH_COLUMNS} FROM batches
        WHERE claimed_by = :worker AND status IN ('preprocessing', 'finalizing')
        -- no account: steps work for all accounts
        """,
        worker=worker,
    )
    return [_parse_batch(row) for row in rows]


def find_claimed_chunks(connection: Connection, worker: str) -> list[WaitingChunk]:
    """Return chunks of all accounts that a worker has claimed."""
    rows = run(
        connection,
        f"""
        SELECT {_CHUNK_COLUMNS}
        FROM chunks JOIN batches ON batches.id = batch_id
        WHERE chunks.claimed_by = :worker AND state = 'waiting' AND status = 'started'
        -- no account: steps work for all accounts
        """,
        worker=worker,
    )
    return [WaitingChunk(*row) for row in rows]


def _parse_batch(row: Any) -> WaitingBatch:  # noqa: ANN401 - a database row
    return WaitingBatch(row.id, Status(row.status), *row[2:])
