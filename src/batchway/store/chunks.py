"""Chunks: `waiting`, then `done`; a change is one guarded statement."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from batchway.model.batch import Batch, Chunk
from batchway.store.database import insert_many, run


@dataclass(frozen=True, slots=True)
class Attempt:
    """A chunk that is about to be executed for the `number`-th time."""

    chunk: Chunk
    number: int


def insert(connection: Connection, batch: Batch, new: Sequence[Chunk]) -> None:
    """Store the chunks of a batch; those that are there already stay as they are."""
    insert_many(
        connection,
        "chunks",
        (
            "batch_id",
            "number",
            "account_id",
            "first_position",
            "operation_count",
            "state",
            "continuation",
            "next_page",
        ),
        [
            (
                batch.id,
                chunk.number,
                batch.account_id,
                chunk.first_position,
                chunk.operation_count,
                "waiting",
                chunk.continuation,
                chunk.next_page,
            )
            for chunk in new
        ],
        ignore_existing=True,
    )


def attempt(connection: Connection, batch: Batch, number: int) -> Attempt | None:
    """Count an attempt at a waiting chunk; None if it is done or the batch does not run."""
    row = run(
        connection,
        """
        UPDATE chunks SET attempt_count = attempt_count + 1
        WHERE batch_id = :batch_id AND account_id = :account_id
          AND number = :number AND state = 'waiting'
        RETURNING number, first_position, operation_count, continuation, next_page, attempt_count
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        number=number,
    ).one_or_none()
    if row is None:
        return None
    *chunk, attempt_count = row
    return Attempt(Chunk(*chunk), attempt_count)


def finish(connection: Connection, batch: Batch, chunk: Chunk) -> bool:
    """`waiting → done`, for a chunk that still has the size it was executed with."""
    done = run(
        connection,
        """
        UPDATE chunks SET state = 'done'
        WHERE batch_id = :batch_id AND account_id = :account_id
          AND number = :number AND state = 'waiting' AND operation_count = :operation_count
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        number=chunk.number,
        operation_count=chunk.operation_count,
    )
    return bool(done.rowcount)


def cut(connection: Connection, batch: Batch, chunk: Chunk, operation_count: int) -> None:
    """Keep only the first operations of a chunk that is `finish`ed in this transaction."""
    run(
        connection,
        """
        UPDATE chunks SET operation_count = :operation_count
        WHERE batch_id = :batch_id AND account_id = :account_id AND number = :number
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        number=chunk.number,
        operation_count=operation_count,
    )


def advance(
    connection: Connection, batch: Batch, chunk: Chunk, page_count: int, continuation: str | None
) -> bool:
    """Move a chunk of pages on, with a clean record; it is `done` when no page is left."""
    advanced = run(
        connection,
        """
        UPDATE chunks
        SET next_page = next_page + :page_count, continuation = :continuation,
            state = :state, attempt_count = 0
        WHERE batch_id = :batch_id AND account_id = :account_id
          AND number = :number AND state = 'waiting' AND next_page = :next_page
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        number=chunk.number,
        next_page=chunk.next_page,
        page_count=page_count,
        continuation=continuation,
        state="done" if continuation is None else "waiting",
    )
    return bool(advanced.rowcount)


def shrink(connection: Connection, batch: Batch, chunk: Chunk, operation_count: int) -> bool:
    """Keep only the first operations of a waiting chunk, with a clean record."""
    shrunk = run(
        connection,
        """
        UPDATE chunks SET operation_count = :operation_count, attempt_count = 0
        WHERE batch_id = :batch_id AND account_id = :account_id
          AND number = :number AND state = 'waiting' AND operation_count = :before
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        number=chunk.number,
        operation_count=operation_count,
        before=chunk.operation_count,
    )
    return bool(shrunk.rowcount)


def waiting(connection: Connection, batch: Batch) -> list[int]:
    """The numbers of the chunks that are not done."""
    rows = run(
        connection,
        """
        SELECT number FROM chunks
        WHERE batch_id = :batch_id AND account_id = :account_id AND state = 'waiting'
        ORDER BY number
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
    )
    return list(rows.scalars())
