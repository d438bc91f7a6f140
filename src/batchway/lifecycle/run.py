"""Run: the first step of a small batch, whose steps are run one after the other in one chain."""

from batchway.lifecycle.chain import Chain
from batchway.lifecycle.cut import cut_batch
from batchway.lifecycle.split import begin_split, start_batch
from batchway.model.batch import Status
from batchway.model.step import Step, StepName
from batchway.store import batches


def begin_run(chain: Chain) -> StepName | None:
    """Claim the step that a small batch waits for; a new batch is split in the same transaction."""
    new = cut_batch(chain.parts, chain.batch_id)
    with chain.parts.database.write() as connection:
        batch = batches.get(connection, chain.batch_id)
        if batch is None:
            return None
        match batch.status:
            case Status.PENDING | Status.PREPROCESSING:
                if not begin_split(chain, connection, batch):
                    return None
                return start_batch(chain, connection, batch, new)
            case Status.STARTED:
                return chain.follow(connection, batch, (), batch.chunks_left)
            case Status.FINALIZING:
                return chain.claim_batch(connection, Step.FINALIZE, Status.FINALIZING)
    return None
