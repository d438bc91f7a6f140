"""Batches: every change of status is one guarded statement that tells whether it took place."""

from typing import Any

from sqlalchemy import Connection

from batchway.kit.clock import Microseconds
from batchway.kit.ids import public_id
from batchway.limits import result_days
from batchway.model.batch import Batch, Status
from batchway.store.database import run

_COLUMNS = """id, account_id, public_id, api_key_id, base_url, status, total_operations,
    finished_operations, errored_operations, chunk_count, chunks_left, submitted_at,
    completed_at, archive_key, is_held"""
_RESULT_SPAN: Microseconds = result_days * 24 * 60 * 60 * 1_000_000
# Seven days run from the POST; a batch that is not finished does not expire.
_VISIBLE = """status <> 'cancelled'
          AND (status <> 'finished' OR submitted_at > :now - :span)"""


def insert(  # noqa: PLR0913 - one argument a column
    connection: Connection,
    *,
    account_id: int,
    api_key_id: int,
    base_url: str,
    total_operations: int,
    now: Microseconds,
) -> Batch:
    """A new pending batch under a public id of its own."""
    while True:
        row = run(
            connection,
            f"""
            INSERT INTO batches (account_id, public_id, api_key_id, base_url, status,
                                 total_operations, submitted_at, touched_at)
            VALUES (:account_id, :public_id, :api_key_id, :base_url, 'pending',
                    :total_operations, :now, :now)
            ON CONFLICT (public_id) DO NOTHING
            RETURNING {_COLUMNS}
            """,
            account_id=account_id,
            public_id=public_id(),
            api_key_id=api_key_id,
            base_url=base_url,
            total_operations=total_operations,
            now=now,
        ).one_or_none()
        if row is not None:
            return _batch(row)


def find(
    connection: Connection, account_id: int, public_id: str, now: Microseconds
) -> Batch | None:
    """An account's batch that is neither deleted nor expired."""
    row = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM batches
        WHERE account_id = :account_id AND public_id = :public_id AND {_VISIBLE}
        """,
        account_id=account_id,
        public_id=public_id,
        now=now,
        span=_RESULT_SPAN,
    ).one_or_none()
    return None if row is None else _batch(row)


def find_by_public_id(connection: Connection, public_id: str, now: Microseconds) -> Batch | None:
    """The batch of a result link, which stands for the account's consent by itself."""
    row = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM batches
        WHERE public_id = :public_id AND {_VISIBLE}
        -- no account: the link is signed for this batch
        """,
        public_id=public_id,
        now=now,
        span=_RESULT_SPAN,
    ).one_or_none()
    return None if row is None else _batch(row)


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
    connection: Connection, account_id: int, count: int, offset: int, now: Microseconds
) -> tuple[list[Batch], int]:
    """One page of an account's batches, newest first, and how many there are."""
    values: dict[str, Any] = {"account_id": account_id, "now": now, "span": _RESULT_SPAN}
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


def count_pending(connection: Connection, account_id: int) -> int:
    """How many batches of an account have not begun."""
    return int(
        run(
            connection,
            "SELECT count(*) FROM batches WHERE account_id = :account_id AND status = 'pending'",
            account_id=account_id,
        ).scalar_one()
    )


def count_running(connection: Connection, account_id: int) -> int:
    """How many batches of an account have begun and are not over."""
    return int(
        run(
            connection,
            """
            SELECT count(*) FROM batches
            WHERE account_id = :account_id
              AND status IN ('preprocessing', 'started', 'finalizing')
            """,
            account_id=account_id,
        ).scalar_one()
    )


def begin(connection: Connection, batch: Batch, running_max: int, now: Microseconds) -> bool:
    """`pending → preprocessing`, unless as many batches of the account run as may."""
    begun = run(
        connection,
        """
        UPDATE batches SET status = 'preprocessing', touched_at = :now
        WHERE id = :batch_id AND account_id = :account_id AND status = 'pending'
          AND :running_max > (
            SELECT count(*) FROM batches
            WHERE account_id = :account_id
              AND status IN ('preprocessing', 'started', 'finalizing'))
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        running_max=running_max,
        now=now,
    )
    return bool(begun.rowcount)


def start(connection: Connection, batch: Batch, chunk_count: int, now: Microseconds) -> bool:
    """`preprocessing → started`, with the number of chunks that are to be done."""
    started = run(
        connection,
        """
        UPDATE batches
        SET status = 'started', chunk_count = :chunks, chunks_left = :chunks, touched_at = :now
        WHERE id = :batch_id AND account_id = :account_id AND status = 'preprocessing'
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        chunks=chunk_count,
        now=now,
    )
    return bool(started.rowcount)


def record_chunk(
    connection: Connection,
    batch: Batch,
    operation_count: int,
    errored_count: int,
    now: Microseconds,
) -> int | None:
    """Count a chunk's results; the number of chunks left, or None if the batch does not run."""
    left = run(
        connection,
        """
        UPDATE batches
        SET finished_operations = finished_operations + :operations,
            errored_operations = errored_operations + :errored,
            chunks_left = chunks_left - 1, touched_at = :now
        WHERE id = :batch_id AND account_id = :account_id AND status = 'started'
        RETURNING chunks_left
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        operations=operation_count,
        errored=errored_count,
        now=now,
    ).scalar_one_or_none()
    return None if left is None else int(left)


def add_chunk(connection: Connection, batch: Batch, now: Microseconds) -> int | None:
    """Room for one more chunk: its number, or None if the batch does not run."""
    count = run(
        connection,
        """
        UPDATE batches
        SET chunk_count = chunk_count + 1, chunks_left = chunks_left + 1, touched_at = :now
        WHERE id = :batch_id AND account_id = :account_id AND status = 'started'
        RETURNING chunk_count
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        now=now,
    ).scalar_one_or_none()
    return None if count is None else int(count) - 1


def begin_finalizing(connection: Connection, batch: Batch, now: Microseconds) -> bool:
    """`started → finalizing`, once no chunk is left."""
    moved = run(
        connection,
        """
        UPDATE batches SET status = 'finalizing', touched_at = :now
        WHERE id = :batch_id AND account_id = :account_id
          AND status = 'started' AND chunks_left = 0
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        now=now,
    )
    return bool(moved.rowcount)


def finish(
    connection: Connection,
    batch: Batch,
    archive_key: str | None,
    archive_bytes: int,
    now: Microseconds,
) -> bool:
    """`finalizing → finished`, with the archive that holds the results, if there is one."""
    finished = run(
        connection,
        """
        UPDATE batches
        SET status = 'finished', completed_at = :now, touched_at = :now,
            archive_key = :archive_key, archive_bytes = :archive_bytes
        WHERE id = :batch_id AND account_id = :account_id AND status = 'finalizing'
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        archive_key=archive_key,
        archive_bytes=archive_bytes,
        now=now,
    )
    return bool(finished.rowcount)


def cancel(connection: Connection, batch: Batch, now: Microseconds) -> bool:
    """Any status → `cancelled`: gone for its owner; the sweep removes what it left."""
    cancelled = run(
        connection,
        """
        UPDATE batches SET status = 'cancelled', touched_at = :now
        WHERE id = :batch_id AND account_id = :account_id AND status <> 'cancelled'
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        now=now,
    )
    return bool(cancelled.rowcount)


def hold(connection: Connection, batch: Batch) -> None:
    """Note that a pending batch was turned away, because as many run as may."""
    run(
        connection,
        """
        UPDATE batches SET is_held = TRUE
        WHERE id = :batch_id AND account_id = :account_id AND status = 'pending'
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
    )


def release_held(connection: Connection, account_id: int) -> Batch | None:
    """The oldest pending batch of an account that was turned away; it is so no longer."""
    row = run(
        connection,
        f"""
        UPDATE batches SET is_held = FALSE
        WHERE account_id = :account_id AND id = (
            SELECT min(id) FROM batches
            WHERE account_id = :account_id AND status = 'pending' AND is_held)
        RETURNING {_COLUMNS}
        """,
        account_id=account_id,
    ).one_or_none()
    return None if row is None else _batch(row)


def unfinished(
    connection: Connection, untouched_since: Microseconds, after_id: int, count: int
) -> list[Batch]:
    """Batches of all accounts on which nothing has happened lately, by key."""
    rows = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM batches
        WHERE status IN ('pending', 'preprocessing', 'started', 'finalizing')
          AND touched_at < :untouched_since AND id > :after_id
        ORDER BY id LIMIT :count
        -- no account: the sweep works for all accounts
        """,
        untouched_since=untouched_since,
        after_id=after_id,
        count=count,
    )
    return [_batch(row) for row in rows]


def disposable(connection: Connection, now: Microseconds, count: int) -> list[Batch]:
    """Batches whose rows and archive are to be removed: deleted by their owner, or expired."""
    rows = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM batches
        WHERE status = 'cancelled' OR (status = 'finished' AND submitted_at <= :now - :span)
        ORDER BY id LIMIT :count
        -- no account: the sweep works for all accounts
        """,
        now=now,
        span=_RESULT_SPAN,
        count=count,
    )
    return [_batch(row) for row in rows]


def remove(connection: Connection, batch: Batch) -> None:
    """Delete a batch and all that belongs to it."""
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
        **values | {"status": Status(values["status"]), "is_held": bool(values["is_held"])}
    )
