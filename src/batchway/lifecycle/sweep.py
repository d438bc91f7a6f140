"""Sweep: hand over steps that would not be run, and remove batches and rows that are not needed.

The caretaker, one worker at a time, calls it every few seconds. It may run in two processes at the
same time.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection

from batchway import limits
from batchway.kit.clock import SECOND
from batchway.lifecycle.admit import choose_first_step
from batchway.lifecycle.chain import choose_chunk_step
from batchway.lifecycle.housekeeping import do_housekeeping
from batchway.lifecycle.parts import Parts
from batchway.model.batch import Status, is_small
from batchway.model.step import Step, StepName, WrittenHandOver
from batchway.store import batches, deliveries, idempotency_keys, moved_clock, waiting_steps
from batchway.store.waiting_steps import WaitingBatch, WaitingChunk, WaitingDelivery

log = structlog.get_logger(__name__)

FindLost = Callable[[Sequence[WrittenHandOver]], Sequence[StepName]]

_ROWS_AT_ONCE = 1_000
_BATCHES_AT_ONCE = 100


_Row = TypeVar("_Row", WaitingBatch, WaitingChunk, WaitingDelivery)


def sweep(parts: Parts, find_lost: FindLost) -> None:
    """Do one round. `find_lost` returns the steps whose hand-overs the engine will never run."""
    _follow_clock(parts)
    for written in _find_waiting_steps(parts):
        for name in find_lost(written):
            with parts.database.write() as connection:
                parts.hand_over(connection, *name)
    _remove_batches(parts)
    _remove_old_rows(parts)
    do_housekeeping(parts)


def _follow_clock(parts: Parts) -> None:
    """Correct the times until which steps wait, if the database's clock has gone back."""
    with parts.database.write() as connection:
        back = moved_clock.note_time(connection)
        if back:
            moved_clock.move_waits_back(connection, back)
    if back:
        log.warning("clock_went_back", seconds=back / SECOND)


def _find_waiting_steps(parts: Parts) -> Iterator[list[WrittenHandOver]]:
    """Yield the newest hand-overs of the steps that wait, with one page in memory at a time."""
    quiet, most = limits.overdue_seconds, parts.limits.running_batches_per_account_max
    find_batches = partial(waiting_steps.find_batches, quiet_seconds=quiet, running_max=most)
    find_chunks = partial(waiting_steps.find_chunks, quiet_seconds=quiet)
    find_deliveries = partial(waiting_steps.find_deliveries, quiet_seconds=quiet)
    for batch_page in _read_pages(parts, find_batches, 0):
        yield [_get_batch_hand_over(parts, batch) for batch in batch_page]
    for chunk_page in _read_pages(parts, find_chunks, (0, -1)):
        yield list({_get_chunk_hand_over(parts, chunk) for chunk in chunk_page})
    for delivery_page in _read_pages(parts, find_deliveries, (0, 0)):
        yield [_get_delivery_hand_over(delivery) for delivery in delivery_page]


def _read_pages(
    parts: Parts, find: Callable[[Connection, Any, int], list[_Row]], first_key: object
) -> Iterator[list[_Row]]:
    after = first_key
    while True:
        with parts.database.read() as connection:
            page = find(connection, after, _ROWS_AT_ONCE)
        if page:
            yield page
        if len(page) < _ROWS_AT_ONCE:
            return
        after = page[-1].key


def _get_batch_hand_over(parts: Parts, batch: WaitingBatch) -> WrittenHandOver:
    step = choose_first_step(parts, batch.operation_count)
    if batch.status is Status.FINALIZING and step is Step.SPLIT:
        step = Step.FINALIZE
    return WrittenHandOver(StepName(step, batch.id), batch.hand_over_count)


def _get_chunk_hand_over(parts: Parts, chunk: WaitingChunk) -> WrittenHandOver:
    """Return the hand-over of a chunk; that of its batch if the batch is run as a whole."""
    name = choose_chunk_step(parts.targets, chunk.batch_id, chunk.number, chunk.target)
    if name.step is Step.EXECUTE and is_small(chunk.batch_operation_count, parts.limits):
        return WrittenHandOver(StepName(Step.RUN, chunk.batch_id), chunk.batch_hand_over_count)
    return WrittenHandOver(name, chunk.hand_over_count)


def _get_delivery_hand_over(delivery: WaitingDelivery) -> WrittenHandOver:
    return WrittenHandOver(StepName(Step.DELIVER, delivery.id), delivery.hand_over_count)


def _remove_batches(parts: Parts) -> None:
    """Remove batches that were deleted or have expired, with their archives."""
    with parts.database.read() as connection:
        found = batches.find_deleted(connection, _BATCHES_AT_ONCE)
        found += batches.find_expired(connection, parts.get_results_since(), _BATCHES_AT_ONCE)
    for batch in found:
        parts.archive.delete(batch.public_id)
        with parts.database.write() as connection:
            batches.remove(connection, batch)


def _remove_old_rows(parts: Parts) -> None:
    """Delete idempotency keys and test events that have expired."""
    now = parts.clock()
    with parts.database.write() as connection:
        idempotency_keys.remove_old(connection, now - parts.limits.idempotency_key_seconds * SECOND)
        deliveries.remove_tests(connection, parts.get_results_since())
