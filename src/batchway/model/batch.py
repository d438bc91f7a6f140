"""A batch: its status, its counters, and how it is cut into chunks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from batchway.kit.clock import Microseconds
from batchway.limits import Limits, chunk_bytes_max
from batchway.model.positions import Positions


class Status(StrEnum):
    """The five statuses of the contract, in order, and `deleted`, which clients never see."""

    PENDING = "pending"
    PREPROCESSING = "preprocessing"
    STARTED = "started"
    FINALIZING = "finalizing"
    FINISHED = "finished"
    DELETED = "deleted"


FIRST_CHUNK = 0  # the number of a batch's first chunk
BUILTIN_TARGET = "audience"  # the stored name of the built-in target


class ChunkState(StrEnum):
    """A chunk is done when each of its operations has a result or was moved to another chunk."""

    WAITING = "waiting"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Batch:
    """One row of `batches`.

    `operation_count` counts the submitted operations; `total_operations` also counts the further
    pages of GETs. `chunks_left` counts the chunks that are not done. A pending batch `is_held`
    while its account runs as many batches as it may. A batch that `is_cancelling` runs no more
    operations, but still ends `finished`. `retry_of` is the key of the batch whose operations this
    one repeats. `format_name` names the format of its results, in `formats/`. `target` is the name
    of the target of all its operations; None if they have several. `client_address` is the network
    address of the client that has submitted it, if it is known.
    """

    id: int
    account_id: int
    public_id: str
    api_key_id: int
    base_url: str
    status: Status
    total_operations: int
    finished_operations: int
    errored_operations: int
    chunk_count: int
    chunks_left: int
    submitted_at: Microseconds
    completed_at: Microseconds | None
    archive_key: str | None
    is_held: bool
    operation_count: int
    is_cancelling: bool
    format_name: str
    retry_of: int | None
    began_at: Microseconds | None
    target: str | None
    client_address: str = ""

    @property
    def is_running(self) -> bool:
        """Whether its chunks are being executed."""
        return self.status is Status.STARTED

    @property
    def has_results(self) -> bool:
        """Whether there is an archive to download."""
        return self.status is Status.FINISHED and self.archive_key is not None


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive operations of a batch that are stored together, compressed."""

    number: int
    first_position: int
    operation_count: int
    byte_count: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Operations of a batch that one worker executes at once. They all have one target.

    A chunk can also stand for the further pages of one GET. Then `next_page` is the number of the
    next page, and `continuation`, which only the target can read, is where that page begins.
    """

    number: int
    positions: Positions
    continuation: str | None = None
    next_page: int = 0
    target: str = BUILTIN_TARGET


def is_small(operation_count: int, limits: Limits) -> bool:
    """Return whether a batch of that many operations is run by one chain."""
    return operation_count <= limits.small_batch_operations_max


def cut_pieces(pieces: Iterable[Piece], target: str, operations_max: int) -> Iterator[Chunk]:
    """Yield chunks of whole, consecutive pieces for one target, as large as the limits allow.

    A piece with more than `operations_max` operations is a chunk by itself.
    """
    number = FIRST_CHUNK
    group: list[Piece] = []
    for piece in pieces:
        if group and not _is_chunk([*group, piece], operations_max):
            yield _make_chunk(number, group, target)
            number += 1
            group = []
        group.append(piece)
    if group:
        yield _make_chunk(number, group, target)


def _is_chunk(group: list[Piece], operations_max: int) -> bool:
    """Return whether these pieces are within the limits of one chunk."""
    size = sum(piece.byte_count for piece in group)
    return _count_operations(group) <= operations_max and size <= chunk_bytes_max


def _make_chunk(number: int, group: list[Piece], target: str) -> Chunk:
    positions = Positions.span(group[0].first_position, _count_operations(group))
    return Chunk(number, positions, target=target)


def _count_operations(group: list[Piece]) -> int:
    return sum(piece.operation_count for piece in group)
