"""Batches: every change of status is one guarded statement that tells whether it took place."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from batchway.kit.clock import Microseconds
from batchway.kit.ids import new_public_id
from batchway.model.batch import Batch, Status
from batchway.store import deliveries
from batchway.store.claims import is_free
from batchway.store.database import any_of, run, sql_now, values_for

_COLUMNS = """id, account_id, public_id, api_key_id, base_url, status, total_operations,
    finished_operations, errored_operations, chunk_count, chunks_left, submitted_at,
    completed_at, archive_key, is_held, operation_count, is_cancelling,
    layout AS format_name, retry_of, began_at, target"""
# Seven days run from the POST; a batch that is not finished does not expire.
_VISIBLE = """status <> 'deleted'
          AND (status <> 'finished' OR submitted_at > :since)"""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a committed part of a chunk adds to the counters of its batch.

    `found` are pages beyond the operations that were submitted, `new_chunks` what is yet to be
    done of them and of a chunk that was answered in part.
    """

    finished: int
    errored: int
    found: int = 0
    new_chunks: int = 0
    is_chunk_done: bool = True


@dataclass(frozen=True, slots=True)
class Chunks:
    """How many chunks a batch has, and how many of them are not done."""

    count: int
    left: int


def insert(  # noqa: PLR0913 - one argument a column
    connection: Connection,
    *,
    account_id: int,
    api_key_id: int,
    base_url: str,
    operation_count: int,
    format_name: str,
    retry_of: int | None,
    target: str | None,
    now: Microseconds,
) -> Batch:
    """A new pending batch under a public id of its own."""
    while True:
        row = run(
            connection,
            f"""
            INSERT INTO batches (account_id, public_id, api_key_id, base_url, status,
                                 operation_count, total_operations, layout, retry_of,
                                 target, submitted_at, touched_at)
            VALUES (:account_id, :public_id, :api_key_id, :base_url, 'pending',
                    :operation_count, :operation_count, :format_name, :retry_of, :target, :now,
                    {sql_now(connection)})
            ON CONFLICT (public_id) DO NOTHING
            RETURNING {_COLUMNS}
            """,
            account_id=account_id,
            public_id=new_public_id(),
            api_key_id=api_key_id,
            base_url=base_url,
            operation_count=operation_count,
            format_name=format_name,
            retry_of=retry_of,
            target=target,
            now=now,
        ).one_or_none()
        if row is not None:
            return _batch(row)


def find(
    connection: Connection, account_id: int, public_id: str, since: Microseconds
) -> Batch | None:
    """An account's batch that is not deleted and was submitted after a moment."""
    row = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM batches
        WHERE account_id = :account_id AND public_id = :public_id AND {_VISIBLE}
        """,
        account_id=account_id,
        public_id=public_id,
        since=since,
    ).one_or_none()
    return None if row is None else _batch(row)


def find_by_public_id(connection: Connection, public_id: str, since: Microseconds) -> Batch | None:
    """The batch of a result link, which stands for the account's consent by itself."""
    row = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM batches
        WHERE public_id = :public_id AND {_VISIBLE}
        -- no account: the link is signed for this batch
        """,
        public_id=public_id,
        since=since,
    ).one_or_none()
    return None if row is None else _batch(row)


def public_ids(connection: Connection, account_id: int, batch_ids: Iterable[int]) -> dict[int, str]:
    """The public ids of an account's batches, by their keys."""
    rows = run(
        connection,
        f"""
        SELECT id, public_id FROM batches
        WHERE account_id = :account_id AND id {any_of(connection, "ids")}
        """,
        account_id=account_id,
        ids=values_for(connection, batch_ids),
    )
    return {row.id: row.public_id for row in rows}


def exists(connection: Connection, public_id: str) -> bool:
    """Whether there is a batch with this public id, in any state."""
    found = run(
        connection,
        """
        SELECT 1 FROM batches WHERE public_id = :public_id
        -- no account: the sweep works for all accounts
        """,
        public_id=public_id,
    ).scalar()
    return found is not None


def page_of(
    connection: Connection, account_id: int, count: int, offset: int, since: Microseconds
) -> tuple[list[Batch], int]:
    """One page of the batches that `find` finds, newest first, and how many there are."""
    values: dict[str, Any] = {"account_id": account_id, "since": since}
    total = run(
        connection,
        f"SELECT count(*) FROM batches WHERE account_id = :account_id AND {_VISIBLE}",
        **values,
    ).scalar_one()
    rows = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM batches
        WHERE account_id = :account_id AND {_VISIBLE}
        ORDER BY id DESC LIMIT :count OFFSET :offset
        """,
        count=count,
        offset=offset,
        **values,
    )
    return [_batch(row) for row in rows], total


def get(connection: Connection, batch_id: int) -> Batch | None:
    """A batch by its internal key, for the steps."""
    row = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM batches WHERE id = :batch_id
        -- no account: steps work for all accounts
        """,
        batch_id=batch_id,
    ).one_or_none()
    return None if row is None else _batch(row)


def begin(
    connection: Connection, batch: Batch, running_max: int, worker: str, now: Microseconds
) -> bool:
    """`pending → preprocessing`, claimed, unless as many batches of the account run as may."""
    begun = run(
        connection,
        f"""
        UPDATE batches
        SET status = 'preprocessing', claimed_by = :worker, began_at = :now,
            touched_at = {sql_now(connection)}
        WHERE id = :batch_id AND account_id = :account_id AND status = 'pending'
          AND (is_cancelling OR :running_max > (
            SELECT count(*) FROM batches
            WHERE account_id = :account_id
              AND status IN ('preprocessing', 'started', 'finalizing')))
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        running_max=running_max,
        worker=worker,
        now=now,
    )
    return bool(begun.rowcount)


def claim(connection: Connection, batch_id: int, status: Status, worker: str) -> bool:
    """Claim the step that a batch in this status waits for; False if it is over, or taken."""
    claimed = run(
        connection,
        f"""
        UPDATE batches SET claimed_by = :worker
        WHERE id = :batch_id AND status = :status AND {is_free(connection)}
        -- no account: steps work for all accounts
        """,
        batch_id=batch_id,
        status=status,
        worker=worker,
    )
    return bool(claimed.rowcount)


def find_claimed(
    connection: Connection, batch_id: int, status: Status, worker: str
) -> Batch | None:
    """The batch whose step in this status is claimed by this worker."""
    row = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM batches
        WHERE id = :batch_id AND status = :status AND claimed_by = :worker
        -- no account: steps work for all accounts
        """,
        batch_id=batch_id,
        status=status,
        worker=worker,
    ).one_or_none()
    return None if row is None else _batch(row)


def start(connection: Connection, batch: Batch, chunk_count: int, worker: str) -> bool:
    """`preprocessing → started`, with the number of chunks that are to be done; released."""
    started = run(
        connection,
        f"""
        UPDATE batches
        SET status = 'started', chunk_count = :chunks, chunks_left = :chunks, claimed_by = NULL,
            touched_at = {sql_now(connection)}
        WHERE id = :batch_id AND account_id = :account_id AND status = 'preprocessing'
          AND claimed_by = :worker
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        chunks=chunk_count,
        worker=worker,
    )
    return bool(started.rowcount)


def record(connection: Connection, batch: Batch, progress: Progress) -> Chunks | None:
    """Count results; None if the batch does not run as it did when they were worked out."""
    row = run(
        connection,
        f"""
        UPDATE batches
        SET finished_operations = finished_operations + :finished,
            errored_operations = errored_operations + :errored,
            total_operations = total_operations + :found,
            chunk_count = chunk_count + :new_chunks,
            chunks_left = chunks_left + :new_chunks - :done_chunks,
            touched_at = {sql_now(connection)}
        WHERE id = :batch_id AND account_id = :account_id AND status = 'started'
          AND is_cancelling = :is_cancelling
        RETURNING chunk_count, chunks_left
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        is_cancelling=batch.is_cancelling,
        finished=progress.finished,
        errored=progress.errored,
        found=progress.found,
        new_chunks=progress.new_chunks,
        done_chunks=int(progress.is_chunk_done),
    ).one_or_none()
    return None if row is None else Chunks(*row)


def add_chunk(connection: Connection, batch: Batch) -> int | None:
    """Room for one more chunk: its number, or None if the batch does not run."""
    count = run(
        connection,
        f"""
        UPDATE batches
        SET chunk_count = chunk_count + 1, chunks_left = chunks_left + 1,
            touched_at = {sql_now(connection)}
        WHERE id = :batch_id AND account_id = :account_id AND status = 'started'
        RETURNING chunk_count
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
    ).scalar_one_or_none()
    return None if count is None else int(count) - 1


def begin_finalizing(connection: Connection, batch: Batch, worker: str | None) -> bool:
    """`started → finalizing`, once no chunk is left; claimed by a worker that finalizes at once."""
    moved = run(
        connection,
        f"""
        UPDATE batches
        SET status = 'finalizing', claimed_by = :worker, touched_at = {sql_now(connection)}
        WHERE id = :batch_id AND account_id = :account_id
          AND status = 'started' AND chunks_left = 0
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        worker=worker,
    )
    return bool(moved.rowcount)


def finish(  # noqa: PLR0913 - the batch, its archive, who made it and when
    connection: Connection,
    batch: Batch,
    archive_key: str | None,
    archive_bytes: int,
    worker: str,
    now: Microseconds,
) -> bool:
    """`finalizing → finished`, with the archive that holds the results, if there is one.

    False if this worker has not claimed it, or no longer.
    """
    finished = run(
        connection,
        f"""
        UPDATE batches
        SET status = 'finished', claimed_by = NULL, completed_at = :now,
            archive_key = :archive_key, archive_bytes = :archive_bytes,
            touched_at = {sql_now(connection)}
        WHERE id = :batch_id AND account_id = :account_id AND status = 'finalizing'
          AND claimed_by = :worker
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        worker=worker,
        archive_key=archive_key,
        archive_bytes=archive_bytes,
        now=now,
    )
    return bool(finished.rowcount)


def begin_cancelling(connection: Connection, batch: Batch) -> bool:
    """Run no more operations of a batch whose results are not complete; it still ends `finished`.

    False if it is being cancelled already, or has no results left to produce.
    """
    begun = run(
        connection,
        f"""
        UPDATE batches
        SET is_cancelling = TRUE, is_held = FALSE, touched_at = {sql_now(connection)}
        WHERE id = :batch_id AND account_id = :account_id AND NOT is_cancelling
          AND status IN ('pending', 'preprocessing', 'started')
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
    )
    return bool(begun.rowcount)


def mark_deleted(connection: Connection, batch: Batch) -> bool:
    """Any status → `deleted`: gone for its owner; the sweep removes what it left."""
    deleted = run(
        connection,
        f"""
        UPDATE batches SET status = 'deleted', touched_at = {sql_now(connection)}
        WHERE id = :batch_id AND account_id = :account_id AND status <> 'deleted'
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
    )
    return bool(deleted.rowcount)


def deleted(connection: Connection, count: int) -> list[Batch]:
    """Batches of all accounts that their owners have deleted, and whose rows are still there."""
    rows = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM batches WHERE status = 'deleted' ORDER BY id LIMIT :count
        -- no account: the sweep works for all accounts
        """,
        count=count,
    )
    return [_batch(row) for row in rows]


def expired(connection: Connection, since: Microseconds, count: int) -> list[Batch]:
    """Finished batches of all accounts that were submitted before a moment, oldest first."""
    rows = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM batches
        WHERE status = 'finished' AND submitted_at <= :since
        ORDER BY submitted_at LIMIT :count
        -- no account: the sweep works for all accounts
        """,
        since=since,
        count=count,
    )
    return [_batch(row) for row in rows]


def remove(connection: Connection, batch: Batch) -> None:
    """Delete a batch and all that belongs to it."""
    deliveries.remove_of_batch(connection, batch.account_id, batch.id)
    for table in ("segment_data", "segments", "chunks", "batch_inputs"):
        run(
            connection,
            f"DELETE FROM {table} WHERE batch_id = :batch_id AND account_id = :account_id",
            batch_id=batch.id,
            account_id=batch.account_id,
        )
    run(
        connection,
        "DELETE FROM batches WHERE id = :batch_id AND account_id = :account_id",
        batch_id=batch.id,
        account_id=batch.account_id,
    )


def _batch(row: Any) -> Batch:  # noqa: ANN401 - a database row
    values = row._asdict()
    return Batch(
        **values
        | {
            "status": Status(values["status"]),
            "is_held": bool(values["is_held"]),
            "is_cancelling": bool(values["is_cancelling"]),
        }
    )
