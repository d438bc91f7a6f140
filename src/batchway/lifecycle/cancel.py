"""Cancel: run no more operations of a batch, but keep and compile what is done.

What has not committed is recorded as cancelled, and the batch ends `finished` as any other.
"""

from sqlalchemy import Connection

from batchway.lifecycle.admit import first_step
from batchway.lifecycle.chain import chunk_step
from batchway.lifecycle.parts import Parts
from batchway.model.batch import Batch, Status
from batchway.store import accounts, batches, chunks


def cancel_batch(parts: Parts, account_id: int, public_id: str) -> Batch | None:
    """Cancel a batch and return it; None if the account has no such batch.

    May be called many times. A batch whose results are being compiled, or are there, stays as it
    is.
    """
    with parts.database.write() as connection:
        accounts.lock(connection, account_id)
        batch = batches.find(connection, account_id, public_id, parts.get_results_since())
        if batch is None:
            return None
        if batches.begin_cancelling(connection, batch):
            _hand_over_waiting_steps(parts, connection, batch)
        return batches.get(connection, batch.id)


def _hand_over_waiting_steps(parts: Parts, connection: Connection, batch: Batch) -> None:
    """What waits for a time, or for another batch to end, need not wait any longer."""
    if batch.status is Status.PENDING:  # it may be held, and then it has no hand-over
        parts.hand_over(connection, first_step(parts, batch.operation_count), batch.id)
    for chunk in chunks.end_waits(connection, batch):
        name = chunk_step(parts.targets, batch.id, chunk.number, chunk.target)
        parts.hand_over(connection, *name)
