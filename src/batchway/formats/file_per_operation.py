"""`per-operation`: one file for each result, and for each page of a GET that pages.

The name of a file contains the position and the page of its result, so that no index of single
results is needed.
"""

from collections.abc import Iterator, Mapping, Sequence

from batchway.formats.base import Entry, LoadSegment, PackedSegment
from batchway.kit.clock import SECOND
from batchway.model.batch import Batch
from batchway.model.operation import Operation
from batchway.model.segment import SegmentKey
from batchway.result_archive.container import join_segments
from batchway.result_archive.files import (
    WrittenResult,
    decode_results,
    encode_result,
    name_result_file,
    parse_file_name,
)
from batchway.result_archive.segments import SegmentWriter, read_files

KIND = "files"


class FilePerOperation:
    """The layout of Mailchimp's archives."""

    def pack_results(self, batch: Batch, entries: Sequence[Entry]) -> list[PackedSegment]:
        """Compress all results into one segment."""
        writer = SegmentWriter(mtime_seconds=batch.submitted_at // SECOND)
        for entry in entries:
            result = entry.result
            writer.add_file(
                name_result_file(batch.id, entry.position, entry.page),
                encode_result(
                    result.status_code, entry.operation.operation_id, result.body.render_quoted()
                ),
            )
        return [PackedSegment(KIND, entries, writer.finish())]

    def join_segments(
        self, batch: Batch, keys: Sequence[SegmentKey], load: LoadSegment
    ) -> Iterator[tuple[SegmentKey | None, bytes]]:
        """Concatenate the segments."""
        del batch  # all that depends on it is in the segments
        return join_segments((key, load(key)) for key in keys)

    def read_segment(
        self, batch: Batch, kind: str, data: bytes, operations: Mapping[int, Operation]
    ) -> Iterator[tuple[int, int, WrittenResult]]:
        """Read the results, and their places from the names of the files."""
        del kind, operations
        for name, content in read_files(data):
            [result] = decode_results(content)
            yield *parse_file_name(batch.id, name), result
