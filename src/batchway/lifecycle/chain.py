"""Chain: the steps of a batch that one worker runs one after the other.

A worker that ends a step claims the next step in the same transaction, and runs it at once: no
hand-over is written, and nothing waits for a poll of the queue. Other steps that follow are handed
over. If the process dies, its lease expires; the sweep then hands over the steps it had claimed.

A chain ends after `step_seconds_max`, so that steps of other batches can run: the next step is then
handed over. A small batch is run by one chain from beginning to end.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from batchway.kit.clock import SECOND, Microseconds
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.work import Work
from batchway.model.batch import Batch, Chunk, Status, is_small
from batchway.model.step import Step, StepName
from batchway.store import batches, chunks
from batchway.targets.table import TargetTable


def choose_chunk_step(targets: TargetTable, batch_id: int, number: int, target: str) -> StepName:
    """Return the step that executes a chunk, which depends on the kind of its target."""
    step = Step.SEND if targets.is_sending(target) else Step.EXECUTE
    return StepName(step, batch_id, number)


@dataclass
class Chain:
    """The steps that one thread runs one after the other; `first` is the one that was handed over.

    `work` is the chunk that was loaded last. Call `close` when the last step has ended.
    """

    parts: Parts
    first: StepName
    ends_at: Microseconds
    work: Work | None = None
    _entered: list[StepName] = field(default_factory=list)

    @classmethod
    def begin(cls, parts: Parts, first: StepName) -> "Chain":
        """Return a chain whose time begins now."""
        return cls(parts, first, parts.clock() + int(parts.limits.step_seconds_max * SECOND))

    @property
    def batch_id(self) -> int:
        """The key of the batch that all steps work on."""
        return self.first.key

    @property
    def is_over(self) -> bool:
        """Whether the next step must be handed over, because the time of the chain has ended."""
        microseconds_left = self.ends_at - self.parts.clock()
        # If the clock has gone back, more is left than a chain ever has.
        return not 0 < microseconds_left <= self.parts.limits.step_seconds_max * SECOND

    def close(self) -> None:
        """Note that this process no longer runs the steps of the chain."""
        self.parts.running.leave(self._entered)

    def claim_batch(self, connection: Connection, step: Step, status: Status) -> StepName | None:
        """Claim the step of a batch in this status; None if it is claimed already, or has ended."""
        name = StepName(step, self.batch_id)
        if not self.enter(name):
            return None
        is_claimed = batches.claim(connection, self.batch_id, status, self.parts.worker)
        return name if is_claimed else None

    def claim_chunk(self, connection: Connection, batch: Batch, name: StepName) -> StepName | None:
        """Claim a chunk and count the attempt; None if it is claimed already, or is not waiting."""
        if not self.enter(name):
            return None
        claimed = chunks.claim(connection, batch, name.number, self.parts.worker)
        return None if claimed is None else name

    def enter(self, name: StepName) -> bool:
        """Note that this process runs a step; return False if another of its threads runs it."""
        if name in self._entered:
            return True
        if not self.parts.running.enter(name):
            return False
        self._entered.append(name)
        return True

    def follow(
        self, connection: Connection, batch: Batch, waiting: Sequence[Chunk], chunks_left: int
    ) -> StepName | None:
        """Claim and return the next step of this chain, in the transaction that ends a step.

        `waiting` are the chunks that the ended step has added or not completed; those that are not
        claimed here are handed over. `chunks_left` counts all chunks of the batch that are not
        done.
        """
        if not chunks_left:
            return self._follow_with_finalize(connection, batch)
        names = [self._choose_step(batch, chunk) for chunk in waiting]
        own = [name for name in names if self._can_run(name)]
        is_one_chain = is_small(batch.operation_count, self.parts.limits)
        if is_one_chain and self.first.step is not Step.SEND:
            self._hand_over(connection, (name for name in names if name not in own))
            return self._follow_in_small_batch(connection, batch)
        goes_on = bool(own) and not self.is_over
        following = self.claim_chunk(connection, batch, own[0]) if goes_on else None
        self._hand_over(connection, (name for name in names if name != following))
        return following

    def _choose_step(self, batch: Batch, chunk: Chunk) -> StepName:
        return choose_chunk_step(self.parts.targets, batch.id, chunk.number, chunk.target)

    def _can_run(self, name: StepName) -> bool:
        """Return whether this chain can run a step: chunks that are sent have separate chains."""
        return (name.step is Step.SEND) == (self.first.step is Step.SEND)

    def _follow_with_finalize(self, connection: Connection, batch: Batch) -> StepName | None:
        name = StepName(Step.FINALIZE, batch.id)
        goes_on = self._can_run(name) and not self.is_over and self.enter(name)
        if not batches.begin_finalizing(connection, batch, self.parts.worker if goes_on else None):
            return None
        if goes_on:
            return name
        self._hand_over(connection, [name])
        return None

    def _follow_in_small_batch(self, connection: Connection, batch: Batch) -> StepName | None:
        """Claim and return the first waiting chunk that this chain can run."""
        # A chain runs at least one step, even if its time has ended: otherwise a batch could be
        # handed over without end.
        has_run = bool(self._entered) or self.first.step is not Step.RUN
        if self.is_over and has_run:
            self._hand_over(connection, [StepName(Step.RUN, batch.id)])
            return None
        for chunk in chunks.find_waiting(connection, batch):
            name = self._choose_step(batch, chunk)
            if self._can_run(name) and self.claim_chunk(connection, batch, name):
                return name
        return None

    def _hand_over(self, connection: Connection, names: Iterable[StepName]) -> None:
        for name in names:
            self.parts.hand_over(connection, *name)
