"""The contract of a results format: how results become segments, and segments an archive.

A format is stateless, and the same arguments always give the same bytes: a step that runs twice
writes the same again. `result_archive/` has what formats share.
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
    """A result and its place: the operation's position in the batch, the page of its response."""

    position: int
    page: int
    operation: Operation
    result: Result


class PackedSegment(msgspec.Struct, frozen=True):
    """A segment and the entries in it. `kind` is the format's own word for how it is written."""

    kind: str
    entries: Sequence[Entry]
    segment: Segment


class Format(Protocol):
    """Writes the results of a batch. Safe for many threads at once."""

    def pack_results(self, batch: Batch, entries: Sequence[Entry]) -> list[PackedSegment]:
        """Compress results into segments: each entry into one of them, in the order given.

        Entries come in the order of their places, which need not be consecutive. Bodies are
        rendered here; what that raises is passed on.
        """
        ...

    def join_segments(
        self, batch: Batch, keys: Sequence[SegmentKey], load: LoadSegment
    ) -> Iterator[tuple[SegmentKey | None, bytes]]:
        """Yield the batch's archive in parts, with at most one segment in memory at a time.

        `keys` are all segments of the batch by the places of their first results. The bytes of
        each segment come once, whole and unchanged, with its key; all other parts have no key.
        """
        ...

    def read_segment(
        self, batch: Batch, kind: str, data: bytes, operations: Mapping[int, Operation]
    ) -> Iterator[tuple[int, int, WrittenResult]]:
        """Yield (position, page, result) for each result in the bytes of one segment.

        `operations` are those that the segment may hold results of, by position and in order.
        Raises ValueError if the bytes are not a whole segment.
        """
        ...
