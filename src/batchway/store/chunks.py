"""Chunks: each is `waiting`, then `done`, and every change is one guarded statement.

Only the worker that has claimed a chunk can change it (`claims.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from batchway.kit.clock import SECOND
from batchway.model.batch import Batch, Chunk, ChunkState
from batchway.model.positions import Positions
from batchway.store.claims import sql_is_free
from batchway.store.database import insert_many, run, sql_now
from batchway.store.hand_overs import EARLY_MAX

_COLUMNS = "number, first_position, operation_count, positions, continuation, next_page, target"
_IS_CLAIMED = """batch_id = :batch_id AND number = :number AND state = 'waiting'
          AND claimed_by = :worker"""


@dataclass(frozen=True, slots=True)
class ClaimedChunk:
    """A chunk that this worker has claimed, and which attempt to execute it this is, from 1."""

    chunk: Chunk
    attempt_number: int


def insert(connection: Connection, batch: Batch, new: Sequence[Chunk]) -> None:
    """Insert chunks of a batch; those that exist stay unchanged."""
    insert_many(
        connection,
        "chunks",
        (
            "batch_id",
            "number",
            "account_id",
            "first_position",
            "operation_count",
            "positions",
            "state",
            "continuation",
            "next_page",
            "target",
        ),
        [
            (
                batch.id,
                chunk.number,
                batch.account_id,
                chunk.positions.first,
                len(chunk.positions),
                _format_gaps(chunk.positions),
                ChunkState.WAITING,
                chunk.continuation,
                chunk.next_page,
                chunk.target,
            )
            for chunk in new
        ],
        ignore_existing=True,
    )


def postpone(
    connection: Connection, batch: Batch, chunk: Chunk, seconds: float, reason: str
) -> None:
    """Make a new chunk, which no worker has claimed yet, wait before its first attempt."""
    run(
        connection,
        f"""
        UPDATE chunks SET not_before = {sql_now(connection)} + :span, reason = :reason
        WHERE batch_id = :batch_id AND account_id = :account_id AND number = :number
          AND state = 'waiting' AND claimed_by IS NULL
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        number=chunk.number,
        span=int(seconds * SECOND),
        reason=reason,
    )


def end_waits(connection: Connection, batch: Batch) -> list[Chunk]:
    """End the waits of postponed chunks of a batch; return these chunks."""
    rows = run(
        connection,
        f"""
        UPDATE chunks SET not_before = NULL, reason = NULL
        WHERE batch_id = :batch_id AND account_id = :account_id
          AND state = 'waiting' AND not_before IS NOT NULL
        RETURNING {_COLUMNS}
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
    )
    return [_parse_chunk(row) for row in rows]


def claim(connection: Connection, batch: Batch, number: int, worker: str) -> ClaimedChunk | None:
    """Claim a waiting chunk and count the attempt.

    Return None if the chunk is done or postponed, or if another living worker has claimed it.
    """
    row = run(
        connection,
        f"""
        UPDATE chunks
        SET attempt_count = attempt_count + 1, claimed_by = :worker,
            not_before = NULL, reason = NULL
        WHERE batch_id = :batch_id AND account_id = :account_id AND number = :number
          AND state = 'waiting' AND {sql_is_free(connection)}
          AND (not_before IS NULL OR not_before <= {sql_now(connection)} + :early)
        RETURNING {_COLUMNS}, attempt_count
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        number=number,
        worker=worker,
        early=EARLY_MAX,
    ).one_or_none()
    return None if row is None else _parse_claimed_chunk(row)


def find_claimed(
    connection: Connection, batch: Batch, number: int, worker: str
) -> ClaimedChunk | None:
    """Return a chunk that this worker has claimed; None if the claim has ended."""
    row = run(
        connection,
        f"""
        SELECT {_COLUMNS}, attempt_count FROM chunks
        WHERE account_id = :account_id AND {_IS_CLAIMED}
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        number=number,
        worker=worker,
    ).one_or_none()
    return None if row is None else _parse_claimed_chunk(row)


def keep_positions(
    connection: Connection, batch: Batch, chunk: Chunk, positions: Positions, worker: str
) -> bool:
    """Reduce a claimed chunk to these positions and reset its attempts; it is `done` without any.

    Call it in the transaction that records the results of the other positions, or that moves them
    to another chunk. Return False if this worker's claim has ended.
    """
    reduced = run(
        connection,
        f"""
        UPDATE chunks
        SET first_position = :first_position, operation_count = :operation_count,
            positions = :positions, attempt_count = 0, state = :state, claimed_by = :claimed_by
        WHERE account_id = :account_id AND {_IS_CLAIMED}
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        number=chunk.number,
        worker=worker,
        first_position=positions.first,
        operation_count=len(positions),
        positions=_format_gaps(positions),
        state=ChunkState.WAITING if positions else ChunkState.DONE,
        claimed_by=worker if positions else None,
    )
    return bool(reduced.rowcount)


def advance(  # noqa: PLR0913 - the chunk, its progress, and its worker
    connection: Connection,
    batch: Batch,
    chunk: Chunk,
    page_count: int,
    continuation: str | None,
    worker: str,
) -> bool:
    """Advance a claimed chunk by some pages and reset its attempts; it is `done` after the last.

    Return False if this worker's claim has ended.
    """
    is_done = continuation is None
    advanced = run(
        connection,
        f"""
        UPDATE chunks
        SET next_page = next_page + :page_count, continuation = :continuation,
            attempt_count = 0, state = :state, claimed_by = :claimed_by
        WHERE account_id = :account_id AND {_IS_CLAIMED}
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        number=chunk.number,
        worker=worker,
        page_count=page_count,
        continuation=continuation,
        state=ChunkState.DONE if is_done else ChunkState.WAITING,
        claimed_by=None if is_done else worker,
    )
    return bool(advanced.rowcount)


def find_waiting(connection: Connection, batch: Batch) -> list[Chunk]:
    """Return the chunks that are not done, in order."""
    rows = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM chunks
        WHERE batch_id = :batch_id AND account_id = :account_id AND state = 'waiting'
        ORDER BY number
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
    )
    return [_parse_chunk(row) for row in rows]


def find_reason(connection: Connection, batch: Batch) -> str | None:
    """Return why the postponed chunk that is due next waits; None if no chunk is postponed."""
    reason: str | None = run(
        connection,
        """
        SELECT reason FROM chunks
        WHERE batch_id = :batch_id AND account_id = :account_id
          AND state = 'waiting' AND not_before IS NOT NULL
        ORDER BY not_before LIMIT 1
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
    ).scalar_one_or_none()
    return reason


def _format_gaps(positions: Positions) -> str | None:
    """Return the text of positions with gaps; None for consecutive ones, stored as two numbers."""
    return None if positions.is_consecutive else str(positions)


def _parse_claimed_chunk(row: Any) -> ClaimedChunk:  # noqa: ANN401 - a database row
    return ClaimedChunk(_parse_chunk(row), row.attempt_count)


def _parse_chunk(row: Any) -> Chunk:  # noqa: ANN401 - a database row
    if row.positions is None:
        positions = Positions.span(row.first_position, row.operation_count)
    else:
        positions = Positions.parse(row.positions)
    return Chunk(row.number, positions, row.continuation, row.next_page, row.target)
