"""Run: a small batch from beginning to end in one hop, by the same steps as a large one."""

from dataclasses import dataclass, replace

from sqlalchemy import Connection

from batchway.lifecycle.execute import execute
from batchway.lifecycle.finalize import finalize
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.record import Turn
from batchway.lifecycle.split import split
from batchway.model.step import HandOver, Step
from batchway.store import batches, chunks


def run(parts: Parts, batch_id: int) -> None:
    """Do all the steps of a batch. May run twice and die anywhere: each step may.

    One that takes long is handed over again, so that others get a turn.
    """
    turn = Turn.now(parts.clock)
    here = replace(parts, hand_over=_Here(batch_id, parts.hand_over))
    split(here, batch_id)
    while numbers := _waiting(here, batch_id):
        for number in numbers:
            execute(here, batch_id, number)
            if turn.is_over:
                with parts.database.write() as connection:
                    parts.hand_over(connection, Step.RUN, batch_id)
                return
    finalize(here, batch_id)


@dataclass(frozen=True)
class _Here:
    """Hands nothing of this batch over, as its next step follows at once; all else it does."""

    batch_id: int
    hand_over: HandOver

    def __call__(
        self,
        connection: Connection,
        step: Step,
        key: int,
        number: int = 0,
        *,
        delay_seconds: float = 0,
    ) -> None:
        if step is Step.DELIVER or key != self.batch_id:
            self.hand_over(connection, step, key, number, delay_seconds=delay_seconds)


def _waiting(parts: Parts, batch_id: int) -> list[int]:
    """The numbers of the chunks that are to be executed; none if the batch does not run."""
    with parts.database.read() as connection:
        batch = batches.get(connection, batch_id)
        if batch is None or not batch.is_running:
            return []
        return chunks.waiting(connection, batch)
