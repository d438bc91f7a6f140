"""Record the results of a part of a chunk: segments, counters, and what is yet to be done."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from batchway import limits
from batchway.contract.request import Caller
from batchway.formats.base import Entry, PackedSegment
from batchway.kit.clock import SECOND, Clock, Microseconds
from batchway.lifecycle.pack import Packed
from batchway.lifecycle.parts import Parts
from batchway.model.batch import Batch, Chunk
from batchway.model.operation import Operation
from batchway.model.result import Result, is_error
from batchway.model.step import Step
from batchway.store import batches, chunks, segments
from batchway.store.batches import Progress
from batchway.store.segments import NewSegment


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

    def place_results(self, results: Sequence[Result]) -> list[Entry]:
        """Give the results of the first operations, or of the next pages, their places."""
        position, page = self.chunk.first_position, self.chunk.next_page
        if self.is_pages:
            operation = self.operations[0]
            return [
                Entry(position, number, operation, result)
                for number, result in enumerate(results, page)
            ]
        pairs = zip(self.operations, results, strict=False)
        return [
            Entry(number, 0, operation, result)
            for number, (operation, result) in enumerate(pairs, position)
        ]


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
    new_segments = [
        _index_segment(work.chunk, number, segment)
        for number, segment in enumerate(packed.segments, work.chunk.next_page)
    ]
    for new in new_segments:
        segments.insert(connection, batch, new)
    # The one row that all chunks of the batch write comes late.
    counted = batches.record(
        connection,
        batch,
        Progress(
            finished=len(packed.entries),
            errored=sum(new.errored_count for new in new_segments),
            found=len(packed.entries) if work.is_pages else 0,
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


def _index_segment(chunk: Chunk, number: int, packed: PackedSegment) -> NewSegment:
    entries = packed.entries
    status_counts = Counter([entry.result.status_code for entry in entries])
    return NewSegment(
        chunk_number=chunk.number,
        number=number,
        kind=packed.kind,
        first_position=entries[0].position,
        first_page=entries[0].page,
        status_counts=status_counts,
        errored_count=sum(n for code, n in status_counts.items() if is_error(code)),
        segment=packed.segment,
    )
