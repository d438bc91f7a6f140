"""Execute one chunk through its target, and record its results.

1. Claim the chunk and count the attempt, so that a chunk that kills its process is noticed.
2. Plan, render and compress the results, without a lock.
3. In one transaction: write the effects of the operations, their results, the counters and the
   state of the chunk, and claim the next step. If what the plan is based on has changed since 2,
   the results are computed in this transaction instead.

A target may answer only the first operations: the chunk keeps the others. The further pages of each
GET become a separate chunk (`pages.py`). The results of a target that sends operations elsewhere
are recorded as they arrive (`send.py`).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog
from sqlalchemy import Connection

from batchway.errors import Refusal, RefusalKind, Stale
from batchway.lifecycle.chain import Chain
from batchway.lifecycle.pack import PackedResults, pack_results
from batchway.lifecycle.pages import end_pages, execute_pages
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.record import NO_NUMBER, NotRunning, record_results, report_recorded
from batchway.lifecycle.screen import screen_operations
from batchway.lifecycle.send import send_operations
from batchway.lifecycle.work import Work, load_work
from batchway.model.batch import Chunk
from batchway.model.positions import Positions
from batchway.model.result import Result
from batchway.model.step import StepName
from batchway.observers.base import Event
from batchway.store import batches, chunks
from batchway.targets.base import PlannedTarget, SendingTarget

log = structlog.get_logger(__name__)


def begin_chunk(chain: Chain) -> StepName | None:
    """Claim the chunk that was handed over, and count the attempt."""
    return _claim(chain, chain.first)


def execute_chunk(chain: Chain, name: StepName) -> StepName | None:
    """Execute a claimed chunk, or the part that its target answers now; return the next step."""
    chain.parts.observe(Event.EXECUTE_AFTER_ATTEMPT)
    work = chain.work = load_work(chain.parts, name, chain.work)
    if work is None:
        return None
    try:
        if _has_failed(chain.parts, work) and len(work.chunk.positions) > 1:
            return _halve(chain, work)
        return _execute_work(chain, name, work)
    except NotRunning:
        return _claim(chain, name)  # if the batch was cancelled, the next run records that


def _claim(chain: Chain, name: StepName) -> StepName | None:
    with chain.parts.database.write() as connection:
        batch = batches.get(connection, name.key)
        if batch is None or not batch.is_running:
            return None
        return chain.claim_chunk(connection, batch, name)


def _halve(chain: Chain, work: Work) -> StepName | None:
    """Cut a chunk that never commits in two, until the operation that is at fault is alone."""
    parts, batch, chunk = chain.parts, work.batch, work.chunk
    kept, moved = chunk.positions.split_at(len(chunk.positions) // 2)
    with parts.database.write() as connection:
        if not chunks.keep_positions(connection, batch, chunk, kept, parts.worker):
            raise NotRunning
        number = batches.add_chunk(connection, batch)
        if number is None:
            raise NotRunning
        halves = [replace(chunk, positions=kept), replace(chunk, number=number, positions=moved)]
        chunks.insert(connection, batch, halves[1:])
        return chain.follow(connection, batch, halves, len(halves))


def _has_failed(parts: Parts, work: Work) -> bool:
    return work.attempt_number > parts.limits.chunk_attempts_max


def _execute_work(chain: Chain, name: StepName, work: Work) -> StepName | None:
    mount = chain.parts.targets.by_name.get(work.chunk.target)
    target = mount.target if mount else None
    refusal = _find_refusal(chain.parts, work, target)
    if refusal is not None or target is None:
        return _record_refusal(chain, work, refusal or _refuse_without_target(work))
    if isinstance(target, SendingTarget):
        return send_operations(chain, name, work, target)
    if work.is_pages:
        return execute_pages(chain, target, work)
    return _execute_planned(chain, target, work)


def _find_refusal(
    parts: Parts, work: Work, target: PlannedTarget | SendingTarget | None
) -> Refusal | None:
    """Return why no operation of the chunk must be run; None if they must be run."""
    if work.batch.is_cancelling:
        return Refusal(RefusalKind.CANCELLED)
    if work.is_key_revoked:
        return Refusal(RefusalKind.KEY_REVOKED)
    if not _has_failed(parts, work):
        return None
    if isinstance(target, SendingTarget):
        detail = "Each attempt to send the operation failed before its result was recorded."
        return Refusal(RefusalKind.OUTCOME_UNKNOWN, detail)
    return Refusal(RefusalKind.FAILED)


def _refuse_without_target(work: Work) -> Refusal:
    name = work.chunk.target
    log.error("target_missing", batch=work.batch.public_id, chunk=work.chunk.number, target=name)
    detail = f"The target {name!r} of this operation is not configured any more."
    return Refusal(RefusalKind.NOT_SENT, detail)


def _record_refusal(chain: Chain, work: Work, refusal: Refusal) -> StepName | None:
    result = chain.parts.render_refusal(refusal)
    if work.is_pages:
        return end_pages(chain, work, result)
    packed = _pack(chain, work, [result] * len(work.operations))
    return _record(chain, work, lambda _: packed)


def _execute_planned(chain: Chain, target: PlannedTarget, work: Work) -> StepName | None:
    screened = screen_operations(work.operations, chain.parts.render_refusal)

    def answer_within(connection: Connection) -> PackedResults:
        results = target.answer_within(connection, work.caller, screened.admitted)
        return _pack(chain, work, screened.merge(results))

    chain.parts.observe(Event.EXECUTE_BEFORE_ANSWER)
    try:
        plan = target.plan(work.caller, screened.admitted)
        packed = _pack(chain, work, screened.merge(plan.results))
        plan.prepare()

        def write(connection: Connection) -> PackedResults:
            plan.write(connection)
            return packed

        return _record(chain, work, write)
    except Stale:
        return _record(chain, work, answer_within)


def _pack(chain: Chain, work: Work, results: Sequence[Result]) -> PackedResults:
    return pack_results(chain.parts, work.batch, work.place_results(results))


def _record(
    chain: Chain, work: Work, write: Callable[[Connection], PackedResults]
) -> StepName | None:
    """Write the effects, and record the results that `write` returns, in one transaction."""
    parts = chain.parts
    parts.observe(Event.EXECUTE_BEFORE_TRANSACTION)
    with parts.database.write() as connection:
        packed = write(connection)
        _, remaining = work.chunk.positions.split_at(len(packed.entries))
        pages = _make_page_chunks(work.chunk, [entry.result for entry in packed.entries])
        recorded = record_results(parts, connection, work, packed, remaining, pages)
        following = chain.follow(connection, work.batch, *recorded)
        parts.observe(Event.EXECUTE_BEFORE_COMMIT)
    parts.observe(Event.EXECUTE_AFTER_COMMIT)
    report_recorded(parts, work, packed, is_chunk_done=not remaining)
    return following


def _make_page_chunks(chunk: Chunk, results: Sequence[Result]) -> list[Chunk]:
    """Return a chunk, without a number yet, for the further pages of each GET that has some."""
    return [
        Chunk(NO_NUMBER, Positions.span(position, 1), result.continuation, 1, chunk.target)
        for position, result in zip(chunk.positions, results, strict=False)
        if result.continuation is not None
    ]
