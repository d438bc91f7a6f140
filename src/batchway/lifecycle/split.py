"""Split: cut a batch into chunks.

`pending → preprocessing → started`: two transactions for a large batch, so that clients can see
each status; one transaction for a small batch (`run.py`). The chunks are computed before the
transaction that stores them (`cut.py`).
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from batchway.lifecycle.chain import Chain
from batchway.lifecycle.cut import cut_batch
from batchway.model.batch import Batch, Chunk, Status
from batchway.model.step import Step, StepName
from batchway.observers.base import Event
from batchway.store import accounts, admission, batches, chunks


def split_batch(chain: Chain) -> StepName | None:
    """Split a batch, or hold it if its account runs as many as it may; return the next step."""
    with chain.parts.database.write() as connection:
        batch = batches.get(connection, chain.batch_id)
        if batch is None or not begin_split(chain, connection, batch):
            return None
    new = cut_batch(chain.parts, batch.id)
    with chain.parts.database.write() as connection:
        following = start_batch(chain, connection, batch, new)
        chain.parts.observe(Event.SPLIT_BEFORE_COMMIT)
    chain.parts.observe(Event.SPLIT_AFTER_COMMIT)
    return following


def begin_split(chain: Chain, connection: Connection, batch: Batch) -> bool:
    """Claim a batch that waits to be split; a pending one becomes `preprocessing`, or is held."""
    if batch.status is not Status.PENDING:  # a process died between the two transactions
        return chain.claim_batch(connection, Step.SPLIT, Status.PREPROCESSING) is not None
    if not chain.enter(StepName(Step.SPLIT, batch.id)):
        return False
    accounts.lock(connection, batch.account_id)
    parts, most = chain.parts, chain.parts.limits.running_batches_per_account_max
    if batches.begin(connection, batch, most, parts.worker, parts.clock()):
        return True
    admission.hold(connection, batch)  # until `admit_next`
    return False


def start_batch(
    chain: Chain, connection: Connection, batch: Batch, new: Sequence[Chunk]
) -> StepName | None:
    """Store the chunks of a claimed batch, which is `started` then; return the next step."""
    if not batches.start(connection, batch, len(new), chain.parts.worker):
        return None
    chunks.insert(connection, batch, new)
    return chain.follow(connection, batch, new, len(new))
