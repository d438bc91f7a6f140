"""Execute one chunk through the target, and record its results.

1. Claim the chunk and count the attempt, so that a chunk that kills its process is noticed.
2. Work out, render and compress the results: no lock is held.
3. In one transaction: what the operations do, their results, the counters, "chunk done", and
   the claim of the step that follows. If what the results rest on has changed since 2, work them
   out again inside it.

A target may answer in part: the chunk keeps the other operations. The further pages of each GET
that goes on become a chunk of their own (`pages.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from batchway.errors import Refusal, RefusalKind, Stale
from batchway.lifecycle.chain import Chain
from batchway.lifecycle.pack import pack_results
from batchway.lifecycle.pages import execute_pages
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.record import NO_NUMBER, NotRunning, record_results, report_recorded
from batchway.lifecycle.screen import Screened, screen
from batchway.lifecycle.work import Work, load_work
from batchway.model.batch import Chunk
from batchway.model.positions import Positions
from batchway.model.result import Result
from batchway.model.step import StepName
from batchway.observers.base import Event
from batchway.store import batches, chunks
from batchway.targets.base import Plan, PlannedTarget
from batchway.targets.table import ROOT


@dataclass(frozen=True)
class _Fixed:
    """A plan of results that need nothing written."""

    results: Sequence[Result]

    def prepare(self) -> None:
        """Nothing to prepare."""

    def write(self, connection: Connection) -> None:
        """Nothing to write."""


def begin_chunk(chain: Chain) -> StepName | None:
    """Claim the chunk that was handed over, and count the attempt."""
    return _claim(chain, chain.first)


def execute(chain: Chain, name: StepName) -> StepName | None:
    """Execute a chunk that is claimed, as far as the target answers it at once."""
    chain.parts.observe(Event.EXECUTE_AFTER_ATTEMPT)
    work = load_work(chain.parts, name)
    if work is None:
        return None
    try:
        if _has_failed(chain.parts, work) and len(work.chunk.positions) > 1:
            return _halve(chain, work)
        refusal = _find_refusal(chain.parts, work)
        if work.chunk.continuation is not None:
            return execute_pages(chain, _target(chain.parts), work, refusal)
        return _execute_operations(chain, work, refusal)
    except NotRunning:
        return _claim(chain, name)  # to be recorded as cancelled, if the batch is still there


def _claim(chain: Chain, name: StepName) -> StepName | None:
    with chain.parts.database.write() as connection:
        batch = batches.get(connection, name.key)
        if batch is None or not batch.is_running:
            return None
        return chain.claim_chunk(connection, batch, name)


def _execute_operations(chain: Chain, work: Work, refusal: Refusal | None) -> StepName | None:
    parts = chain.parts
    screened = Screened(work.operations, {})
    if refusal is None:
        screened = screen(work.operations, parts.render_refusal)
    plan = _plan(parts, work, screened, refusal)
    try:
        following = _record(chain, work, screened, plan)
    except Stale:
        following = _record(chain, work, screened, None)
    chain.parts.observe(Event.EXECUTE_AFTER_COMMIT)
    return following


def _halve(chain: Chain, work: Work) -> StepName | None:
    """Cut a chunk that never commits in two, until the operation that is at fault stands alone."""
    parts, batch, chunk = chain.parts, work.batch, work.chunk
    kept, moved = chunk.positions.split_at(len(chunk.positions) // 2)
    with parts.database.write() as connection:
        if not chunks.keep(connection, batch, chunk, kept, parts.worker):
            raise NotRunning
        number = batches.add_chunk(connection, batch)
        if number is None:
            raise NotRunning
        halves = [replace(chunk, positions=kept), replace(chunk, number=number, positions=moved)]
        chunks.insert(connection, batch, halves[1:])
        return chain.follow(connection, batch, halves, len(halves))


def _has_failed(parts: Parts, work: Work) -> bool:
    return work.attempt_number > parts.limits.chunk_attempts_max


def _find_refusal(parts: Parts, work: Work) -> Refusal | None:
    """Why no operation of the chunk is to be run, if so."""
    if work.batch.is_cancelling:
        return Refusal(RefusalKind.CANCELLED)
    if work.is_key_revoked:
        return Refusal(RefusalKind.KEY_REVOKED)
    if _has_failed(parts, work):
        return Refusal(RefusalKind.FAILED)
    return None


def _target(parts: Parts) -> PlannedTarget:
    target = parts.targets.find(ROOT).target
    assert isinstance(target, PlannedTarget)
    return target


def _plan(parts: Parts, work: Work, screened: Screened, refusal: Refusal | None) -> Plan | None:
    """What the operations come to, or None if that can only be told within the transaction."""
    if refusal is not None:
        return _Fixed([parts.render_refusal(refusal)] * len(screened.admitted))
    parts.observe(Event.EXECUTE_BEFORE_ANSWER)
    try:
        return _target(parts).plan(work.caller, screened.admitted)
    except Stale:
        return None


def _record(chain: Chain, work: Work, screened: Screened, plan: Plan | None) -> StepName | None:
    """Everything that makes the answered part of the chunk done, or nothing."""
    parts, packed = chain.parts, None
    if plan is not None:
        packed = pack_results(parts, work.batch, work.place_results(screened.merge(plan.results)))
        plan.prepare()
    parts.observe(Event.EXECUTE_BEFORE_TRANSACTION)
    with parts.database.write() as connection:
        if plan is None or packed is None:
            answered = _target(parts).answer_within(connection, work.caller, screened.admitted)
            entries = work.place_results(screened.merge(answered))
            packed = pack_results(parts, work.batch, entries)
        else:
            plan.write(connection)
        _, remaining = work.chunk.positions.split_at(len(packed.entries))
        pages = _further_pages(work.chunk, [entry.result for entry in packed.entries])
        recorded = record_results(parts, connection, work, packed, remaining, pages)
        following = chain.follow(connection, work.batch, *recorded)
        parts.observe(Event.EXECUTE_BEFORE_COMMIT)
    report_recorded(parts, work, packed, is_chunk_done=not remaining)
    return following


def _further_pages(chunk: Chunk, results: Sequence[Result]) -> list[Chunk]:
    """A chunk for the further pages of each GET that goes on; it has no number yet."""
    return [
        Chunk(NO_NUMBER, Positions.span(position, 1), result.continuation, 1, chunk.target)
        for position, result in zip(chunk.positions, results, strict=False)
        if result.continuation is not None
    ]
