"""A segment: the compressed results of one committed part of a chunk."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of bytes of the archive, to be joined with others as it is.

    `data` is raw deflate, ends on a byte with a full flush and holds no final block. `crc32` and
    `raw_bytes` describe the bytes before compression; `file_count` counts the tar entries.
    """

    data: bytes
    crc32: int
    raw_bytes: int
    file_count: int
