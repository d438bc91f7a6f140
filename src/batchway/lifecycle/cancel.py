"""Cancel: run no more operations of a batch, but keep and compile what is done.

What has not committed is recorded as cancelled, and the batch ends `finished` as any other.
"""

from batchway.lifecycle.admit import first_step
from batchway.lifecycle.parts import Parts
from batchway.model.batch import Batch, Status
from batchway.store import accounts, batches


def cancel_batch(parts: Parts, account_id: int, public_id: str) -> Batch | None:
    """The batch, stopping; None if the account has no such batch. May be called many times.

    One whose results are already being compiled, or are there, stays as it is.
    """
    with parts.database.write() as connection:
        accounts.lock(connection, account_id)
        batch = batches.find(connection, account_id, public_id, parts.get_results_since())
        if batch is None:
            return None
        if batches.begin_cancelling(connection, batch) and batch.status is Status.PENDING:
            step = first_step(parts, batch.operation_count)
            parts.hand_over(connection, step, batch.id)  # it may be held
        return batches.get(connection, batch.id)
