"""Execute one chunk through the target, and record its results.

1. Count the attempt, so that a chunk that kills its process is noticed.
2. Work out, render and compress the results: no lock is held.
3. In one transaction: what the operations do, their results, the counters, "chunk done", and
   the hand-over to finalize if no chunk is left. If the ground has moved since 2, work the
   results out again inside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from batchway import limits
from batchway.archive import SegmentWriter, encode_result, result_file_name
from batchway.contract.links import Links
from batchway.contract.problems import Refused, api_key_invalid, internal_error
from batchway.contract.request import Caller
from batchway.contract.response import encode
from batchway.errors import Stale
from batchway.faults import FaultPoint, fault
from batchway.kit.clock import SECOND
from batchway.lifecycle.parts import Parts
from batchway.model.batch import Batch, Chunk, Status
from batchway.model.operation import Operation, unpack
from batchway.model.result import Result
from batchway.model.segment import Segment
from batchway.model.step import Step
from batchway.store import accounts, batches, chunks, inputs, segments
from batchway.store.chunks import Attempt
from batchway.targets.base import Answer


@dataclass(frozen=True)
class _Work:
    """A chunk that is being executed."""

    batch: Batch
    chunk: Chunk
    caller: Caller
    operations: Sequence[Operation]


@dataclass(frozen=True)
class _Fixed:
    """An answer that needs nothing written."""

    results: Sequence[Result]

    def write(self, connection: Connection) -> None:
        """Nothing to write."""


class _NotRunning(Exception):
    """Rolls a chunk back."""


def execute(parts: Parts, batch_id: int, number: int) -> None:
    """Execute a chunk. May run twice and die anywhere; takes effect once."""
    begun = _begin(parts, batch_id, number)
    if begun is None:
        return
    batch, attempt, is_key_revoked = begun
    fault(FaultPoint.EXECUTE_AFTER_ATTEMPT)
    if attempt.number > limits.chunk_attempts_max and attempt.chunk.operation_count > 1:
        _halve(parts, batch, attempt.chunk)
        return
    work = _load(parts, batch, attempt.chunk)
    answer = _answer(parts, work, attempt, is_key_revoked=is_key_revoked)
    try:
        _record(parts, work, answer)
    except Stale:
        _record(parts, work, None)
    fault(FaultPoint.EXECUTE_AFTER_COMMIT)


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


def _load(parts: Parts, batch: Batch, chunk: Chunk) -> _Work:
    operations: list[Operation] = []
    with parts.database.read() as connection:
        account = accounts.find(connection, batch.account_id)
        pieces = inputs.of_chunk(connection, batch, chunk)
    for first_position, data in pieces:
        held = unpack(data)
        first = max(chunk.first_position - first_position, 0)
        operations += held[first : chunk.end_position - first_position]
    caller = Caller(
        account_id=batch.account_id,
        account_name=account.name if account else "",
        now=parts.clock(),
        links=Links(batch.base_url),
    )
    return _Work(batch, chunk, caller, operations)


def _answer(parts: Parts, work: _Work, attempt: Attempt, *, is_key_revoked: bool) -> Answer | None:
    """What the operations come to, or None if that can only be told within the transaction."""
    if is_key_revoked:
        return _all_refused(work, api_key_invalid())
    if attempt.number > limits.chunk_attempts_max:
        return _all_refused(work, internal_error())
    fault(FaultPoint.EXECUTE_BEFORE_ANSWER)
    try:
        return parts.target.answer(work.caller, work.operations)
    except Stale:
        return None


def _all_refused(work: _Work, refused: Refused) -> Answer:
    result = Result(refused.problem.status, encode(refused.problem))
    return _Fixed([result] * len(work.operations))


def _record(parts: Parts, work: _Work, answer: Answer | None) -> None:
    """Everything that makes the chunk done, or nothing."""
    packed = None if answer is None else _pack(work, answer.results)
    fault(FaultPoint.EXECUTE_BEFORE_TRANSACTION)
    try:
        with parts.database.write() as connection:
            if not chunks.finish(connection, work.batch, work.chunk):
                return
            if answer is None or packed is None:
                results = parts.target.answer_within(connection, work.caller, work.operations)
                packed = _pack(work, results)
            else:
                answer.write(connection)
            _count(parts, connection, work, packed)
            fault(FaultPoint.EXECUTE_BEFORE_COMMIT)
    except _NotRunning:
        return


def _count(parts: Parts, connection: Connection, work: _Work, packed: tuple[Segment, int]) -> None:
    segment, errored_count = packed
    batch = work.batch
    segments.insert(connection, batch, work.chunk, segment, errored_count)
    # Last, because it holds the one row that all chunks of the batch write.
    chunks_left = batches.record_chunk(
        connection, batch, work.chunk.operation_count, errored_count, parts.clock()
    )
    if chunks_left is None:
        raise _NotRunning
    if chunks_left == 0 and batches.begin_finalizing(connection, batch, parts.clock()):
        parts.hand_over(connection, Step.FINALIZE, batch.id)


def _pack(work: _Work, results: Sequence[Result]) -> tuple[Segment, int]:
    """The chunk's segment, and how many of its results are errored."""
    batch, position = work.batch, work.chunk.first_position
    writer = SegmentWriter(mtime_seconds=batch.submitted_at // SECOND)
    errored_count = 0
    for operation, result in zip(work.operations, results, strict=True):
        writer.add(
            result_file_name(batch.id, position, 0),
            encode_result(result.status_code, operation.operation_id, result.body),
        )
        position += 1
        errored_count += result.is_errored
    return writer.finish(), errored_count
