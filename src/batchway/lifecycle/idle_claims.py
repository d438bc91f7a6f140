"""Idle claims: steps that this worker has claimed and does not run.

A step that raised is handed over, which ends the claim. If the hand-over fails as well, the claim
stays valid as long as this worker lives, and the sweep ignores the step. So each worker looks for
such claims of its own.
"""

from collections.abc import Iterator

from batchway.lifecycle.chain import choose_chunk_step
from batchway.lifecycle.parts import Parts
from batchway.model.batch import Status
from batchway.model.step import Step, StepName
from batchway.store import waiting_steps


def release_idle_claims(parts: Parts) -> None:
    """Hand over the steps that this worker has claimed and does not run."""
    for name in list(_find_claimed_steps(parts)):
        if parts.running.enter(name):  # so that no thread of this process claims it meanwhile
            try:
                with parts.database.write() as connection:
                    parts.hand_over(connection, *name)
            finally:
                parts.running.leave([name])


def _find_claimed_steps(parts: Parts) -> Iterator[StepName]:
    with parts.database.read() as connection:
        claimed_batches = waiting_steps.find_claimed_batches(connection, parts.worker)
        claimed_chunks = waiting_steps.find_claimed_chunks(connection, parts.worker)
    for batch in claimed_batches:
        is_split = batch.status is Status.PREPROCESSING
        yield StepName(Step.SPLIT if is_split else Step.FINALIZE, batch.id)
    for chunk in claimed_chunks:
        yield choose_chunk_step(parts.targets, chunk.batch_id, chunk.number, chunk.target)
