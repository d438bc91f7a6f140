"""Sweep: the caretaker's round. Hands lost steps over again, removes what nobody may see.

Runs in one process at a time, but nothing breaks if it runs in two.
"""

from collections.abc import Callable, Iterator

from batchway import limits
from batchway.kit.clock import DAY, SECOND
from batchway.lifecycle.admit import first_step
from batchway.lifecycle.parts import Parts
from batchway.model.batch import Batch, Status
from batchway.model.step import Step
from batchway.store import batches, chunks, deliveries, idempotency_keys

IsUnderWay = Callable[[Step, int, int], bool]

_BATCHES_AT_ONCE = 100
_TEMPORARY_SECONDS = 60 * 60.0


def sweep(parts: Parts, is_under_way: IsUnderWay) -> None:
    """One round. `is_under_way` tells whether the engine still means to run a step."""
    _redrive(parts, is_under_way)
    _redrive_deliveries(parts, is_under_way)
    _dispose(parts)
    _forget(parts)
    parts.archive.sweep_temporary(_TEMPORARY_SECONDS)


def _redrive(parts: Parts, is_under_way: IsUnderWay) -> None:
    untouched_since = parts.clock() - int(limits.overdue_seconds * SECOND)
    last = 0
    while True:
        with parts.database.read() as connection:
            found = batches.unfinished(connection, untouched_since, last, _BATCHES_AT_ONCE)
        for batch in found:
            for step, number in _awaited(parts, batch):
                if not is_under_way(step, batch.id, number):
                    with parts.database.write() as connection:
                        parts.hand_over(connection, step, batch.id, number)
        if len(found) < _BATCHES_AT_ONCE:
            return
        last = found[-1].id


def _redrive_deliveries(parts: Parts, is_under_way: IsUnderWay) -> None:
    due_before = parts.clock() - int(limits.overdue_seconds * SECOND)
    last = 0
    while True:
        with parts.database.read() as connection:
            found = deliveries.overdue(connection, due_before, last, _BATCHES_AT_ONCE)
        for delivery_id in found:
            if not is_under_way(Step.DELIVER, delivery_id, 0):
                with parts.database.write() as connection:
                    parts.hand_over(connection, Step.DELIVER, delivery_id)
        if len(found) < _BATCHES_AT_ONCE:
            return
        last = found[-1]


def _forget(parts: Parts) -> None:
    """Drop what is kept for a while only."""
    now = parts.clock()
    with parts.database.write() as connection:
        idempotency_keys.remove_old(connection, now - limits.idempotency_key_seconds * SECOND)
        deliveries.remove_tests(connection, now - limits.result_days * DAY)


def _awaited(parts: Parts, batch: Batch) -> Iterator[tuple[Step, int]]:
    """What should run next for a batch, by the store alone."""
    if batch.status is Status.PENDING:
        if not batch.is_held or _may_begin(parts, batch):
            yield first_step(batch), 0
    elif batch.is_small:
        yield Step.RUN, 0
    elif batch.status is Status.PREPROCESSING:
        yield Step.SPLIT, 0
    elif batch.status is Status.FINALIZING:
        yield Step.FINALIZE, 0
    else:
        with parts.database.read() as connection:
            waiting = chunks.waiting(connection, batch)
        yield from ((Step.EXECUTE, number) for number in waiting)


def _may_begin(parts: Parts, batch: Batch) -> bool:
    with parts.database.read() as connection:
        running = batches.count_running(connection, batch.account_id)
    return running < limits.running_batches_per_account_max


def _dispose(parts: Parts) -> None:
    with parts.database.read() as connection:
        found = batches.disposable(connection, parts.clock(), _BATCHES_AT_ONCE)
    for batch in found:
        parts.archive.delete(batch.public_id)
        with parts.database.write() as connection:
            batches.remove(connection, batch)


def drop_orphans(parts: Parts) -> None:
    """Delete archives whose batch is gone: their writer died between file and commit."""
    for key in list(parts.archive.keys()):
        with parts.database.read() as connection:
            is_known = batches.exists(connection, key)
        if not is_known:
            parts.archive.delete(key)
