"""Pack: render results and compress them into segments, before any lock is taken."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import structlog

from batchway.errors import Refusal, RefusalKind
from batchway.formats.base import Entry, PackedSegment
from batchway.kit.json_text import RenderedJson
from batchway.kit.logs import log_exception
from batchway.lifecycle.parts import Parts
from batchway.model.batch import Batch
from batchway.model.result import Result

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class PackedResults:
    """Results with their positions and pages, and the segments that hold them."""

    entries: Sequence[Entry]
    segments: Sequence[PackedSegment]

    @cached_property
    def errored_count(self) -> int:
        """How many of the results are errored."""
        return sum(entry.result.is_errored for entry in self.entries)


def pack_results(parts: Parts, batch: Batch, entries: Sequence[Entry]) -> PackedResults:
    """Compress results in the batch's format.

    If a body cannot be rendered, its operation gets a 500 as its result. Bodies are rendered when
    they are compressed; after a failure each body is rendered alone, to find the one that fails.
    """
    try:
        return _pack(parts, batch, entries)
    except Exception:
        log_exception(log, "call_failed")
        return _pack(parts, batch, [_render_entry(parts, entry) for entry in entries])


def _pack(parts: Parts, batch: Batch, entries: Sequence[Entry]) -> PackedResults:
    return PackedResults(entries, parts.get_format(batch).pack_results(batch, entries))


def _render_entry(parts: Parts, entry: Entry) -> Entry:
    result = _render_result(parts, entry.result)
    return Entry(entry.position, entry.page, entry.operation, result)


def _render_result(parts: Parts, result: Result) -> Result:
    try:
        body = RenderedJson(result.body.render())
    except Exception:
        return parts.render_refusal(Refusal(RefusalKind.FAILED))
    return Result(result.status_code, body, result.continuation)
