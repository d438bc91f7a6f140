"""Execute the rest of a GET's pages: as many at once as make one segment, then the next ones.

Each turn is one transaction: a segment, the counters, and where it goes on. A turn that dies is
made again from there.
"""

from collections.abc import Iterator

from batchway import limits
from batchway.contract.problems import Refused, too_many_pages
from batchway.faults import FaultPoint, fault
from batchway.lifecycle.pack import pack_results
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.record import NotRunning, Turn, Work, record
from batchway.lifecycle.screen import refuse_operation
from batchway.model.result import Result
from batchway.model.step import Step
from batchway.result_archive.files import PAGES_MAX
from batchway.store import chunks
from batchway.targets.base import PlannedTarget


def execute_pages(
    parts: Parts, target: PlannedTarget, work: Work, refused: Refused | None, turn: Turn
) -> int | None:
    """Answer and record the next pages; the chunk's number if the caller goes on with the others.

    When the turn is over they are handed over instead. If the operation is `refused`, that is its
    last page.
    """
    results = [refuse_operation(refused)] if refused else list(_pages(target, work))
    continuation = results[-1].continuation
    packed = pack_results(parts, work.batch, work.place_results(results))
    batch, chunk = work.batch, work.chunk
    fault(FaultPoint.PAGES_BEFORE_TRANSACTION)
    try:
        with parts.database.write() as connection:
            if not chunks.advance(connection, batch, chunk, len(results), continuation):
                return None
            record(parts, connection, work, packed, is_chunk_done=continuation is None)
            goes_on = continuation is not None and not turn.is_over
            if continuation is not None and not goes_on:
                parts.hand_over(connection, Step.EXECUTE, batch.id, chunk.number)
            fault(FaultPoint.PAGES_BEFORE_COMMIT)
    except NotRunning:
        return chunk.number
    fault(FaultPoint.PAGES_AFTER_COMMIT)
    return chunk.number if goes_on else None


def _pages(target: PlannedTarget, work: Work) -> Iterator[Result]:
    [operation] = work.operations
    continuation = work.chunk.continuation
    page, size = work.chunk.next_page, 0
    while continuation is not None and size < limits.answer_bytes_max:
        if page == PAGES_MAX - 1:
            yield refuse_operation(too_many_pages(PAGES_MAX))
            return
        result = target.answer_page(work.caller, operation, continuation)
        yield result
        continuation = result.continuation
        page += 1
        size += len(result.body.plain())
