"""The steps of batches as a worker does them.

A step hands the next one over as it commits. Where only one can follow, the same process does it
at once, without the wait for the engine; the hand-over is for later then, if the process dies.
"""

from collections.abc import Callable, Mapping

from batchway.lifecycle.execute import execute
from batchway.lifecycle.finalize import finalize
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.run import run
from batchway.lifecycle.split import split
from batchway.model.batch import FIRST_CHUNK
from batchway.model.step import Step


def steps_of_batches(parts: Parts) -> Mapping[Step, Callable[[int, int], None]]:
    """What to call for each step, with the keys of its batch and chunk."""

    def split_and_begin(batch_id: int, _number: int) -> None:
        split(parts, batch_id)
        execute_and_end(batch_id, FIRST_CHUNK)

    def execute_and_end(batch_id: int, number: int) -> None:
        execute(parts, batch_id, number)
        finalize(parts, batch_id)  # if that was the last chunk

    return {
        Step.RUN: lambda batch_id, _number: run(parts, batch_id),
        Step.SPLIT: split_and_begin,
        Step.EXECUTE: execute_and_end,
        Step.FINALIZE: lambda batch_id, _number: finalize(parts, batch_id),
    }
