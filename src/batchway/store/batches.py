"""Batches: every change of status is one guarded statement; its function returns its success."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from batchway.kit.clock import Microseconds
from batchway.kit.ids import new_public_id
from batchway.model.batch import Batch, Status
from batchway.store import deliveries
from batchway.store.admission import SQL_IS_RUNNING
from batchway.store.claims import sql_is_free
from batchway.store.database import bind_values, run, sql_in, sql_now

_COLUMNS = """id, account_id, public_id, api_key_id, base_url, status, total_operations,
    finished_operations, errored_operations, chunk_count, chunks_left, submitted_at,
    completed_at, archive_key, is_held, operation_count, is_cancelling,
    layout AS format_name, retry_of, began_at, target, client_address"""
# The days for which results are kept count from the POST; an unfinished batch does not expire.
_VISIBLE = """status <> 'deleted'
          AND (status <> 'finished' OR submitted_at > :since)"""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a committed part of a chunk adds to the counters of its batch.

    `found` counts the further pages of a GET, which are added to the operations of the batch;
    `new_chunks` counts the chunks that are added to it.
    """

    finished: int
    errored: int
    found: int = 0
    new_chunks: int = 0
    is_chunk_done: bool = True


@dataclass(frozen=True, slots=True)
class ChunkCounts:
    """How many chunks a batch has, and how many of them are not done."""

    count: int
    left: int


def insert(  # noqa: PLR0913 - one argument a column
    connection: Connection,
    *,
    account_id: int,
    api_key_id: int,
    base_url: str,
    client_address: str,
    operation_count: int,
    format_name: str,
    retry_of: int | None,
    target: str | None,
    now: Microseconds,
) -> Batch:
    """Insert a pending batch with a new public id, and return it."""
    while True:
        row = run(
            connection,
            f"""
            INSERT INTO batches (account_id, public_id, api_key_id, base_url, status,
                                 operation_count, total_operations, layout, retry_of,
                                 target, client_address, submitted_at, touched_at)
            VALUES (:account_id, :public_id, :api_key_id, :base_url, 'pending',
                    :operation_count, :operation_count, :format_name, :retry_of, :target,
                    :client_address, :now, {sql_now(connection)})
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
            client_address=client_address,
            now=now,
        ).one_or_none()
        if row is not None:
            return _parse_row(row)


def find(
    connection: Connection, account_id: int, public_id: str, since: Microseconds
) -> Batch | None:
    """Return a batch that its account can see, or None.

    It is not deleted, and if it is finished it was submitted after `since`.
    """
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
    return None if row is None else _parse_row(row)


def find_by_public_id(connection: Connection, public_id: str, since: Microseconds) -> Batch | None:
    """Return the batch of a result link, or None. Who has the link needs no API key."""
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
    return None if row is None else _parse_row(row)


def find_public_ids(
    connection: Connection, account_id: int, batch_ids: Iterable[int]
) -> dict[int, str]:
    """Return the public ids of batches of an account, by their keys."""
    rows = run(
        connection,
        f"""
        SELECT id, public_id FROM batches
        WHERE account_id = :account_id AND id {sql_in(connection, "ids")}
        """,
        account_id=account_id,
        ids=bind_values(connection, batch_ids),
    )
    return {row.id: row.public_id for row in rows}


def select_existing(connection: Connection, public_ids: Iterable[str]) -> set[str]:
    """Return those of the public ids that a batch has, in any status."""
    rows = run(
        connection,
        f"""
        SELECT public_id FROM batches WHERE public_id {sql_in(connection, "public_ids")}
        -- no account: the sweep works for all accounts
        """,
        public_ids=bind_values(connection, public_ids),
    )
    return set(rows.scalars())


def find_page(
    connection: Connection, account_id: int, count: int, offset: int, since: Microseconds
) -> tuple[list[Batch], int]:
    """Return one page of the batches that `find` finds, newest first, and how many there are."""
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
    return [_parse_row(row) for row in rows], total


def get(connection: Connection, batch_id: int) -> Batch | None:
    """Return a batch by its internal key, or None. For the steps."""
    row = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM batches WHERE id = :batch_id
        -- no account: steps work for all accounts
        """,
        batch_id=batch_id,
    ).one_or_none()
    return None if row is None else _parse_row(row)


def begin(
    connection: Connection, batch: Batch, running_max: int, worker: str, now: Microseconds
) -> bool:
    """`pending → preprocessing`, claimed; False if `running_max` batches of the account run."""
    begun = run(
        connection,
        f"""
        UPDATE batches
        SET status = 'preprocessing', claimed_by = :worker, began_at = :now,
            touched_at = {sql_now(connection)}
        WHERE id = :batch_id AND account_id = :account_id AND status = 'pending'
          AND (is_cancelling OR :running_max > (
            SELECT count(*) FROM batches
            WHERE account_id = :account_id AND {SQL_IS_RUNNING}))
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        running_max=running_max,
        worker=worker,
        now=now,
    )
    return bool(begun.rowcount)


def claim(connection: Connection, batch_id: int, status: Status, worker: str) -> bool:
    """Claim the step that a batch in this status waits for.

    Return False if the batch has another status, or if another living worker has claimed it.
    """
    claimed = run(
        connection,
        f"""
        UPDATE batches SET claimed_by = :worker
        WHERE id = :batch_id AND status = :status AND {sql_is_free(connection)}
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
    """Return a batch in this status if this worker has claimed it, otherwise None."""
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
    return None if row is None else _parse_row(row)


def start(connection: Connection, batch: Batch, chunk_count: int, worker: str) -> bool:
    """`preprocessing → started`, with the number of its chunks; the claim ends."""
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


def record(connection: Connection, batch: Batch, progress: Progress) -> ChunkCounts | None:
    """Count results; None if the batch has ended or was cancelled since `batch` was read."""
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
    return None if row is None else ChunkCounts(*row)


def add_chunk(connection: Connection, batch: Batch) -> int | None:
    """Count one more chunk and return its number; None if the batch does not run."""
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
    """`started → finalizing` if all chunks are done; claimed if there is a `worker`."""
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


def finish(  # noqa: PLR0913 - the batch, its archive, its worker and the time
    connection: Connection,
    batch: Batch,
    archive_key: str | None,
    archive_bytes: int,
    worker: str,
    now: Microseconds,
) -> bool:
    """`finalizing → finished`, with the archive that holds the results, if there is one.

    Return False if this worker has not claimed the batch, or if its claim has ended.
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
    """Run no more operations of a batch; it still ends `finished`.

    Return False if the batch is being cancelled already, or if all its operations have results.
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
    """Any status → `deleted`: hidden from its owner at once; the sweep removes its rows."""
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


def find_deleted(connection: Connection, count: int) -> list[Batch]:
    """Return batches of all accounts that are deleted and whose rows still exist."""
    rows = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM batches WHERE status = 'deleted' ORDER BY id LIMIT :count
        -- no account: the sweep works for all accounts
        """,
        count=count,
    )
    return [_parse_row(row) for row in rows]


def find_expired(connection: Connection, since: Microseconds, count: int) -> list[Batch]:
    """Return finished batches of all accounts that were submitted before a moment, oldest first."""
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
    return [_parse_row(row) for row in rows]


def remove(connection: Connection, batch: Batch) -> None:
    """Delete the rows of a batch in all tables."""
    deliveries.remove_by_batch(connection, batch.account_id, batch.id)
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


def _parse_row(row: Any) -> Batch:  # noqa: ANN401 - a database row
    values = row._asdict()
    return Batch(
        **values
        | {
            "status": Status(values["status"]),
            "is_held": bool(values["is_held"]),
            "is_cancelling": bool(values["is_cancelling"]),
        }
    )
