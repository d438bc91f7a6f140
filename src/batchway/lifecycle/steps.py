"""The steps of batches as a worker runs them."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from batchway.lifecycle.chain import Chain
from batchway.lifecycle.execute import begin_chunk, execute
from batchway.lifecycle.finalize import begin_finalize, finalize
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.run import begin_run
from batchway.lifecycle.split import split
from batchway.model.step import Step, StepName

# How each step begins that is handed over: it is claimed, or run if it is split.
_BEGIN: Mapping[Step, Callable[[Chain], StepName | None]] = {
    Step.RUN: begin_run,
    Step.SPLIT: split,
    Step.EXECUTE: begin_chunk,
    Step.SEND: begin_chunk,
    Step.FINALIZE: begin_finalize,
}
# What runs a step that is claimed; it returns the step that follows, claimed as well.
_RUN: Mapping[Step, Callable[[Chain, StepName], StepName | None]] = {
    Step.EXECUTE: execute,
    Step.SEND: execute,
    Step.FINALIZE: finalize,
}


def batch_steps(parts: Parts) -> Mapping[Step, Callable[[StepName], Iterator[StepName]]]:
    """What a worker calls for each step of a batch that is handed over."""
    return dict.fromkeys(_BEGIN, partial(run_chain, parts))


def run_chain(parts: Parts, first: StepName) -> Iterator[StepName]:
    """Run a step, and then each step that it claims. May run twice and die anywhere.

    Gives the name of each step that is claimed, before it runs it: if one raises, the worker knows
    which one it has to hand over.
    """
    chain = Chain.begin(parts, first)
    try:
        following = _BEGIN[first.step](chain)
        while following is not None:
            yield following
            following = _RUN[following.step](chain, following)
    finally:
        chain.close()
