"""Execute one chunk through the target, and record its results.

1. Count the attempt, so that a chunk that kills its process is noticed.
2. Work out, render and compress the results: no lock is held.
3. In one transaction: what the operations do, their results, the counters, "chunk done", and
   the hand-over to finalize if no chunk is left. If the ground has moved since 2, work the
   results out again inside it.

A target may answer in part: what is left becomes a chunk of its own, in the same transaction, and
so do the further pages of each GET that goes on (`pages.py`). It is begun at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from batchway import limits
from batchway.contract.links import Links
from batchway.contract.problems import (
    Refused,
    api_key_invalid,
    internal_error,
    operation_cancelled,
)
from batchway.contract.request import Caller
from batchway.errors import Stale
from batchway.faults import FaultPoint, fault
from batchway.lifecycle.pack import pack_results
from batchway.lifecycle.pages import execute_pages
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.record import NotRunning, Turn, Work, record
from batchway.lifecycle.screen import Screened, refuse_operation, screen
from batchway.model.batch import Batch, Chunk, Status
from batchway.model.operation import operations_between
from batchway.model.result import Result
from batchway.model.step import Step
from batchway.store import accounts, batches, chunks, inputs
from batchway.store.chunks import Attempt
from batchway.targets.base import Plan, PlannedTarget
from batchway.targets.table import ROOT

_NO_NUMBER = -1  # until the batch has counted the chunk


@dataclass(frozen=True)
class _Fixed:
    """A plan of results that need nothing written."""

    results: Sequence[Result]

    def prepare(self) -> None:
        """Nothing to prepare."""

    def write(self, connection: Connection) -> None:
        """Nothing to write."""


def execute(parts: Parts, batch_id: int, number: int) -> None:
    """Execute a chunk, for a while. May run twice and die anywhere; takes effect once."""
    turn = Turn.now(parts.clock)
    next_number: int | None = number
    while next_number is not None:
        next_number = _execute_once(parts, batch_id, next_number, turn)


def _execute_once(parts: Parts, batch_id: int, number: int, turn: Turn) -> int | None:
    """Execute what the target answers at once; the number of the chunk to go on with."""
    begun = _begin(parts, batch_id, number)
    if begun is None:
        return None
    batch, attempt, is_key_revoked = begun
    fault(FaultPoint.EXECUTE_AFTER_ATTEMPT)
    if attempt.number > limits.chunk_attempts_max and attempt.chunk.operation_count > 1:
        _halve(parts, batch, attempt.chunk)
        return None
    work = _load(parts, batch, attempt.chunk)
    refused = _refused(batch, attempt, is_key_revoked=is_key_revoked)
    if attempt.chunk.continuation is not None:
        return execute_pages(parts, _target(parts), work, refused, turn)
    screened = screen(work.operations) if refused is None else Screened(work.operations, {})
    plan = _plan(parts, work, screened, refused)
    try:
        next_number = _record(parts, work, screened, plan, turn)
    except Stale:
        next_number = _record(parts, work, screened, None, turn)
    fault(FaultPoint.EXECUTE_AFTER_COMMIT)
    return next_number


def _begin(parts: Parts, batch_id: int, number: int) -> tuple[Batch, Attempt, bool] | None:
    with parts.database.write() as connection:
        batch = batches.get(connection, batch_id)
        if batch is None or batch.status is not Status.STARTED:
            return None
        attempt = chunks.attempt(connection, batch, number)
        if attempt is None:
            return None
        is_revoked = accounts.is_key_revoked(connection, batch.account_id, batch.api_key_id)
        return batch, attempt, is_revoked


def _halve(parts: Parts, batch: Batch, chunk: Chunk) -> None:
    """Cut a chunk that never commits in two, until the operation that is at fault stands alone."""
    kept = chunk.operation_count // 2
    with parts.database.write() as connection:
        if not chunks.shrink(connection, batch, chunk, kept):
            return
        number = batches.add_chunk(connection, batch, parts.clock())
        if number is None:
            return
        rest = Chunk(number, chunk.first_position + kept, chunk.operation_count - kept)
        chunks.insert(connection, batch, [rest])
        parts.hand_over(connection, Step.EXECUTE, batch.id, chunk.number)
        parts.hand_over(connection, Step.EXECUTE, batch.id, rest.number)


def _load(parts: Parts, batch: Batch, chunk: Chunk) -> Work:
    with parts.database.read() as connection:
        account = accounts.find(connection, batch.account_id)
        pieces = inputs.between(connection, batch, chunk.first_position, chunk.end_position)
    operations = operations_between(pieces, chunk.first_position, chunk.end_position)
    caller = Caller(
        account_id=batch.account_id,
        account_name=account.name if account else "",
        now=parts.clock(),
        links=Links(batch.base_url),
    )
    return Work(batch, chunk, caller, operations)


def _refused(batch: Batch, attempt: Attempt, *, is_key_revoked: bool) -> Refused | None:
    """Why no operation of the chunk is to be run, if so."""
    if batch.is_cancelling:
        return operation_cancelled()
    if is_key_revoked:
        return api_key_invalid()
    if attempt.number > limits.chunk_attempts_max:
        return internal_error()
    return None


def _target(parts: Parts) -> PlannedTarget:
    target = parts.targets.find(ROOT).target
    assert isinstance(target, PlannedTarget)
    return target


def _plan(parts: Parts, work: Work, screened: Screened, refused: Refused | None) -> Plan | None:
    """What the operations come to, or None if that can only be told within the transaction."""
    if refused is not None:
        return _Fixed([refuse_operation(refused)] * len(screened.admitted))
    fault(FaultPoint.EXECUTE_BEFORE_ANSWER)
    try:
        return _target(parts).plan(work.caller, screened.admitted)
    except Stale:
        return None


def _record(
    parts: Parts, work: Work, screened: Screened, plan: Plan | None, turn: Turn
) -> int | None:
    """Everything that makes the chunk done, or nothing; the number of a chunk to go on with."""
    packed = None
    if plan is not None:
        packed = pack_results(parts, work.batch, work.place_results(screened.merge(plan.results)))
        plan.prepare()
    fault(FaultPoint.EXECUTE_BEFORE_TRANSACTION)
    batch, chunk = work.batch, work.chunk
    try:
        with parts.database.write() as connection:
            if not chunks.finish(connection, batch, chunk):
                return None
            if plan is None or packed is None:
                answered = _target(parts).answer_within(connection, work.caller, screened.admitted)
                packed = pack_results(parts, batch, work.place_results(screened.merge(answered)))
            else:
                plan.write(connection)
            results = [entry.result for entry in packed.entries]
            if len(results) < chunk.operation_count:
                chunks.cut(connection, batch, chunk, len(results))
            left, goes_on = _left(chunk, results), not turn.is_over
            own = record(parts, connection, work, packed, left=left, goes_on=goes_on)
            fault(FaultPoint.EXECUTE_BEFORE_COMMIT)
    except NotRunning:
        return chunk.number  # to be recorded as cancelled, if the batch is still there
    return own


def _left(chunk: Chunk, results: Sequence[Result]) -> list[Chunk]:
    """What the results leave to be done, in chunks that have no number yet."""
    answered = len(results)
    left = [
        Chunk(_NO_NUMBER, position, 1, result.continuation, next_page=1)
        for position, result in enumerate(results, chunk.first_position)
        if result.continuation is not None
    ]
    if answered < chunk.operation_count:
        first = chunk.first_position + answered
        left.append(Chunk(_NO_NUMBER, first, chunk.operation_count - answered))
    return left
