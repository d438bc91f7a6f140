"""A segment: the compressed results of one committed part of a chunk."""

from dataclasses import dataclass


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
