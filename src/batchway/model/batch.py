"""A batch: its status, its counters, and how it is cut into chunks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from batchway.kit.clock import Microseconds
from batchway.limits import Limits, chunk_bytes_max
from batchway.model.positions import Positions


class Status(StrEnum):
    """The contract's five, in their order, and ours for a batch that its owner has deleted."""

    PENDING = "pending"
    PREPROCESSING = "preprocessing"
    STARTED = "started"
    FINALIZING = "finalizing"
    FINISHED = "finished"
    DELETED = "deleted"


FIRST_CHUNK = 0  # the number of a batch's first chunk
BUILTIN_TARGET = "audience"  # the name under which batches note the built-in target


class ChunkState(StrEnum):
    """A chunk is done when each of its operations has its result or is in another chunk."""

    WAITING = "waiting"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Batch:
    """One row of `batches`.

    `operation_count` is what was submitted; `total_operations` grows by the pages that are found.
    `chunks_left` counts the chunks that are not done. A pending batch `is_held` if it was turned
    away because as many batches of its account run as may. One that `is_cancelling` runs its
    operations no more, but still ends `finished`. `retry_of` is the batch whose errored operations
    it runs again. `format_name` names the format of its results, in `formats/`. `target` is the
    name of the target of all its operations; None if they have several.
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
    """Operations of a batch that one worker executes at once; they all go to one target.

    Or the rest of one GET's pages: then `continuation` says, in the target's words, where it goes
    on, and `next_page` is the number of the page to be answered next.
    """

    number: int
    positions: Positions
    continuation: str | None = None
    next_page: int = 0
    target: str = BUILTIN_TARGET


def is_small(operation_count: int, limits: Limits) -> bool:
    """Whether a batch of that many operations is run in one hop."""
    return operation_count <= limits.small_batch_operations_max


def cut(pieces: Iterable[Piece], target: str, operations_max: int) -> Iterator[Chunk]:
    """Chunks of whole, consecutive pieces for one target, as large as the limits allow.

    A piece with more than `operations_max` operations is a chunk by itself.
    """
    number = FIRST_CHUNK
    held: list[Piece] = []
    for piece in pieces:
        if held and not _fits(held, piece, operations_max):
            yield _chunk(number, held, target)
            number += 1
            held = []
        held.append(piece)
    if held:
        yield _chunk(number, held, target)


def _fits(held: list[Piece], piece: Piece, operations_max: int) -> bool:
    operations = sum(each.operation_count for each in held) + piece.operation_count
    size = sum(each.byte_count for each in held) + piece.byte_count
    return operations <= operations_max and size <= chunk_bytes_max


def _chunk(number: int, held: list[Piece], target: str) -> Chunk:
    count = sum(each.operation_count for each in held)
    return Chunk(number, Positions.span(held[0].first_position, count), target=target)
