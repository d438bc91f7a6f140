"""An operation: one HTTP request inside a batch."""

from collections.abc import Iterable, Sequence

import msgspec
from isal import isal_zlib

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Operation(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """As it is stored: checked in shape, not yet in meaning.

    `params` are the query string, `body` is JSON text. `mistake` is what is wrong with an
    operation that was accepted with its batch all the same; it becomes that operation's result.
    """

    method: str
    path: str
    params: dict[str, str]
    body: str | None
    operation_id: str | None
    mistake: str | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[Operation])


def pack(operations: Sequence[Operation]) -> tuple[bytes, int]:
    """Operations as one compressed piece, and how many bytes they have when it is unpacked."""
    raw = _encoder.encode(operations)
    return isal_zlib.compress(raw, 1), len(raw)


def operations_between(
    pieces: Iterable[tuple[int, bytes]], first_position: int, end_position: int
) -> list[Operation]:
    """The operations at these positions, from pieces (each with its first position) in order."""
    operations: list[Operation] = []
    for piece_position, data in pieces:
        first = max(first_position - piece_position, 0)
        operations += unpack(data)[first : end_position - piece_position]
    return operations


def unpack(piece: bytes) -> list[Operation]:
    """The operations of a piece, in order."""
    return _decoder.decode(isal_zlib.decompress(piece))
