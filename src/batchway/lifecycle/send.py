"""Send the operations of one chunk, and record their results in slices.

Each slice is one transaction, with its results, the counters, the positions that remain in the
chunk, and the operations that are postponed. If the process dies, the operations that are in no
committed slice are sent again, with the same keys.

`Sending.is_stopping` tells the target to stop when the batch was cancelled, or when the time of the
chain has ended. If the batch was deleted, the target is closed after the next slice.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import closing
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

from batchway.formats.base import Entry
from batchway.kit import ids
from batchway.lifecycle.chain import Chain
from batchway.lifecycle.no_answer import explain_no_answer
from batchway.lifecycle.pack import PackedResults, pack_results
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.record import NotRunning, postpone, record_results, report_recorded
from batchway.lifecycle.screen import screen_operations
from batchway.lifecycle.work import Work, load_work
from batchway.model.operation import Operation
from batchway.model.positions import Positions
from batchway.model.result import NoAnswer, Result
from batchway.model.step import StepName
from batchway.observers.base import Event
from batchway.targets.base import OutgoingOperation, Postponed, Sending, SendingTarget, Slice


def send_operations(
    chain: Chain, name: StepName, work: Work, target: SendingTarget
) -> StepName | None:
    """Send the operations of a claimed chunk; return the next step.

    Raises NotRunning if the batch is deleted, or if this worker's claim has ended.
    """
    transmission = _Transmission(chain, name, work)
    sending = transmission.begin()
    if sending.operations:
        with closing(target.send(sending)) as slices:
            for part in slices:
                transmission.record(part)
    return transmission.end()


@dataclass
class _Transmission:
    """A chunk that is being sent; `operations` are those without a result yet, by position."""

    chain: Chain
    name: StepName
    work: Work
    operations: dict[int, Operation] = field(init=False)
    following: StepName | None = None

    def __post_init__(self) -> None:
        pairs = zip(self.work.chunk.positions, self.work.operations, strict=True)
        self.operations = dict(pairs)

    @property
    def parts(self) -> Parts:
        return self.chain.parts

    def begin(self) -> Sending:
        """Record the operations that no target may get; return what is to be sent."""
        positions = list(self.operations)
        refused = screen_operations(self.work.operations, self.parts.render_refusal).refused
        if refused:
            self.record(Slice({positions[index]: result for index, result in refused.items()}))
        batch = self.work.batch
        outgoing = [
            OutgoingOperation(
                position, operation, ids.compute_operation_key(batch.id, batch.public_id, position)
            )
            for position, operation in self.operations.items()
        ]
        return Sending(self.work.caller, outgoing, self._is_stopping)

    def record(self, part: Slice) -> None:
        """Commit a slice; if it is empty, only read the batch again."""
        if not part.results and part.postponed is None:
            self._reload()
            return
        entries = self._place_results(part.results)
        packed = (
            pack_results(self.parts, self.work.batch, entries) if entries else PackedResults((), ())
        )
        try:
            self._commit(packed, part.postponed)
        except NotRunning:
            self._reload()  # the batch is being cancelled: what was sent is recorded all the same
            self._commit(packed, part.postponed)

    def end(self) -> StepName | None:
        """Return the next step; operations that were not sent remain in the chunk."""
        if not self.operations:
            return self.following
        rest = replace(self.work.chunk, positions=Positions.collect(self.operations))
        with self.parts.database.write() as connection:
            return self.chain.follow(connection, self.work.batch, [rest], chunks_left=1)

    def _is_stopping(self) -> bool:
        return self.work.batch.is_cancelling or self.chain.is_over

    def _reload(self) -> None:
        work = load_work(self.parts, self.name)
        if work is None:
            raise NotRunning
        self.work = work

    def _place_results(self, results: Mapping[int, Result | NoAnswer]) -> list[Entry]:
        return [
            Entry(
                position,
                0,
                self._get_operation(position),
                _render_result(self.parts, results[position]),
            )
            for position in sorted(results)
        ]

    def _get_operation(self, position: int) -> Operation:
        operation = self.operations.get(position)
        if operation is None:
            message = f"Position {position} has a result already, or the target did not get it."
            raise ValueError(message)
        return operation

    def _commit(self, packed: PackedResults, postponed: Postponed | None) -> None:
        """Record results and postpone operations, in one transaction. Raises NotRunning."""
        taken = {entry.position for entry in packed.entries}
        remaining = _drop_positions(self.operations, taken)
        with self.parts.database.write() as connection:
            if postponed is not None and not self.work.batch.is_cancelling:
                remaining = self._postpone(connection, postponed, remaining)
            positions = Positions.collect(remaining)
            recorded = record_results(self.parts, connection, self.work, packed, positions)
            if not remaining:
                self.following = self.chain.follow(connection, self.work.batch, *recorded)
            self.parts.observe(Event.SEND_BEFORE_COMMIT)
        self.operations = remaining
        self.parts.observe(Event.SEND_AFTER_COMMIT)
        report_recorded(self.parts, self.work, packed, is_chunk_done=not remaining)

    def _postpone(
        self, connection: Connection, postponed: Postponed, remaining: Mapping[int, Operation]
    ) -> dict[int, Operation]:
        """Move operations to a chunk that waits; return the others."""
        positions = set(postponed.positions)
        if not positions <= remaining.keys():
            message = "The target postponed operations that have a result, or that it did not get."
            raise ValueError(message)
        seconds, reason = postponed.wait_seconds, postponed.reason
        waiting = Positions.collect(positions)
        postpone(self.parts, connection, self.work, waiting, seconds, reason)
        return _drop_positions(remaining, positions)


def _drop_positions(
    operations: Mapping[int, Operation], positions: AbstractSet[int]
) -> dict[int, Operation]:
    return {
        position: operation
        for position, operation in operations.items()
        if position not in positions
    }


def _render_result(parts: Parts, result: Result | NoAnswer) -> Result:
    if isinstance(result, Result):
        return result
    return parts.render_refusal(explain_no_answer(result))
