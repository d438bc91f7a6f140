"""Split: cut a batch into chunks and hand each one over.

`pending → preprocessing → started`, two transactions for a large batch, so that each status is
seen; one for a small batch. Inputs are not read: submit noted what each piece holds.
"""

from sqlalchemy import Connection

from batchway import limits
from batchway.faults import FaultPoint, fault
from batchway.lifecycle.parts import Parts
from batchway.model.batch import FIRST_CHUNK, Batch, Status, cut
from batchway.model.step import Step
from batchway.store import accounts, batches, chunks, inputs


def split(parts: Parts, batch_id: int) -> None:
    """Begin a batch. May run twice; does nothing while too many batches of the account run."""
    with parts.database.write() as connection:
        batch = batches.get(connection, batch_id)
        if batch is None or not _begin(parts, connection, batch):
            return
        if batch.is_small:
            _start(parts, connection, batch)
            return
    with parts.database.write() as connection:
        _start(parts, connection, batch)
        fault(FaultPoint.SPLIT_BEFORE_COMMIT)
    fault(FaultPoint.SPLIT_AFTER_COMMIT)


def _begin(parts: Parts, connection: Connection, batch: Batch) -> bool:
    if batch.status is Status.PREPROCESSING:
        return True  # an earlier run died between its transactions
    accounts.lock(connection, batch.account_id)
    most = limits.running_batches_per_account_max
    if batches.begin(connection, batch, most, parts.clock()):
        return True
    batches.hold(connection, batch)  # until `admit_next`
    return False


def _start(parts: Parts, connection: Connection, batch: Batch) -> None:
    new = list(cut(inputs.pieces(connection, batch)))
    if not batches.start(connection, batch, len(new), parts.clock()):
        return
    chunks.insert(connection, batch, new)
    for chunk in new:
        # Whoever splits begins with the first chunk at once: `steps.py`.
        delay = limits.own_hand_over_seconds if chunk.number == FIRST_CHUNK else 0
        parts.hand_over(connection, Step.EXECUTE, batch.id, chunk.number, delay_seconds=delay)
    if not new and batches.begin_finalizing(connection, batch, parts.clock()):
        parts.hand_over(connection, Step.FINALIZE, batch.id)
