"""Sweep: the caretaker's round. Hands lost steps over again, removes what nobody may see.

Runs in one process at a time, but nothing breaks if it runs in two.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection

from batchway import limits
from batchway.kit.clock import SECOND
from batchway.lifecycle.admit import first_step
from batchway.lifecycle.chain import chunk_step
from batchway.lifecycle.housekeeping import keep_house
from batchway.lifecycle.parts import Parts
from batchway.model.batch import Status, is_small
from batchway.model.step import Step, StepName, WrittenHandOver
from batchway.store import batches, deliveries, idempotency_keys, waiting_steps
from batchway.store.waiting_steps import WaitingBatch, WaitingChunk, WaitingDelivery

FindLost = Callable[[Sequence[WrittenHandOver]], Sequence[StepName]]

_ROWS_AT_ONCE = 1_000
_BATCHES_AT_ONCE = 100


_Row = TypeVar("_Row", WaitingBatch, WaitingChunk, WaitingDelivery)


def sweep(parts: Parts, find_lost: FindLost) -> None:
    """One round. `find_lost` chooses those hand-overs that the engine will not run any more."""
    for written in _waiting_steps(parts):
        for name in find_lost(written):
            with parts.database.write() as connection:
                parts.hand_over(connection, *name)
    _remove_batches(parts)
    _remove_old_rows(parts)
    keep_house(parts)


def _waiting_steps(parts: Parts) -> Iterator[list[WrittenHandOver]]:
    """The steps that wait, by our tables alone, a page in memory at a time."""
    quiet, most = limits.overdue_seconds, parts.limits.running_batches_per_account_max
    find_batches = partial(waiting_steps.find_batches, quiet_seconds=quiet, running_max=most)
    find_chunks = partial(waiting_steps.find_chunks, quiet_seconds=quiet)
    find_deliveries = partial(waiting_steps.find_deliveries, quiet_seconds=quiet)
    for batch_page in _pages(parts, find_batches, 0):
        yield [_hand_over_of_batch(parts, each) for each in batch_page]
    for chunk_page in _pages(parts, find_chunks, (0, -1)):
        yield list({_hand_over_of_chunk(parts, each) for each in chunk_page})
    for delivery_page in _pages(parts, find_deliveries, (0, 0)):
        yield [_hand_over_of_delivery(each) for each in delivery_page]


def _pages(
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


def _hand_over_of_batch(parts: Parts, batch: WaitingBatch) -> WrittenHandOver:
    step = first_step(parts, batch.operation_count)
    if batch.status is Status.FINALIZING and step is Step.SPLIT:
        step = Step.FINALIZE
    return WrittenHandOver(StepName(step, batch.id), batch.hand_over_count)


def _hand_over_of_chunk(parts: Parts, chunk: WaitingChunk) -> WrittenHandOver:
    """That of the chunk; or of its batch, if that is small and run as a whole."""
    name = chunk_step(parts.targets, chunk.batch_id, chunk.number, chunk.target)
    if name.step is Step.EXECUTE and is_small(chunk.batch_operation_count, parts.limits):
        return WrittenHandOver(StepName(Step.RUN, chunk.batch_id), chunk.batch_hand_over_count)
    return WrittenHandOver(name, chunk.hand_over_count)


def _hand_over_of_delivery(delivery: WaitingDelivery) -> WrittenHandOver:
    return WrittenHandOver(StepName(Step.DELIVER, delivery.id), delivery.hand_over_count)


def _remove_batches(parts: Parts) -> None:
    """Remove batches that were deleted by their owner, or have expired, with their archives."""
    with parts.database.read() as connection:
        found = batches.find_deleted(connection, _BATCHES_AT_ONCE)
        found += batches.find_expired(connection, parts.get_results_since(), _BATCHES_AT_ONCE)
    for batch in found:
        parts.archive.delete(batch.public_id)
        with parts.database.write() as connection:
            batches.remove(connection, batch)


def _remove_old_rows(parts: Parts) -> None:
    """Remove what is kept for a while only."""
    now = parts.clock()
    with parts.database.write() as connection:
        idempotency_keys.remove_old(connection, now - parts.limits.idempotency_key_seconds * SECOND)
        deliveries.remove_tests(connection, parts.get_results_since())
