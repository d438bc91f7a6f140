"""The body of a request as it was before `Content-Encoding`: in pieces, and never beyond a bound.

A small body can inflate to a thousand times its size. So nothing is inflated before the piece
before it was taken, and no piece is large.
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

# What stands behind the end of a member is copied when the next one begins. Short inputs keep
# that cheap, however many members there are.
_INPUT_BYTES_MAX = 16 * 1024
_MAGIC = b"\x1f\x8b"  # what a member begins with
_GZIP = frozenset({"gzip", "x-gzip"})
_PLAIN = frozenset({"", "identity"})


class Inflater:
    """Inflates a body that comes in pieces; not for several threads at once.

    `encoding` is the header's value, None if there is none; any but gzip and identity is a 415.
    A body of more than `bytes_max` bytes, inflated, is a 413.
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
        """What `data` inflates to, in pieces of at most 1 MiB; take all before the next call.

        Raises 413 when the bound is passed, 400 when the data are damaged.
        """
        step = limits.inflated_piece_bytes_max if self._is_plain else _INPUT_BYTES_MAX
        for start in range(0, len(data), step):
            part = data[start : start + step]
            yield from (self._count_bytes(part),) if self._is_plain else self._inflate_members(part)

    def finish(self) -> None:
        """Say that nothing follows; raises 400 if the data are cut off."""
        if self._member is not None:
            raise _invalid_gzip("it ends too early")

    def _inflate_members(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member is None and self._member_count and not _MAGIC.startswith(data[:2]):
                raise _invalid_gzip("something else follows its end")
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
            # One byte more than may be shows that the bound is passed.
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
