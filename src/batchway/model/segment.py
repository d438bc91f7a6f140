"""A segment: the compressed results of one committed part of a chunk."""

from collections.abc import Mapping
from dataclasses import dataclass

from batchway.model.positions import Positions


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive bytes of an archive; segments are joined without a change.

    `data` is raw deflate without a final block; it ends with a full flush, at the end of a byte.
    `crc32` and `raw_bytes` describe the bytes before compression; `file_count` counts the tar
    entries.
    """

    data: bytes
    crc32: int
    raw_bytes: int
    file_count: int


@dataclass(frozen=True, slots=True)
class SegmentKey:
    """A segment without its data.

    The segment holds results of operations at `positions`; `number` is its number in the chunk.
    `status_counts`, the number of results by status code, is None for segments of an older version.
    `archive_offset` is where the data begin in the archive, None before there is one.
    """

    chunk_number: int
    number: int
    kind: str
    first_position: int
    positions: Positions
    first_page: int
    result_count: int
    status_counts: Mapping[int, int] | None
    file_count: int
    raw_bytes: int
    byte_count: int
    crc32: int
    archive_offset: int | None
