"""The steps of batches, as a worker runs them in a chain."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from batchway.lifecycle.chain import Chain
from batchway.lifecycle.execute import begin_chunk, execute_chunk
from batchway.lifecycle.finalize import begin_finalize, finalize_batch
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.run import begin_run
from batchway.lifecycle.split import split_batch
from batchway.model.step import Step, StepName

# What is called for a step that was handed over: it claims the step, or runs it in case of `split`.
_BEGIN: Mapping[Step, Callable[[Chain], StepName | None]] = {
    Step.RUN: begin_run,
    Step.SPLIT: split_batch,
    Step.EXECUTE: begin_chunk,
    Step.SEND: begin_chunk,
    Step.FINALIZE: begin_finalize,
}
# What is called for a claimed step: it runs the step and returns the next one, claimed as well.
_RUN: Mapping[Step, Callable[[Chain, StepName], StepName | None]] = {
    Step.EXECUTE: execute_chunk,
    Step.SEND: execute_chunk,
    Step.FINALIZE: finalize_batch,
}


def make_batch_steps(parts: Parts) -> Mapping[Step, Callable[[StepName], Iterator[StepName]]]:
    """Return what a worker calls for each step of a batch that was handed over."""
    return dict.fromkeys(_BEGIN, partial(run_chain, parts))


def run_chain(parts: Parts, first: StepName) -> Iterator[StepName]:
    """Run a step, and then each step that the one before it has claimed.

    Each step may run twice, and may be killed at any line. The name of a claimed step is yielded
    before it runs: if it raises, the worker knows which step it must hand over.
    """
    chain = Chain.begin(parts, first)
    try:
        following = _BEGIN[first.step](chain)
        while following is not None:
            yield following
            following = _RUN[following.step](chain, following)
    finally:
        chain.close()
