"""Record the results of a part of a chunk: segments, counters, and what is yet to be done."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec
import structlog
from sqlalchemy import Connection

from batchway import limits
from batchway.archive import SegmentWriter, encode_result, result_file_name
from batchway.contract.problems import internal_error
from batchway.contract.request import Caller
from batchway.contract.response import encode
from batchway.kit.clock import SECOND, Clock, Microseconds
from batchway.kit.json_text import RenderedJson
from batchway.lifecycle.parts import Parts
from batchway.model.batch import Batch, Chunk, Layout
from batchway.model.operation import Operation
from batchway.model.result import Result, is_error
from batchway.model.segment import Kind
from batchway.model.step import Step
from batchway.store import batches, chunks, segments
from batchway.store.batches import Progress
from batchway.store.segments import NewSegment

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Work:
    """A chunk that is being executed: operations, or one GET whose further pages are wanted."""

    batch: Batch
    chunk: Chunk
    caller: Caller
    operations: Sequence[Operation]

    @property
    def is_pages(self) -> bool:
        """Whether results are pages of the one operation."""
        return self.chunk.continuation is not None


@dataclass(frozen=True)
class Packed:
    """Results, and the segments that hold them."""

    results: Sequence[Result]
    segments: Sequence[NewSegment]


@dataclass(frozen=True)
class Turn:
    """How long a worker goes on with one chunk, and with what is left of it, before others may."""

    clock: Clock
    ends_at: Microseconds

    @classmethod
    def now(cls, clock: Clock) -> "Turn":
        """A turn that begins."""
        return cls(clock, clock() + int(limits.step_seconds_max * SECOND))

    @property
    def is_over(self) -> bool:
        """Whether what is left is to be handed over."""
        return self.clock() >= self.ends_at


class NotRunning(Exception):
    """Rolls a chunk back: its batch was deleted or told to stop meanwhile."""


def pack(work: Work, results: Sequence[Result]) -> Packed:
    """Compress the results of the first operations, or of the next pages. Needs no lock.

    Bodies are rendered here. One that cannot be is a 500 for its operation and for nobody else.
    """
    try:
        return _packed(work, results)
    except Exception:
        log.exception("call_failed")
        return _packed(work, [_rendered(result) for result in results])


def _rendered(result: Result) -> Result:
    try:
        body = RenderedJson(result.body.plain())
    except Exception:
        problem = internal_error().problem
        return Result.of(problem.status, encode(problem))
    return Result(result.status_code, body, result.continuation)


def _packed(work: Work, results: Sequence[Result]) -> Packed:
    entries = list(_entries(work, results))
    if work.batch.layout is Layout.PER_OPERATION:
        packed = [_segment(work, Kind.FILES, 0, entries)]
    else:
        bare = [entry for entry in entries if entry.operation.method != "GET"]
        files = [entry for entry in entries if entry.operation.method == "GET"]
        packed = [
            _segment(work, kind, number, some)
            for number, (kind, some) in enumerate([(Kind.RESULTS, bare), (Kind.FILES, files)])
            if some
        ]
    return Packed(results, packed)


class _Entry(msgspec.Struct, frozen=True, gc=False):
    """One result and its place."""

    operation: Operation
    result: Result
    position: int
    page: int


def _entries(work: Work, results: Sequence[Result]) -> Iterator[_Entry]:
    position, page = work.chunk.first_position, work.chunk.next_page
    if work.is_pages:
        for number, result in enumerate(results, page):
            yield _Entry(work.operations[0], result, position, number)
    else:
        for operation, result in zip(work.operations, results, strict=False):
            yield _Entry(operation, result, position, 0)
            position += 1


def _segment(work: Work, kind: Kind, number: int, entries: Sequence[_Entry]) -> NewSegment:
    batch = work.batch
    writer = SegmentWriter(mtime_seconds=batch.submitted_at // SECOND)
    for entry in entries:
        result = entry.result
        encoded = encode_result(
            result.status_code, entry.operation.operation_id, result.body.quoted()
        )
        if kind is Kind.RESULTS:
            writer.add_bare(encoded)
        else:
            writer.add(result_file_name(batch.id, entry.position, entry.page), encoded)
    status_counts = Counter([entry.result.status_code for entry in entries])
    return NewSegment(
        chunk_number=work.chunk.number,
        number=work.chunk.next_page + number,
        kind=kind,
        first_position=entries[0].position,
        first_page=entries[0].page,
        status_counts=status_counts,
        errored_count=sum(n for code, n in status_counts.items() if is_error(code)),
        segment=writer.finish(),
    )


def record(  # noqa: PLR0913 - the parts, what, and what follows from it
    parts: Parts,
    connection: Connection,
    work: Work,
    packed: Packed,
    *,
    left: Sequence[Chunk] = (),
    is_chunk_done: bool = True,
    goes_on: bool = False,
) -> int | None:
    """Keep results in the caller's transaction, and hand the chunks `left` over.

    If the caller `goes_on`, it does the first of these itself, and gets its number; should it die,
    the sweep finds that chunk. Raises NotRunning if the batch does not run as it did when the work
    began.
    """
    batch = work.batch
    for new in packed.segments:
        segments.insert(connection, batch, new)
    # The one row that all chunks of the batch write comes late.
    counted = batches.record(
        connection,
        batch,
        Progress(
            finished=len(packed.results),
            errored=sum(segment.errored_count for segment in packed.segments),
            found=len(packed.results) if work.is_pages else 0,
            new_chunks=len(left),
            is_chunk_done=is_chunk_done,
        ),
        parts.clock(),
    )
    if counted is None:
        raise NotRunning
    new_chunks = [
        replace(chunk, number=number)
        for number, chunk in enumerate(left, counted.count - len(left))
    ]
    chunks.insert(connection, batch, new_chunks)
    own = new_chunks[:1] if goes_on else []
    for chunk in new_chunks[len(own) :]:
        parts.hand_over(connection, Step.EXECUTE, batch.id, chunk.number)
    if counted.left == 0 and batches.begin_finalizing(connection, batch, parts.clock()):
        delay = limits.own_hand_over_seconds  # this process does it at once: `steps.py`
        parts.hand_over(connection, Step.FINALIZE, batch.id, delay_seconds=delay)
    return own[0].number if own else None
