"""Admission: how many batches of an account are pending or run, and which pending ones are held."""

from typing import NamedTuple

from sqlalchemy import Connection

from batchway.model.batch import Batch
from batchway.store.database import run

SQL_IS_RUNNING = "status IN ('preprocessing', 'started', 'finalizing')"


class HeldBatch(NamedTuple):
    """A batch that was held and may begin now."""

    id: int
    operation_count: int


def count_pending(connection: Connection, account_id: int) -> int:
    """Return how many batches of an account have not begun."""
    return int(
        run(
            connection,
            "SELECT count(*) FROM batches WHERE account_id = :account_id AND status = 'pending'",
            account_id=account_id,
        ).scalar_one()
    )


def count_running(connection: Connection, account_id: int) -> int:
    """Return how many batches of an account have begun and have not finished."""
    return int(
        run(
            connection,
            f"SELECT count(*) FROM batches WHERE account_id = :account_id AND {SQL_IS_RUNNING}",
            account_id=account_id,
        ).scalar_one()
    )


def hold(connection: Connection, batch: Batch) -> None:
    """Mark a pending batch as held, because its account already runs as many batches as it may."""
    run(
        connection,
        """
        UPDATE batches SET is_held = TRUE
        WHERE id = :batch_id AND account_id = :account_id AND status = 'pending'
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
    )


def release_oldest(connection: Connection, account_id: int) -> HeldBatch | None:
    """Release the oldest held batch of an account and return it; None if no batch is held."""
    row = run(
        connection,
        """
        UPDATE batches SET is_held = FALSE
        WHERE account_id = :account_id AND id = (
            SELECT min(id) FROM batches
            WHERE account_id = :account_id AND status = 'pending' AND is_held)
        RETURNING id, operation_count
        """,
        account_id=account_id,
    ).one_or_none()
    return None if row is None else HeldBatch(*row)
