"""Runs single steps of batches: each step hands over those that follow, and runs none of them."""

from collections.abc import Iterator
from contextlib import contextmanager

from batchway.lifecycle import execute as executing
from batchway.lifecycle import finalize as finalizing
from batchway.lifecycle import split as splitting
from batchway.lifecycle.chain import Chain
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.steps import run_chain
from batchway.model.batch import Batch
from batchway.model.step import Step, StepName
from batchway.store import batches, chunks


def split(parts: Parts, batch_id: int) -> None:
    """Split a batch, and hand over all of its chunks."""
    with _open_ended_chain(parts, StepName(Step.SPLIT, batch_id)) as chain:
        splitting.split_batch(chain)


def execute(parts: Parts, batch_id: int, number: int) -> None:
    """Execute a chunk until its target has no more results at once."""
    with _open_ended_chain(parts, StepName(Step.EXECUTE, batch_id, number)) as chain:
        claimed = executing.begin_chunk(chain)
        if claimed is not None:
            executing.execute_chunk(chain, claimed)


def execute_whole(parts: Parts, batch_id: int, number: int) -> None:
    """Execute a chunk until it is done."""
    batch = _get_batch(parts, batch_id)
    while _is_waiting(parts, batch, number):
        execute(parts, batch_id, number)


def _get_batch(parts: Parts, batch_id: int) -> Batch:
    with parts.database.read() as connection:
        batch = batches.get(connection, batch_id)
    assert batch
    return batch


def _is_waiting(parts: Parts, batch: Batch, number: int) -> bool:
    with parts.database.read() as connection:
        return number in [chunk.number for chunk in chunks.find_waiting(connection, batch)]


def finalize(parts: Parts, batch_id: int) -> None:
    """Write the archive of a batch whose chunks are done."""
    with _open_ended_chain(parts, StepName(Step.FINALIZE, batch_id)) as chain:
        claimed = finalizing.begin_finalize(chain)
        if claimed is not None:
            finalizing.finalize_batch(chain, claimed)


def run(parts: Parts, batch_id: int) -> None:
    """Run all steps of a small batch as one chain."""
    run_steps(parts, Step.RUN, batch_id)


def run_steps(parts: Parts, step: Step, batch_id: int, number: int = 0) -> list[StepName]:
    """Run a step and the steps that it claims, and return the names of those."""
    return list(run_chain(parts, StepName(step, batch_id, number)))


@contextmanager
def _open_ended_chain(parts: Parts, first: StepName) -> Iterator[Chain]:
    """Open a chain whose time is over, so that it hands over all that follows."""
    chain = Chain(parts, first, ends_at=0)
    try:
        yield chain
    finally:
        chain.close()
