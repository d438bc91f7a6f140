"""An operation: one HTTP request inside a batch."""

from collections.abc import Iterable, Sequence

import msgspec
from isal import isal_zlib

from batchway.model.positions import Positions

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Operation(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An operation as it is stored: its form is checked, its meaning is not.

    `params` are the query string, and `body` is JSON text. `mistake` says what is wrong with an
    operation that was accepted with its batch nevertheless; it becomes the operation's result.
    `headers` have lower-case names.

    Operations are stored as arrays: a new field goes to the end and needs a default, so that
    stored operations can still be read.
    """

    method: str
    path: str
    params: dict[str, str]
    body: str | None
    operation_id: str | None
    mistake: str | None = None
    headers: dict[str, str] = {}


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[Operation])


def pack(operations: Sequence[Operation]) -> tuple[bytes, int]:
    """Compress operations into one piece; return it with its size before compression."""
    raw = _encoder.encode(operations)
    return isal_zlib.compress(raw, 1), len(raw)


def unpack(piece: bytes) -> list[Operation]:
    """Return the operations of a piece, in order."""
    return _decoder.decode(isal_zlib.decompress(piece))


def count_characters(operation: Operation) -> int:
    """Return about how many characters an operation has: all that a client can make long."""
    count = len(operation.path) + len(operation.body or "") + len(operation.operation_id or "")
    for texts in (operation.params, operation.headers):
        if texts:
            count += sum(len(name) + len(value) for name, value in texts.items())
    return count


def operations_at(pieces: Iterable[tuple[int, bytes]], positions: Positions) -> list[Operation]:
    """Return the operations at these positions.

    Each piece comes with the position of its first operation; the pieces are in order.
    """
    found: list[Operation] = []
    for first, data in pieces:
        operations = unpack(data)
        for each in positions.clip(first, first + len(operations)).ranges:
            found += operations[each.start - first : each.stop - first]
    return found
