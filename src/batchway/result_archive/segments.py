"""Segments: parts of a result archive that are deflated on their own.

A segment is raw deflate that ends with a full flush. So the container can copy it unchanged, and
it can still be read alone, without the segments before it.
"""

from collections.abc import Iterator

from isal import isal_zlib

from batchway.kit import ustar
from batchway.model.segment import Segment

RAW_DEFLATE = -15  # "window bits": 32 kB, neither header nor trailer
LEVEL = 2  # as fast as level 1 on results, and a few per cent smaller
_COMPRESSED_AT_ONCE_BYTES = 128 * 1024  # small calls cost time, one huge join costs more
_INFLATED_AT_ONCE_BYTES = 64 * 1024  # of compressed data
_EVERYTHING = 2**62  # bytes; more than any segment has


class SegmentWriter:
    """Writes segments, one after the other. Not safe for several threads at once."""

    def __init__(self, *, mtime_seconds: int) -> None:
        """`mtime_seconds` since the epoch becomes the modification time of every file."""
        self._mtime_seconds = mtime_seconds
        self._compressor = isal_zlib.compressobj(LEVEL, wbits=RAW_DEFLATE)
        self._start_segment()

    def add_file(self, name: str, content: bytes) -> None:
        """Add one file of the archive. Raises ValueError for what a USTAR entry cannot hold."""
        self._add(*ustar.make_entry_parts(name, content, self._mtime_seconds))
        self._file_count += 1

    def add_text(self, text: bytes) -> None:
        """Add a part of a file that spans several segments."""
        self._add(text)

    def finish(self) -> Segment:
        """Return the segment of all that was added since the last one; the next add begins another.

        The flush also ends what the compressor may refer back to, so that no segment depends on
        the one before it.
        """
        self._compress_waiting()
        self._compressed.append(self._compressor.flush(isal_zlib.Z_FULL_FLUSH))
        segment = Segment(
            b"".join(self._compressed), self._crc32, self._raw_bytes, self._file_count
        )
        self._start_segment()
        return segment

    def _add(self, *raw: bytes) -> None:
        self._waiting += raw
        self._waiting_bytes += sum(map(len, raw))
        if self._waiting_bytes >= _COMPRESSED_AT_ONCE_BYTES:
            self._compress_waiting()

    def _start_segment(self) -> None:
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._compressed: list[bytes] = []
        self._crc32 = 0
        self._raw_bytes = 0
        self._file_count = 0

    def _compress_waiting(self) -> None:
        raw = b"".join(self._waiting)
        self._crc32 = isal_zlib.crc32(raw, self._crc32)
        self._raw_bytes += len(raw)
        self._compressed.append(self._compressor.compress(raw))
        self._waiting.clear()
        self._waiting_bytes = 0


def deflate_text(text: bytes) -> Segment:
    """Return a segment of this text alone: what stands between other segments of one file."""
    writer = SegmentWriter(mtime_seconds=0)
    writer.add_text(text)
    return writer.finish()


def read_files(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each file of one segment, given exactly its bytes.

    They may be cut out of a finished archive. Raises ValueError if they are not a whole segment.
    """
    raw = _RawReader(data)
    while header := raw.read(ustar.BLOCK_BYTES):
        name, size = ustar.read_header(header)
        body = raw.read(ustar.round_up_to_block(size))
        if len(body) < size:
            message = f"The segment ends within its file {name}; it was not read whole."
            raise ValueError(message)
        yield name, body[:size]


def read_text(data: bytes) -> bytes:
    """Return the text of a segment that holds a part of a file. Raises ValueError if damaged."""
    return _RawReader(data).read(_EVERYTHING)


class _RawReader:
    """Reads a segment and inflates only as much of it as the reader asks for."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._decompress = isal_zlib.decompressobj(wbits=RAW_DEFLATE).decompress
        self._raw = bytearray()

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer at the end."""
        while len(self._raw) < size and self._data:
            self._raw += self._inflate(self._data[:_INFLATED_AT_ONCE_BYTES])
            self._data = self._data[_INFLATED_AT_ONCE_BYTES:]
        taken = bytes(self._raw[:size])
        del self._raw[:size]
        return taken

    def _inflate(self, data: memoryview) -> bytes:
        try:
            return self._decompress(data)
        except isal_zlib.error as error:  # type: ignore[misc]  # its stub calls the class a value
            message = f"The segment is damaged: {error}"
            raise ValueError(message) from error
