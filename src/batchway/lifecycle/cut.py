"""Cut: decide into which chunks a batch is split. All operations of a chunk have one target."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from batchway import limits
from batchway.lifecycle.parts import Parts
from batchway.model.batch import FIRST_CHUNK, Batch, Chunk, Piece, Status, cut_pieces
from batchway.model.operation import Operation, count_characters, unpack_operations
from batchway.model.positions import Positions
from batchway.store import batches, inputs


def cut_batch(parts: Parts, batch_id: int) -> Sequence[Chunk]:
    """Return the chunks of a batch that waits to be split. Nothing is locked and nothing is stored.

    Operations are read only if the batch has several targets. Otherwise the target, and how many
    operations each piece has, were stored when the batch was submitted.
    """
    with parts.database.read() as connection:
        batch = batches.get(connection, batch_id)
        if batch is None or batch.status not in (Status.PENDING, Status.PREPROCESSING):
            return ()
        pieces = inputs.find_pieces(connection, batch)
    if batch.target is not None:
        return list(cut_pieces(pieces, batch.target, _get_operations_max(parts, batch.target)))
    return list(_cut_by_path(parts, _read_operations(parts, batch, pieces)))


@dataclass
class _Filling:
    """A chunk to which operations are being added."""

    positions: list[int] = field(default_factory=list)
    characters: int = 0

    def has_room(self, characters: int, operations_max: int) -> bool:
        fits = self.characters + characters <= limits.chunk_bytes_max
        return not self.positions or (fits and len(self.positions) < operations_max)

    def add(self, position: int, characters: int) -> None:
        self.positions.append(position)
        self.characters += characters


def _cut_by_path(parts: Parts, operations: Iterable[tuple[int, Operation]]) -> Iterator[Chunk]:
    numbers = count(FIRST_CHUNK)
    filling: dict[str, _Filling] = defaultdict(_Filling)
    for position, operation in operations:
        target = parts.targets.find(operation.path).name
        characters = count_characters(operation)
        if not filling[target].has_room(characters, _get_operations_max(parts, target)):
            yield _make_chunk(next(numbers), target, filling.pop(target))
        filling[target].add(position, characters)
    for target, filled in filling.items():
        yield _make_chunk(next(numbers), target, filled)


def _read_operations(
    parts: Parts, batch: Batch, pieces: Iterable[Piece]
) -> Iterator[tuple[int, Operation]]:
    """Yield each operation with its position, one piece in memory at a time."""
    for piece in pieces:
        end = piece.first_position + piece.operation_count
        with parts.database.read() as connection:
            [(first, data)] = inputs.load_pieces(connection, batch, piece.first_position, end)
        yield from enumerate(unpack_operations(data), first)


def _get_operations_max(parts: Parts, target: str) -> int:
    if parts.targets.is_sending(target):
        return parts.limits.sending_chunk_operations_max
    return parts.limits.chunk_operations_max


def _make_chunk(number: int, target: str, filled: _Filling) -> Chunk:
    return Chunk(number, Positions.collect(filled.positions), target=target)
