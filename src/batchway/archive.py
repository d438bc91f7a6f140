"""The format of the result archive: a .tar.gz of one gzip member, joined from segments.

A segment is a run of tar entries, deflated on its own and ended with a full flush. Joining
copies the segments' bytes and compresses nothing, and each one can still be read alone.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence

from isal import isal_zlib

from batchway import limits
from batchway.kit import ustar
from batchway.kit.json_text import quote_json
from batchway.model.segment import Segment

POSITIONS_MAX = 2**28  # operations of one batch that can have a file name of their own
PAGES_MAX = 2**12  # pages of one operation that can
assert limits.operations_per_batch_max <= POSITIONS_MAX

_RAW_DEFLATE = -15  # "window bits": 32 kB, neither header nor trailer
_LEVEL = 2  # as fast as level 1 on results, and a few per cent smaller
_COMPRESSED_AT_ONCE_BYTES = 128 * 1024  # small calls cost time, one huge join costs more
_INFLATED_AT_ONCE_BYTES = 64 * 1024  # of compressed data

_GZIP_HEADER = b"\x1f\x8b\x08\x00" + bytes(4) + b"\x00\xff"  # no name, no time, unknown system
FIRST_SEGMENT_OFFSET = len(_GZIP_HEADER)  # where the first segment stands in a finished archive

_NAMES_MAX = 2**40  # ten hex digits
_PLACE_FACTOR = 0x9E3779B97F  # odd, so that no two places of a batch share a name
_PLACE_INVERSE = pow(_PLACE_FACTOR, -1, _NAMES_MAX)
_BATCH_FACTOR = 0xD6E8FEB867
assert POSITIONS_MAX * PAGES_MAX <= _NAMES_MAX


class SegmentWriter:
    """Makes segments, one after the other; not for several threads at once."""

    def __init__(self, *, mtime_seconds: int) -> None:
        """`mtime_seconds` since the epoch becomes the time of every file."""
        self._mtime_seconds = mtime_seconds
        self._compressor = isal_zlib.compressobj(_LEVEL, wbits=_RAW_DEFLATE)
        self._start_segment()

    def add(self, name: str, results_json: bytes) -> None:
        """Add one file of the archive. Raises ValueError for what a USTAR entry cannot hold."""
        self._add_bytes(*ustar.make_entry_parts(name, results_json, self._mtime_seconds))
        self._file_count += 1

    def add_bare(self, results_json: bytes) -> None:
        """Add the results of a file without the file, for a segment of bare results."""
        self._add_bytes(b"," + results_json[1:-1] if self._has_any else results_json[1:-1])

    @property
    def raw_bytes(self) -> int:
        """The size of the segment so far, before compression."""
        return self._raw_bytes + self._waiting_bytes

    def finish(self) -> Segment:
        """The segment of all files added since the last one; the next `add` begins another."""
        self._compress_waiting()
        self._compressed.append(self._compressor.flush(isal_zlib.Z_FULL_FLUSH))
        segment = Segment(
            b"".join(self._compressed), self._crc32, self._raw_bytes, self._file_count
        )
        self._start_segment()
        return segment

    def _add_bytes(self, *raw: bytes) -> None:
        self._waiting += raw
        self._waiting_bytes += sum(map(len, raw))
        self._has_any = True
        if self._waiting_bytes >= _COMPRESSED_AT_ONCE_BYTES:
            self._compress_waiting()

    def _start_segment(self) -> None:
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._compressed: list[bytes] = []
        self._crc32 = 0
        self._raw_bytes = 0
        self._file_count = 0
        self._has_any = False

    def _compress_waiting(self) -> None:
        raw = b"".join(self._waiting)
        self._crc32 = isal_zlib.crc32(raw, self._crc32)
        self._raw_bytes += len(raw)
        self._compressed.append(self._compressor.compress(raw))
        self._waiting.clear()
        self._waiting_bytes = 0


class Brackets:
    """What makes one file of segments of bare results: it stands before, between and behind them.

    The segments are passed on unchanged.
    """

    def __init__(self, name: str, segment_bytes: Sequence[int], mtime_seconds: int) -> None:
        """`segment_bytes` are the segments' sizes before compression.

        Raises ValueError for what a USTAR entry cannot hold.
        """
        self._size = sum(segment_bytes) + len(segment_bytes) - 1 + len("[]")
        self._before = ustar.make_header(name, self._size, mtime_seconds) + b"["

    def before(self) -> Segment:
        """What stands before the next segment."""
        raw, self._before = self._before, b","
        return _glue(raw)

    def end(self) -> Segment:
        """What stands behind the last one."""
        return _glue(b"]" + bytes(ustar.round_up_to_block(self._size) - self._size))


def _glue(raw: bytes) -> Segment:
    compressor = isal_zlib.compressobj(_LEVEL, wbits=_RAW_DEFLATE)
    data = compressor.compress(raw) + compressor.flush(isal_zlib.Z_FULL_FLUSH)
    return Segment(data, isal_zlib.crc32(raw), len(raw), 0)


def result_file_name(batch_key: int, position: int, page: int) -> str:
    """`<10 hex>.json`: unique within the batch, and always the same for the same arguments.

    The batch's key is mixed in so that the files of two batches, unpacked into one folder, do
    not regularly meet. Raises ValueError for a position or page that has no name.
    """
    if not (0 <= position < POSITIONS_MAX and 0 <= page < PAGES_MAX):
        message = (
            f"No file name for position {position}, page {page}: "
            f"positions end below {POSITIONS_MAX}, pages below {PAGES_MAX}."
        )
        raise ValueError(message)
    place = page * POSITIONS_MAX + position
    number = (place * _PLACE_FACTOR + batch_key * _BATCH_FACTOR) % _NAMES_MAX
    return f"{number:010x}.json"


def encode_result(status_code: int, operation_id: str | None, response: bytes) -> bytes:
    """The content of a result's file: a JSON array with one result object, ASCII only.

    `response` is JSON text as a JSON string.
    """
    operation = b"null" if operation_id is None else quote_json(operation_id)
    return b'[{"status_code":%d,"operation_id":%b,"response":%b}]' % (
        status_code,
        operation,
        response,
    )


def archive_parts(segments: Iterable[Segment]) -> Iterator[bytes]:
    """The finished .tar.gz of these segments, in parts; no segments make an empty tar.

    The segments' bytes are passed on unchanged, one at a time: the first stands at
    `FIRST_SEGMENT_OFFSET`, each other one right behind its predecessor.
    """
    crc32, raw_bytes = 0, 0
    yield _GZIP_HEADER
    for segment in segments:
        yield segment.data
        crc32 = isal_zlib.crc32_combine(crc32, segment.crc32, segment.raw_bytes)
        raw_bytes += segment.raw_bytes
    yield _deflated_end_of_archive()
    crc32 = isal_zlib.crc32(ustar.END_OF_ARCHIVE, crc32)
    raw_bytes += len(ustar.END_OF_ARCHIVE)
    yield struct.pack("<II", crc32, raw_bytes % 2**32)


def _deflated_end_of_archive() -> bytes:
    compressor = isal_zlib.compressobj(_LEVEL, wbits=_RAW_DEFLATE)
    return compressor.compress(ustar.END_OF_ARCHIVE) + compressor.flush(isal_zlib.Z_FINISH)


def result_place(batch_key: int, name: str) -> tuple[int, int]:
    """The position and the page that a result's file is named for."""
    number = int(name.removesuffix(".json"), 16) - batch_key * _BATCH_FACTOR
    page, position = divmod(number * _PLACE_INVERSE % _NAMES_MAX, POSITIONS_MAX)
    return position, page


def read_bare(data: bytes) -> bytes:
    """The results of a segment of bare results, as one JSON array."""
    return b"[%b]" % _RawReader(data).read(_NAMES_MAX)


def read_segment(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The (name, content) of each file of one segment, given exactly its bytes.

    They may be cut out of a finished archive. Raises ValueError when they are not a whole segment.
    """
    raw = _RawReader(data)
    while header := raw.read(ustar.BLOCK_BYTES):
        name, size = ustar.read_header(header)
        body = raw.read(ustar.round_up_to_block(size))
        if len(body) < size:
            message = f"The segment ends within its file {name}; it was not read whole."
            raise ValueError(message)
        yield name, body[:size]


class _RawReader:
    """Reads a segment's tar entries while inflating only as much as is asked for."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._inflate = isal_zlib.decompressobj(wbits=_RAW_DEFLATE).decompress
        self._raw = bytearray()

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end."""
        while len(self._raw) < size and self._data:
            self._raw += self._inflated(self._data[:_INFLATED_AT_ONCE_BYTES])
            self._data = self._data[_INFLATED_AT_ONCE_BYTES:]
        taken = bytes(self._raw[:size])
        del self._raw[:size]
        return taken

    def _inflated(self, data: memoryview) -> bytes:
        try:
            return self._inflate(data)
        except isal_zlib.error as error:  # type: ignore[misc]  # its stub calls the class a value
            message = f"The segment is damaged: {error}"
            raise ValueError(message) from error
