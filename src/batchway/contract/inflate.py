"""Decompresses the body of a request piece by piece, up to a limit.

A small body can inflate to a thousand times its size. Therefore the pieces are small, and the next
piece is inflated only after the caller has taken the last one.
"""

from collections.abc import Iterator

from isal import igzip_lib

from batchway import limits
from batchway.contract.problems import (
    Refused,
    json_parse_exception,
    too_large,
    unsupported_encoding,
)

# When a gzip member ends, the rest of the input is copied for the next one. Short inputs keep these
# copies cheap, even if a body has many members.
_INPUT_BYTES_MAX = 16 * 1024
_MAGIC = b"\x1f\x8b"  # the first bytes of a gzip member
_GZIP = frozenset({"gzip", "x-gzip"})
_PLAIN = frozenset({"", "identity"})


class Inflater:
    """Inflates a body that arrives in pieces. It is not thread-safe.

    `encoding` is the value of `Content-Encoding`, or None. Encodings other than gzip and identity
    raise a 415. A body that inflates to more than `bytes_max` bytes raises a 413.
    """

    def __init__(self, encoding: str | None, bytes_max: int) -> None:
        name = (encoding or "").strip().lower()
        if name not in _GZIP | _PLAIN:
            raise unsupported_encoding(name)
        self._is_plain = name in _PLAIN
        self._bytes_max = bytes_max
        self._bytes_left = bytes_max
        self._member: igzip_lib.IgzipDecompressor | None = None
        self._member_count = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Inflate `data` and yield it in pieces of at most 1 MiB.

        Exhaust the iterator before the next call. Raises a 413 when the body exceeds its limit,
        and a 400 when it is not valid gzip.
        """
        step = limits.inflated_piece_bytes_max if self._is_plain else _INPUT_BYTES_MAX
        for start in range(0, len(data), step):
            part = data[start : start + step]
            yield from (self._count_bytes(part),) if self._is_plain else self._inflate_members(part)

    def finish(self) -> None:
        """Mark the end of the body. Raises a 400 if the gzip data is incomplete."""
        if self._member is not None:
            raise _invalid_gzip("it ends too early")

    def _inflate_members(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member is None and self._member_count and not _MAGIC.startswith(data[:2]):
                raise _invalid_gzip("other data follows its end")
            member = self._member = self._member or self._begin_member()
            yield from self._inflate_member(member, data)
            data = member.unused_data
            if member.eof:
                self._member = None

    def _begin_member(self) -> igzip_lib.IgzipDecompressor:
        self._member_count += 1
        if self._member_count > limits.gzip_members_max:
            raise too_large(
                f"The body has more than {limits.gzip_members_max} gzip members. Send one."
            )
        return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)

    def _inflate_member(self, member: igzip_lib.IgzipDecompressor, data: bytes) -> Iterator[bytes]:
        while True:
            # One byte more than the limit shows that the body is too large.
            most = min(limits.inflated_piece_bytes_max, self._bytes_left + 1)
            try:
                piece = member.decompress(data, most)
            except igzip_lib.IsalError as error:  # type: ignore[misc]  # its stub calls it a value
                raise _invalid_gzip(str(error)) from None
            if piece:
                yield self._count_bytes(piece)
            if member.eof or member.needs_input:
                return
            data = b""

    def _count_bytes(self, piece: bytes) -> bytes:
        self._bytes_left -= len(piece)
        if self._bytes_left < 0:
            most = self._bytes_max
            raise too_large(
                f"The body may have {most} bytes, and has more. Send it in several requests."
            )
        return piece


def _invalid_gzip(reason: str) -> Refused:
    return json_parse_exception(f"The body is not valid gzip: {reason}.")
