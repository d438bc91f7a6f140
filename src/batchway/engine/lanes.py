"""Lanes: in which queue each step waits, and how many of them one worker runs at once."""

from collections.abc import Mapping
from dataclasses import dataclass

from batchway import limits
from batchway.model.step import Step


@dataclass(frozen=True, slots=True)
class Lane:
    """A queue of hand-overs, and how a worker takes from it.

    `concurrency` steps of one worker are dequeued at once. The queue is polled when a hand-over was
    committed, and every `poll_seconds` while steps of the lane end (`queue_polls.py`). If the lane
    `is_exclusive`, its steps run one after the other, and after those of other such lanes: they
    would share the interpreter. The next one is dequeued already when a step ends.
    """

    name: str
    concurrency: int
    poll_seconds: float
    is_exclusive: bool


_CHUNKS = Lane(
    "batchway", limits.dequeued_per_worker_max, limits.queue_poll_seconds, is_exclusive=True
)
# Small batches are done soon, so that a worker takes many of them at one look.
_SMALL_BATCHES = Lane(
    "batchway-small",
    limits.small_batches_per_worker_max,
    limits.small_batch_poll_seconds,
    is_exclusive=True,
)
# The steps of these lanes wait for other servers most of the time. A slow one must not keep the
# chunks of the built-in audience waiting.
_SENDING = Lane(
    "batchway-sending",
    limits.sending_chunks_per_worker_max,
    limits.sending_poll_seconds,
    is_exclusive=False,
)
_DELIVERIES = Lane(
    "batchway-deliveries",
    limits.deliveries_per_worker_max,
    limits.delivery_poll_seconds,
    is_exclusive=False,
)

LANES: Mapping[Step, Lane] = {
    Step.RUN: _SMALL_BATCHES,
    Step.SPLIT: _CHUNKS,
    Step.EXECUTE: _CHUNKS,
    Step.SEND: _SENDING,
    Step.FINALIZE: _CHUNKS,
    Step.DELIVER: _DELIVERIES,
}
