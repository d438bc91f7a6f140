"""Cancel: run no more operations of a batch, and finish it with the results that it has.

Operations whose results are not committed are recorded as cancelled.
"""

from sqlalchemy import Connection

from batchway.lifecycle.admit import choose_first_step
from batchway.lifecycle.chain import choose_chunk_step
from batchway.lifecycle.parts import Parts
from batchway.model.batch import Batch, Status
from batchway.store import accounts, batches, chunks


def cancel_batch(parts: Parts, account_id: int, public_id: str) -> Batch | None:
    """Cancel a batch and return it; None if the account has no such batch.

    May be called any number of times. A batch all of whose operations have results stays unchanged.
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
    """Hand over the steps that wait for a time or for the end of another batch."""
    if batch.status is Status.PENDING:  # a held batch has no hand-over
        parts.hand_over(connection, choose_first_step(parts, batch.operation_count), batch.id)
    for chunk in chunks.end_waits(connection, batch):
        name = choose_chunk_step(parts.targets, batch.id, chunk.number, chunk.target)
        parts.hand_over(connection, *name)
