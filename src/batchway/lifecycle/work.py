"""Work: a claimed chunk with everything that its execution needs."""

from collections.abc import Sequence
from dataclasses import dataclass

from batchway.contract.links import Links
from batchway.contract.request import Caller
from batchway.formats.base import Entry
from batchway.lifecycle.parts import Parts
from batchway.model.batch import Batch, Chunk
from batchway.model.operation import Operation, select_operations
from batchway.model.positions import Positions
from batchway.model.result import Result
from batchway.model.step import StepName
from batchway.store import accounts, batches, chunks, inputs


@dataclass(frozen=True)
class Work:
    """A chunk that is being executed: its operations, or one GET whose further pages are read."""

    batch: Batch
    chunk: Chunk
    attempt_number: int  # from 1; restarts when results of the chunk are recorded
    caller: Caller
    is_key_revoked: bool
    operations: Sequence[Operation]

    @property
    def is_pages(self) -> bool:
        """Whether the results are further pages of one operation."""
        return self.chunk.continuation is not None

    def place_results(self, results: Sequence[Result]) -> list[Entry]:
        """Return the results of the first operations, or of the next pages, with their places."""
        positions = self.chunk.positions
        if self.is_pages:
            operation = self.operations[0]
            return [
                Entry(positions.first, page, operation, result)
                for page, result in enumerate(results, self.chunk.next_page)
            ]
        triples = zip(positions, self.operations, results, strict=False)
        return [Entry(position, 0, operation, result) for position, operation, result in triples]

    def find_last_operations(self, positions: Positions) -> Sequence[Operation] | None:
        """Return the operations at these positions; None unless they are the last of the chunk."""
        done_count = len(self.chunk.positions) - len(positions)
        if done_count < 0:
            return None
        _, last = self.chunk.positions.split_at(done_count)
        return self.operations[done_count:] if last == positions else None


def load_work(parts: Parts, name: StepName, earlier: Work | None = None) -> Work | None:
    """Load a chunk that this worker has claimed; None if its claim or the batch has ended.

    A chunk is loaded after each part of it that is recorded. `earlier` is what was loaded before
    from the same batch: its operations need not be read and decoded again.
    """
    with parts.database.read() as connection:
        batch = batches.get(connection, name.key)
        if batch is None or not batch.is_running:
            return None
        claimed = chunks.find_claimed(connection, batch, name.number, parts.worker)
        if claimed is None:
            return None
        account = accounts.find(connection, batch.account_id)
        is_revoked = accounts.is_key_revoked(connection, batch.account_id, batch.api_key_id)
        positions = claimed.chunk.positions
        operations = earlier.find_last_operations(positions) if earlier else None
        if operations is None:
            pieces = inputs.load_pieces(connection, batch, positions.first, positions.end)
            operations = select_operations(pieces, positions)
    caller = Caller(
        account_id=batch.account_id,
        account_name=account.name if account else "",
        now=parts.clock(),
        links=Links(batch.base_url),
        client_address=batch.client_address,
    )
    return Work(batch, claimed.chunk, claimed.attempt_number, caller, is_revoked, operations)
