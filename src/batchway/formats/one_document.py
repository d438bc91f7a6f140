"""`per-batch`: one file holds all results, but those of GETs, which have files of their own.

For readers that parse everything as one JSON document. A GET is not in it because it may page: its
further results are found after those of later operations are recorded, and the document has room
for one result an operation.

A segment of the document holds results separated by commas, without a file around them. The
brackets, the commas between segments and the file's header are added when segments are joined.
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
    """One JSON array of results; `files` is the format of those that have files of their own."""

    files: Format

    def pack_results(self, batch: Batch, entries: Sequence[Entry]) -> list[PackedSegment]:
        """Compress the results for the document into one segment, the others as `files` does."""
        document = [entry for entry in entries if _is_in_document(entry.operation)]
        others = [entry for entry in entries if not _is_in_document(entry.operation)]
        packed = [PackedSegment(KIND, document, _pack_document(document))] if document else []
        return [*packed, *(self.files.pack_results(batch, others) if others else [])]

    def join_segments(
        self, batch: Batch, keys: Sequence[SegmentKey], load: LoadSegment
    ) -> Iterator[tuple[SegmentKey | None, bytes]]:
        """Put the document first, then one segment of files behind the other."""
        return join_segments(_arrange(batch, keys, load))

    def read_segment(
        self, batch: Batch, kind: str, data: bytes, operations: Mapping[int, Operation]
    ) -> Iterator[tuple[int, int, WrittenResult]]:
        """Match the results of a part of the document with the operations that belong to it."""
        if kind != KIND:
            yield from self.files.read_segment(batch, kind, data, operations)
            return
        positions = [at for at, operation in operations.items() if _is_in_document(operation)]
        results = decode_results(b"[%b]" % read_text(data))
        # An index of an older version may name more operations than the segment has results of.
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
            result.status_code, entry.operation.operation_id, result.body.quoted()
        )
        writer.add_text(separator + array[1:-1])
        separator = b","
    return writer.finish()


def _arrange(
    batch: Batch, keys: Sequence[SegmentKey], load: LoadSegment
) -> Iterator[tuple[SegmentKey | None, Segment]]:
    """All segments in their order; those that belong to no key surround the document's parts."""
    for number, group in enumerate(_group_by_size([key for key in keys if key.kind == KIND])):
        yield from _enclose(batch, number, group, load)
    for key in keys:
        if key.kind != KIND:
            yield key, load(key)


def _group_by_size(keys: Sequence[SegmentKey]) -> Iterator[list[SegmentKey]]:
    """One group, unless it is larger than a file of an archive may be."""
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


def _enclose(
    batch: Batch, number: int, group: Sequence[SegmentKey], load: LoadSegment
) -> Iterator[tuple[SegmentKey | None, Segment]]:
    """One document: the file's header and `[`, the segments with commas between, `]`, zeros."""
    # The names of documents are the last ones of the batch: no operation has so many pages.
    name = name_result_file(batch.id, POSITIONS_MAX - 1 - number, PAGES_MAX - 1)
    size = sum(key.raw_bytes for key in group) + len(group) - 1 + len("[]")
    text = ustar.make_header(name, size, batch.submitted_at // SECOND) + b"["
    for key in group:
        yield None, deflate_text(text)
        yield key, load(key)
        text = b","
    yield None, deflate_text(b"]" + bytes(ustar.round_up_to_block(size) - size))
