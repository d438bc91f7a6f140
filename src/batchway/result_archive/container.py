"""The container of a result archive: a .tar.gz of one gzip member, joined from segments.

Joining copies the segments' bytes and compresses nothing. One member, and not one for each
segment, which would be simpler and also valid: Ruby and PHP read only the first member of such a
file, and report no error.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import TypeVar

from isal import isal_zlib

from batchway.kit import ustar
from batchway.model.segment import Segment
from batchway.result_archive.segments import LEVEL, RAW_DEFLATE

Key = TypeVar("Key")

_GZIP_HEADER = b"\x1f\x8b\x08\x00" + bytes(4) + b"\x00\xff"  # no name, no time, unknown system


def join_segments(
    segments: Iterable[tuple[Key | None, Segment]],
) -> Iterator[tuple[Key | None, bytes]]:
    """Yield the finished .tar.gz of these segments in parts; no segments make an empty tar.

    The bytes of a segment are one part, unchanged, which comes with the segment's key. All other
    parts come with None. No more than one segment is in memory at a time.
    """
    crc32, raw_bytes = 0, 0
    yield None, _GZIP_HEADER
    for key, segment in segments:
        yield key, segment.data
        crc32 = isal_zlib.crc32_combine(crc32, segment.crc32, segment.raw_bytes)
        raw_bytes += segment.raw_bytes
    yield None, _deflate_end_of_archive()
    crc32 = isal_zlib.crc32(ustar.END_OF_ARCHIVE, crc32)
    raw_bytes += len(ustar.END_OF_ARCHIVE)
    yield None, struct.pack("<II", crc32, raw_bytes % 2**32)


def _deflate_end_of_archive() -> bytes:
    compressor = isal_zlib.compressobj(LEVEL, wbits=RAW_DEFLATE)
    return compressor.compress(ustar.END_OF_ARCHIVE) + compressor.flush(isal_zlib.Z_FINISH)
