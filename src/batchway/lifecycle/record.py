"""Record the results of a part of a chunk: segments, counters, and the remaining chunks."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import Connection

from batchway.formats.base import PackedSegment
from batchway.kit.clock import compute_seconds
from batchway.lifecycle.chain import choose_chunk_step
from batchway.lifecycle.pack import PackedResults
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.work import Work
from batchway.model.batch import Chunk
from batchway.model.positions import Positions
from batchway.observers.base import Event
from batchway.store import batches, chunks, segments
from batchway.store.batches import Progress
from batchway.store.segments import NewSegment

NO_NUMBER = -1  # of a chunk that its batch has not counted yet


class RemainingChunks(NamedTuple):
    """The chunks that are not done after results were recorded."""

    waiting: list[Chunk]  # the ones that the step has worked on or added
    chunks_left: int  # how many the batch has


class NotRunning(Exception):
    """The results of a step must not be recorded.

    The worker's claim on the chunk has ended, or the batch was deleted or cancelled meanwhile.
    """


def record_results(  # noqa: PLR0913 - the work, its results, and what remains to do
    parts: Parts,
    connection: Connection,
    work: Work,
    packed: PackedResults,
    remaining: Positions,
    new_chunks: Sequence[Chunk] = (),
) -> RemainingChunks:
    """Record results of a part of a claimed chunk, in the caller's transaction.

    The chunk keeps the `remaining` positions, and is done if there are none. `new_chunks`, which
    have no number yet, are added to the batch. Raises NotRunning.
    """
    chunk = work.chunk
    if not chunks.keep_positions(connection, work.batch, chunk, remaining, parts.worker):
        raise NotRunning
    rest = replace(chunk, positions=remaining) if remaining else None
    return _record(connection, work, packed, rest, new_chunks)


def record_pages(
    parts: Parts, connection: Connection, work: Work, packed: PackedResults
) -> RemainingChunks:
    """Record the next pages of one operation, in the caller's transaction. Raises NotRunning."""
    batch, chunk, count = work.batch, work.chunk, len(packed.entries)
    continuation = packed.entries[-1].result.continuation
    if not chunks.advance(connection, batch, chunk, count, continuation, parts.worker):
        raise NotRunning
    rest = replace(chunk, continuation=continuation) if continuation is not None else None
    return _record(connection, work, packed, rest, ())


def postpone(  # noqa: PLR0913 - what is postponed, for how long, and why
    parts: Parts,
    connection: Connection,
    work: Work,
    positions: Positions,
    seconds: float,
    reason: str,
) -> None:
    """Move positions of a claimed chunk to a new chunk that is executed later.

    Call it in the transaction that records results of the chunk, whose `remaining` positions must
    not include these. `reason` is shown to people. Raises NotRunning.
    """
    batch = work.batch
    number = batches.add_chunk(connection, batch)
    if number is None:
        raise NotRunning
    chunk = replace(work.chunk, number=number, positions=positions)
    chunks.insert(connection, batch, [chunk])
    chunks.postpone(connection, batch, chunk, seconds, reason)
    step = choose_chunk_step(parts.targets, batch.id, number, chunk.target)
    parts.hand_over(connection, *step, delay_seconds=seconds)


def _record(
    connection: Connection,
    work: Work,
    packed: PackedResults,
    rest: Chunk | None,
    new_chunks: Sequence[Chunk],
) -> RemainingChunks:
    batch = work.batch
    part = Positions.collect(entry.position for entry in packed.entries)
    for segment in packed.segments:
        segments.insert(connection, batch, _index_segment(work.chunk, part, segment))
    # All chunks write this one row of the batch. It is written late, so that it is locked briefly.
    counted = batches.record(
        connection,
        batch,
        Progress(
            finished=len(packed.entries),
            errored=packed.errored_count,
            found=len(packed.entries) if work.is_pages else 0,
            new_chunks=len(new_chunks),
            is_chunk_done=rest is None,
        ),
    )
    if counted is None:
        raise NotRunning
    numbers = range(counted.count - len(new_chunks), counted.count)
    added = [replace(new, number=at) for at, new in zip(numbers, new_chunks, strict=True)]
    chunks.insert(connection, batch, added)
    return RemainingChunks([rest, *added] if rest else added, counted.left)


def _index_segment(chunk: Chunk, part: Positions, packed: PackedSegment) -> NewSegment:
    entries = packed.entries
    return NewSegment(
        chunk_number=chunk.number,
        kind=packed.kind,
        first_position=entries[0].position,
        positions=part,
        first_page=entries[0].page,
        status_counts=Counter([entry.result.status_code for entry in entries]),
        segment=packed.segment,
    )


def report_recorded(
    parts: Parts, work: Work, packed: PackedResults, *, is_chunk_done: bool
) -> None:
    """Pass what was recorded of a chunk to the observers. Call this after the commit."""
    parts.observe(
        Event.CHUNK_DONE if is_chunk_done else Event.CHUNK_ADVANCED,
        batch=work.batch.public_id,
        chunk=work.chunk.number,
        operations=len(packed.entries),
        errored=packed.errored_count,
        seconds=compute_seconds(work.caller.now, parts.clock()),
    )
