"""An operation: one HTTP request inside a batch."""

from collections.abc import Iterable, Sequence

import msgspec
from isal import isal_zlib

from batchway.limits import named_text_bytes
from batchway.model.positions import Positions

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Operation(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An operation as it is stored. Its types were checked; its target checks everything else.

    `params` are the parameters of the query string, and `body` is JSON text. `mistake` describes an
    error of an operation whose batch was accepted; it becomes the operation's result. `headers`
    have lower-case names.

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


def pack_operations(operations: Sequence[Operation]) -> tuple[bytes, int]:
    """Compress operations into one piece; return it with its size before compression."""
    raw = _encoder.encode(operations)
    return isal_zlib.compress(raw, 1), len(raw)


def unpack_operations(piece: bytes) -> list[Operation]:
    """Return the operations of a piece, in order."""
    return _decoder.decode(isal_zlib.decompress(piece))


def count_characters(operation: Operation) -> int:
    """Return the size of all parts of an operation whose length a client chooses.

    It is the number of characters, and more for each parameter and header: a chunk could have
    millions of short ones, which need much more memory than their characters.
    """
    count = len(operation.path) + len(operation.body or "") + len(operation.operation_id or "")
    for texts in (operation.params, operation.headers):
        if texts:
            count += sum(len(name) + len(value) + named_text_bytes for name, value in texts.items())
    return count


def select_operations(pieces: Iterable[tuple[int, bytes]], positions: Positions) -> list[Operation]:
    """Return the operations at these positions.

    Each piece comes with the position of its first operation; the pieces are in order.
    """
    selected: list[Operation] = []
    for first, data in pieces:
        operations = unpack_operations(data)
        for part in positions.clip(first, first + len(operations)).ranges:
            selected += operations[part.start - first : part.stop - first]
    return selected
