"""Admission: how many batches of an account wait and run, and which are held meanwhile."""

from typing import NamedTuple

from sqlalchemy import Connection

from batchway.model.batch import Batch
from batchway.store.database import run


class HeldBatch(NamedTuple):
    """A batch that was held, and may begin now."""

    id: int
    operation_count: int


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


def hold(connection: Connection, batch: Batch) -> None:
    """Note that a pending batch has to wait, because as many batches of the account run as may."""
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
    """Hold the oldest held batch of an account no longer; None if no batch is held."""
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
