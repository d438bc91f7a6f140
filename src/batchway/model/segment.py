"""A segment: the compressed results of one committed part of a chunk."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of files of the archive, to be joined with others as it is.

    `data` is raw deflate, ends on a byte with a full flush and holds no final block. `crc32` and
    `raw_bytes` describe the tar entries before compression.
    """

    data: bytes
    crc32: int
    raw_bytes: int
    file_count: int
