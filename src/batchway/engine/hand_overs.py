"""Writes hand-overs: DBOS workflows that commit with the state change that they follow from.

The id of a hand-over is derived from the store: `{key}/{step}/{number}/{hand-over number}`. None is
ever used twice. A hand-over carries ids only, and how often its step has failed in a row.
"""

from dbos import EnqueueOptions
from sqlalchemy import Connection

from batchway.engine.configuration import VERSION, WORKFLOW, open_client
from batchway.engine.hand_over_watch import announce_hand_over
from batchway.engine.lanes import LANES
from batchway.errors import HandOverRefused
from batchway.model.step import Step, StepName, WrittenHandOver
from batchway.store import hand_overs
from batchway.store.database import Database


class HandOvers:
    """Writes hand-overs for one process. `prepare_engine` must have been called before.

    `worker` is the name under which the process claims steps: what it hands over it releases.
    """

    def __init__(self, database: Database, worker: str) -> None:
        self._worker = worker
        self._client = open_client(database)

    def __call__(
        self,
        connection: Connection,
        step: Step,
        key: int,
        number: int = 0,
        *,
        delay_seconds: float = 0,
    ) -> None:
        """Ask for a step to be run when the transaction commits: see `model/step.py`."""
        self.write(connection, StepName(step, key, number), delay_seconds)

    def write(
        self,
        connection: Connection,
        name: StepName,
        delay_seconds: float = 0,
        failure_count: int = 0,
    ) -> None:
        """The same, for a step that has failed so many times in a row."""
        hand_over_number = hand_overs.take_number(connection, name, self._worker)
        if hand_over_number is None:
            return
        queue = LANES[name.step].name
        options = EnqueueOptions(
            workflow_name=WORKFLOW,
            queue_name=queue,
            workflow_id=workflow_id(WrittenHandOver(name, hand_over_number)),
            app_version=VERSION,
            priority=_priority(name),
        )
        if delay_seconds:
            options["delay_seconds"] = delay_seconds
        self._client.enqueue_in_transaction(connection, options, *name, failure_count)
        announce_hand_over(connection, queue)

    def close(self) -> None:
        """Stop the client."""
        self._client.destroy()


def workflow_id(hand_over: WrittenHandOver) -> str:
    """The id under which the engine knows a hand-over."""
    step, key, number = hand_over.name
    return f"{key}/{step}/{number}/{hand_over.hand_over_number}"


def _priority(name: StepName) -> int:
    """Chunks queue by their number: a large batch does not keep a small one waiting."""
    if name.number < 0 or name.key < 1:
        message = f"No step can have the name {name}."
        raise HandOverRefused(message)
    return 1 + name.number
