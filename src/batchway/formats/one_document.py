"""`per-batch`: one file contains the results of all operations except GETs.

It is for readers that parse all results as one JSON document. Each result of a GET is a file of its
own, because a GET may page: its later pages are read after the results of other operations were
recorded, and the document contains one result per operation.

A segment of the document contains results that are separated by commas. The brackets, the commas
between segments and the header of the file are added when the segments are joined.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from batchway import limits
from batchway.formats.base import Entry, Format, LoadSegment, PackedSegment
from batchway.kit import ustar
from batchway.kit.clock import SECOND
from batchway.model.batch import Batch
from batchway.model.operation import Operation
from batchway.model.segment import Segment, SegmentKey
from batchway.result_archive.container import join_segments
from batchway.result_archive.files import (
    PAGES_MAX,
    POSITIONS_MAX,
    WrittenResult,
    decode_results,
    encode_result,
    name_result_file,
)
from batchway.result_archive.segments import SegmentWriter, deflate_text, read_text

KIND = "results"


@dataclass(frozen=True)
class OneDocument:
    """Writes one JSON array of results. `files` is the format of the results of GETs."""

    files: Format

    def pack_results(self, batch: Batch, entries: Sequence[Entry]) -> list[PackedSegment]:
        """Compress the results for the document into one segment, and the others with `files`."""
        document = [entry for entry in entries if _is_in_document(entry.operation)]
        others = [entry for entry in entries if not _is_in_document(entry.operation)]
        packed = [PackedSegment(KIND, document, _pack_document(document))] if document else []
        return [*packed, *(self.files.pack_results(batch, others) if others else [])]

    def join_segments(
        self, batch: Batch, keys: Sequence[SegmentKey], load: LoadSegment
    ) -> Iterator[tuple[SegmentKey | None, bytes]]:
        """Join the document and the segments of files, in this order."""
        return join_segments(_arrange_segments(batch, keys, load))

    def read_segment(
        self, batch: Batch, kind: str, data: bytes, operations: Mapping[int, Operation]
    ) -> Iterator[tuple[int, int, WrittenResult]]:
        """Match the results in a part of the document with its operations."""
        if kind != KIND:
            yield from self.files.read_segment(batch, kind, data, operations)
            return
        positions = [
            position for position, operation in operations.items() if _is_in_document(operation)
        ]
        results = decode_results(b"[%b]" % read_text(data))
        # The index of an older version may have more operations than the segment has results.
        for position, result in zip(positions, results, strict=False):
            yield position, 0, result


def _is_in_document(operation: Operation) -> bool:
    return operation.method != "GET"


def _pack_document(entries: Sequence[Entry]) -> Segment:
    writer = SegmentWriter(mtime_seconds=0)
    separator = b""
    for entry in entries:
        result = entry.result
        array = encode_result(
            result.status_code, entry.operation.operation_id, result.body.render_quoted()
        )
        writer.add_text(separator + array[1:-1])
        separator = b","
    return writer.finish()


def _arrange_segments(
    batch: Batch, keys: Sequence[SegmentKey], load: LoadSegment
) -> Iterator[tuple[SegmentKey | None, Segment]]:
    """Yield all segments in order, and without a key those that enclose the parts of a document."""
    for number, group in enumerate(_group_by_size([key for key in keys if key.kind == KIND])):
        yield from _write_document(batch, number, group, load)
    for key in keys:
        if key.kind != KIND:
            yield key, load(key)


def _group_by_size(keys: Sequence[SegmentKey]) -> Iterator[list[SegmentKey]]:
    """Yield all keys as one group, or as several if a file would be larger than its limit."""
    group: list[SegmentKey] = []
    size = 0
    for key in keys:
        if group and size + key.raw_bytes > limits.results_file_bytes_max:
            yield group
            group, size = [], 0
        group.append(key)
        size += key.raw_bytes + 1
    if group:
        yield group


def _write_document(
    batch: Batch, number: int, group: Sequence[SegmentKey], load: LoadSegment
) -> Iterator[tuple[SegmentKey | None, Segment]]:
    """Yield one document: a header and `[`, the segments separated by commas, `]` and zeros."""
    # No operation has so many pages, so that the name of a document differs from all others.
    name = name_result_file(batch.id, POSITIONS_MAX - 1 - number, PAGES_MAX - 1)
    size = sum(key.raw_bytes for key in group) + len(group) - 1 + len("[]")
    text = ustar.make_header(name, size, batch.submitted_at // SECOND) + b"["
    for key in group:
        yield None, deflate_text(text)
        yield key, load(key)
        text = b","
    yield None, deflate_text(b"]" + bytes(ustar.round_up_to_block(size) - size))
