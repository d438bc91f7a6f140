"""The contract of a results format: how results become segments, and segments an archive.

A format is stateless, and the same arguments always give the same bytes, so that a step that runs
twice writes the same bytes. `result_archive/` contains what formats share.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from batchway.model.batch import Batch
from batchway.model.operation import Operation
from batchway.model.result import Result
from batchway.model.segment import Segment, SegmentKey
from batchway.result_archive.files import WrittenResult

LoadSegment = Callable[[SegmentKey], Segment]


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A result with its place: the position of its operation in the batch, and its page."""

    position: int
    page: int
    operation: Operation
    result: Result


class PackedSegment(msgspec.Struct, frozen=True):
    """A segment and its entries. `kind` tells the format how the segment is written."""

    kind: str
    entries: Sequence[Entry]
    segment: Segment


class Format(Protocol):
    """Writes the results of a batch. Safe for concurrent threads."""

    def pack_results(self, batch: Batch, entries: Sequence[Entry]) -> list[PackedSegment]:
        """Compress the entries into one or more segments, in the given order.

        The entries are sorted by their places, which need not be consecutive. This renders the
        bodies, and passes on what the rendering raises.
        """
        ...

    def join_segments(
        self, batch: Batch, keys: Sequence[SegmentKey], load: LoadSegment
    ) -> Iterator[tuple[SegmentKey | None, bytes]]:
        """Yield the archive of a batch in parts, with at most one segment in memory at a time.

        `keys` name all segments of the batch, sorted by the places of their first results. Each
        segment is yielded once, complete and unchanged, with its key. Other parts have no key.
        """
        ...

    def read_segment(
        self, batch: Batch, kind: str, data: bytes, operations: Mapping[int, Operation]
    ) -> Iterator[tuple[int, int, WrittenResult]]:
        """Yield (position, page, result) for each result in the bytes of one segment.

        `operations` are those whose results may be in the segment, by position and in order.
        Raises ValueError if the bytes are not a complete segment.
        """
        ...
