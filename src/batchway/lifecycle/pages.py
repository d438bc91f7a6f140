"""Execute the further pages of a GET: each run answers as many as make one segment.

A run is one transaction, with the segment, the counters and the continuation. If the process dies
before it commits, these pages are read again.
"""

from collections.abc import Iterator, Sequence

from batchway import limits
from batchway.errors import Refusal, RefusalKind
from batchway.lifecycle.chain import Chain
from batchway.lifecycle.pack import pack_results
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.record import record_pages, report_recorded
from batchway.lifecycle.work import Work
from batchway.model.result import Result
from batchway.model.step import StepName
from batchway.observers.base import Event
from batchway.result_archive.files import PAGES_MAX
from batchway.targets.base import PlannedTarget

_TOO_MANY_PAGES = (
    f"The collection has more than {PAGES_MAX} pages. Read it with several operations that name a "
    "count and an offset."
)


def execute_pages(chain: Chain, target: PlannedTarget, work: Work) -> StepName | None:
    """Answer and record the next pages; return the next step."""
    return _record(chain, work, list(_answer_pages(chain.parts, target, work)))


def end_pages(chain: Chain, work: Work, result: Result) -> StepName | None:
    """Record a result as the last page, without reading further ones; return the next step."""
    return _record(chain, work, [result])


def _record(chain: Chain, work: Work, results: Sequence[Result]) -> StepName | None:
    parts = chain.parts
    packed = pack_results(parts, work.batch, work.place_results(results))
    parts.observe(Event.PAGES_BEFORE_TRANSACTION)
    with parts.database.write() as connection:
        recorded = record_pages(parts, connection, work, packed)
        following = chain.follow(connection, work.batch, *recorded)
        parts.observe(Event.PAGES_BEFORE_COMMIT)
    parts.observe(Event.PAGES_AFTER_COMMIT)
    report_recorded(parts, work, packed, is_chunk_done=results[-1].continuation is None)
    return following


def _answer_pages(parts: Parts, target: PlannedTarget, work: Work) -> Iterator[Result]:
    [operation] = work.operations
    continuation = work.chunk.continuation
    page, size = work.chunk.next_page, 0
    while continuation is not None and size < limits.answer_bytes_max:
        if page == PAGES_MAX - 1:
            yield parts.render_refusal(Refusal(RefusalKind.WRONG, _TOO_MANY_PAGES))
            return
        result = target.answer_page(work.caller, operation, continuation)
        yield result
        continuation = result.continuation
        page += 1
        size += len(result.body.render())
