"""DBOS behind one door: hand-overs, the queue, leases, take-over.

The engine decides which step runs when and in which process. It is not the place of truth: the
store is. A hand-over is a DBOS workflow whose id is derived from the store
(`{batch}/{step}/{number}/{hand-over number}`), carries ids only, and commits with the state
change that it follows from. Nothing else imports DBOS.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import structlog
from dbos import (
    DBOS,
    DBOSClient,
    DBOSConfig,
    DBOSPortableJSONSerializer,
    EnqueueOptions,
    error,
)
from sqlalchemy import Connection

from batchway import limits
from batchway.errors import HandOverRefused
from batchway.kit.clock import SECOND, Clock, format_iso
from batchway.model.step import Step
from batchway.store import hand_overs, leases
from batchway.store.database import Database

log = structlog.get_logger(__name__)

_APPLICATION = "batchway"
_QUEUE = "batchway"
_SMALL_BATCHES = "batchway-small"  # apart: many can be dequeued at once, as each is done soon
_DELIVERIES = "batchway-deliveries"  # apart: a slow receiver must not keep a chunk waiting
# Queue → the steps of one worker that are dequeued at once, and the seconds between two looks.
_QUEUES = {
    _QUEUE: (limits.dequeued_per_worker_max, limits.queue_poll_seconds),
    _SMALL_BATCHES: (limits.small_batches_per_worker_max, limits.small_batch_poll_seconds),
    _DELIVERIES: (limits.deliveries_per_worker_max, limits.delivery_poll_seconds),
}
_QUEUE_OF = {Step.RUN: _SMALL_BATCHES, Step.DELIVER: _DELIVERIES}
_WORKFLOW = "step"
# Changes only with a workflow that cannot continue what an older version began.
_VERSION = "1"
_UNDER_WAY = ["ENQUEUED", "PENDING", "DELAYED"]
_OVER = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]

StepFunction = Callable[[int, int], None]


class StepName(NamedTuple):
    """One step of one batch, of one of its chunks, or of one delivery."""

    step: Step
    key: int
    number: int

    @property
    def queue(self) -> str:
        """Where it waits."""
        return _QUEUE_OF.get(self.step, _QUEUE)


def prepare(database: Database) -> None:
    """Make or update the engine's own tables. May be called any number of times."""
    DBOS.migrate(database.url)
    client = _client(database)
    for queue, (concurrency, poll_seconds) in _QUEUES.items():
        client.register_queue(
            queue, worker_concurrency=concurrency, polling_interval_sec=poll_seconds
        )
    client.destroy()


def _client(database: Database) -> DBOSClient:
    return DBOSClient(
        system_database_engine=database.engine,
        serializer=DBOSPortableJSONSerializer(),
        application_name=_APPLICATION,
        lazy=True,
    )


def _config(database: Database, executor_id: str) -> DBOSConfig:
    return DBOSConfig(
        name=_APPLICATION,
        application_version=_VERSION,
        executor_id=executor_id,
        system_database_engine=database.engine,
        serializer=DBOSPortableJSONSerializer(),
        log_level="ERROR",
    )


class HandOvers:
    """Writes hand-overs. `prepare` must have been called on the database once."""

    def __init__(self, database: Database) -> None:
        self._client = _client(database)

    def __call__(
        self,
        connection: Connection,
        step: Step,
        key: int,
        number: int = 0,
        *,
        delay_seconds: float = 0,
    ) -> None:
        """Ask for a step to be run, if it has work left, when the transaction commits."""
        self.later(connection, StepName(step, key, number), delay_seconds)

    def later(self, connection: Connection, name: StepName, delay_seconds: float) -> None:
        """The same, by the step's name."""
        hand_over_number = hand_overs.next_number(connection, *name)
        if hand_over_number is None:
            return
        options = EnqueueOptions(
            workflow_name=_WORKFLOW,
            queue_name=name.queue,
            workflow_id=_workflow_id(name, hand_over_number),
            app_version=_VERSION,
            priority=_priority(name),
        )
        if delay_seconds:
            options["delay_seconds"] = delay_seconds
        self._client.enqueue_in_transaction(connection, options, *name, hand_over_number)

    def close(self) -> None:
        """Stop the client."""
        self._client.destroy()


def _priority(name: StepName) -> int:
    """Chunks queue by their number: a large batch does not keep a small one waiting."""
    if name.number < 0 or name.key < 1:
        message = f"No step can have the name {name}."
        raise HandOverRefused(message)
    return 1 + name.number


def _workflow_id(name: StepName, hand_over_number: int) -> str:
    return f"{name.key}/{name.step}/{name.number}/{hand_over_number}"


class Worker:
    """One process that runs steps, and shows by a lease that it is alive.

    DBOS allows one of these in a process.
    """

    def __init__(
        self,
        database: Database,
        hand_over: HandOvers,
        steps: Mapping[Step, StepFunction],
        *,
        name: str,
        clock: Clock,
    ) -> None:
        self.name = name
        self._database = database
        self._hand_over = hand_over
        self._steps = steps
        self._clock = clock
        self._one_at_a_time = threading.Lock()  # two chunks at once would share one interpreter
        self._stopping = threading.Event()
        self._is_ready = False
        self._threads: list[threading.Thread] = []

    def start(self, sweep: Callable[["Worker"], None]) -> None:
        """Begin to take work; `sweep` is called now and then, in one process at a time."""
        self._renew()  # before the first work is claimed, or a caretaker would take it away
        DBOS(config=_config(self._database, self.name))
        self._register()
        DBOS.listen_queues(list(_QUEUES))
        DBOS.launch()
        self._is_ready = True
        self._renew()
        self._repeat(limits.lease_renewal_seconds, self._renew)
        self._repeat(limits.sweep_seconds, lambda: self._care(sweep))

    def stop(self) -> None:
        """Finish the step in hand, give the others back, and end the lease."""
        self._is_ready = False
        self._stopping.set()
        DBOS.destroy(workflow_completion_timeout_sec=int(limits.shutdown_grace_seconds))
        for thread in self._threads:
            thread.join()
        with self._database.write() as connection:
            leases.release(connection, self.name)

    def is_under_way(self, name: StepName) -> bool:
        """Whether the engine still means to run the newest hand-over of a step.

        Also true when the step has no work left.
        """
        with self._database.read() as connection:
            number = hand_overs.last_number(connection, *name)
        if number is None:
            return True
        found = DBOS.list_workflows(
            workflow_ids=[_workflow_id(name, number)], load_input=False, load_output=False
        )
        return any(each.status in _UNDER_WAY for each in found)

    def prune(self) -> None:
        """Delete hand-overs that have been over for a while."""
        over = DBOS.list_workflows(
            status=_OVER,
            completed_before=format_iso(self._clock() - int(limits.overdue_seconds * SECOND)),
            limit=limits.swept_workflows_max,
            load_input=False,
            load_output=False,
        )
        if over:
            DBOS.delete_workflows([each.workflow_id for each in over])

    def _register(self) -> None:
        def run_step(step: str, key: int, number: int, hand_over_number: int) -> None:
            self._run(StepName(Step(step), key, number), hand_over_number)

        DBOS.workflow(name=_WORKFLOW)(run_step)

    def _run(self, name: StepName, hand_over_number: int) -> None:
        """The one workflow: runs a step, and hands it over again if it fails."""
        # Deliveries wait for others most of the time, so that many may run at once.
        turn = nullcontext() if name.step is Step.DELIVER else self._one_at_a_time
        with turn:
            if self._stopping.is_set():
                self._give_back(name, delay_seconds=0)
                return
            try:
                self._steps[name.step](name.key, name.number)
            except Exception:
                delay = _retry_delay(hand_over_number)
                log.exception("step_failed", **name._asdict(), retry=delay)
                self._give_back(name, delay)

    def _give_back(self, name: StepName, delay_seconds: float) -> None:
        with self._database.write() as connection:
            self._hand_over.later(connection, name, delay_seconds)

    def _renew(self) -> None:
        with self._database.write() as connection:
            leases.renew(
                connection, self.name, is_ready=self._is_ready, seconds=limits.lease_seconds
            )

    def _care(self, sweep: Callable[["Worker"], None]) -> None:
        with self._database.write() as connection:
            is_ours = leases.take_caretaker(connection, self.name, limits.lease_seconds)
        if is_ours:
            self._take_over()
            sweep(self)

    def _take_over(self) -> None:
        """Resume what dead processes held. PENDING first, leases second: see the guarantees."""
        pending = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
        with self._database.read() as connection:
            alive = leases.live(connection)
        for queue in _QUEUES:
            lost = [
                each.workflow_id
                for each in pending
                if each.queue_name == queue and each.executor_id not in alive
            ]
            if lost:
                log.warning("taken_over", hand_overs=len(lost))
                _resume(lost, queue)

    def _repeat(self, seconds: float, task: Callable[[], Any]) -> None:
        def loop() -> None:
            while not self._stopping.is_set():
                try:
                    task()
                except Exception:
                    log.exception("background_task_failed")
                self._stopping.wait(seconds)

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        self._threads.append(thread)


def _resume(workflow_ids: Sequence[str], queue: str) -> None:
    try:
        DBOS.resume_workflows(list(workflow_ids), queue_name=queue)
    except error.DBOSNonExistentWorkflowError:
        if len(workflow_ids) > 1:  # one of them is gone, which fails all
            for each in workflow_ids:
                _resume([each], queue)


def _retry_delay(hand_over_number: int) -> float:
    doubled: float = limits.hand_over_retry_seconds * 2 ** min(hand_over_number - 1, 10)
    return min(doubled, limits.hand_over_retry_seconds_max)
