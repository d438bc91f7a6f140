"""Idle claims: steps that this worker holds and does not run.

A step that raised is handed over again, which releases it. If that fails as well, its claim stands
as long as this worker lives, and the sweep leaves it alone. So each worker looks for such claims.
"""

from collections.abc import Iterator

from batchway.lifecycle.chain import chunk_step
from batchway.lifecycle.parts import Parts
from batchway.model.batch import Status
from batchway.model.step import Step, StepName
from batchway.store import waiting_steps


def release_idle_claims(parts: Parts) -> None:
    """Hand over what this worker holds and does not run."""
    for name in list(_claimed_steps(parts)):
        if parts.running.enter(name):  # no thread of this process can claim it meanwhile
            try:
                with parts.database.write() as connection:
                    parts.hand_over(connection, *name)
            finally:
                parts.running.leave([name])


def _claimed_steps(parts: Parts) -> Iterator[StepName]:
    with parts.database.read() as connection:
        claimed_batches = waiting_steps.find_claimed_batches(connection, parts.worker)
        claimed_chunks = waiting_steps.find_claimed_chunks(connection, parts.worker)
    for batch in claimed_batches:
        is_split = batch.status is Status.PREPROCESSING
        yield StepName(Step.SPLIT if is_split else Step.FINALIZE, batch.id)
    for chunk in claimed_chunks:
        yield chunk_step(parts.targets, chunk.batch_id, chunk.number, chunk.target)
