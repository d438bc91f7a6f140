"""A worker: one process that runs steps, and shows by a lease that it is alive."""

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any

import structlog
from dbos import DBOS

from batchway import limits
from batchway.engine import books
from batchway.engine.configuration import WORKFLOW, make_worker_config
from batchway.engine.hand_overs import HandOvers
from batchway.engine.lanes import LANES
from batchway.engine.queue_polls import QueuePolls
from batchway.kit.logs import log_exception
from batchway.model.step import Step, StepName
from batchway.store import leases
from batchway.store.database import Database

log = structlog.get_logger(__name__)

# Runs a step, and those that it claims; gives the name of each that is claimed before it runs it.
RunSteps = Callable[[StepName], Iterable[StepName]]


_IS_RUNNING = threading.Lock()  # DBOS keeps its state in its own module: one in a process


class Worker:
    """Takes steps from every lane. Only one can run in a process, as DBOS is one a process."""

    def __init__(
        self,
        name: str,
        database: Database,
        hand_overs: HandOvers,
        steps: Mapping[Step, RunSteps],
    ) -> None:
        self.name = name
        self._database = database
        self._hand_overs = hand_overs
        self._steps = steps
        self._polls = QueuePolls(database, set(LANES.values()))
        self._exclusive = threading.Lock()
        self._stopping = threading.Event()
        self._is_ready = False
        self._threads: list[threading.Thread] = []

    def start(self, tidy: Callable[[], None], sweep: Callable[[], None]) -> None:
        """Begin to take work.

        Now and then every worker calls `tidy`, and one of them at a time, the caretaker, `sweep`.
        Raises RuntimeError if a worker runs in this process already.
        """
        if not _IS_RUNNING.acquire(blocking=False):
            message = "A worker runs in this process already. Start another process for a second."
            raise RuntimeError(message)
        self._renew()  # before the first work is claimed, or a caretaker would take it away
        engine = DBOS(config=make_worker_config(self._database, self.name))
        self._register()
        DBOS.listen_queues([])  # `QueuePolls` does
        DBOS.launch()
        self._polls.start(engine)
        self._is_ready = True
        self._renew()
        self._repeat(limits.lease_renewal_seconds, self._renew)
        self._repeat(limits.sweep_seconds, tidy)
        self._repeat(limits.sweep_seconds, lambda: self._care(sweep))

    def stop(self) -> None:
        """Finish the step that runs, give the others back, and end the lease."""
        self._is_ready = False
        self._stopping.set()
        self._polls.stop()
        DBOS.destroy(workflow_completion_timeout_sec=int(limits.shutdown_grace_seconds))
        for thread in self._threads:
            thread.join()
        with self._database.write() as connection:
            leases.release(connection, self.name)
        _IS_RUNNING.release()

    def _register(self) -> None:
        def run_steps(step: str, key: int, number: int, failure_count: int) -> None:
            self._run(StepName(Step(step), key, number), failure_count)

        DBOS.workflow(name=WORKFLOW)(run_steps)

    def _run(self, first: StepName, failure_count: int) -> None:
        """The one workflow: runs a step and those that follow, and gives back what fails."""
        lane = LANES[first.step]
        with self._exclusive if lane.is_exclusive else nullcontext():
            if self._stopping.is_set():
                self._give_back(first, 0, failure_count)
                return
            running, count = first, 0
            try:
                for name in self._steps[first.step](first):
                    running, count = name, count + 1
            except Exception:
                has_gone_on = count > 1  # a step has ended since the last failure
                failures = 1 if has_gone_on else failure_count + 1
                delay_seconds = _retry_seconds(failures)
                log_exception(log, "step_failed", **running._asdict(), retry=delay_seconds)
                self._give_back(running, delay_seconds, failures)
        self._polls.keep_awake(lane)

    def _give_back(self, name: StepName, delay_seconds: float, failure_count: int) -> None:
        with self._database.write() as connection:
            self._hand_overs.write(connection, name, delay_seconds, failure_count)

    def _renew(self) -> None:
        with self._database.write() as connection:
            leases.renew(
                connection, self.name, is_ready=self._is_ready, seconds=limits.lease_seconds
            )

    def _care(self, sweep: Callable[[], None]) -> None:
        with self._database.write() as connection:
            is_caretaker = leases.take_caretaker(connection, self.name, limits.lease_seconds)
        if is_caretaker:
            books.take_over(self._database)
            sweep()

    def _repeat(self, seconds: float, task: Callable[[], Any]) -> None:
        def loop() -> None:
            while not self._stopping.is_set():
                try:
                    task()
                except Exception:
                    log_exception(log, "background_task_failed")
                self._stopping.wait(seconds)

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        self._threads.append(thread)


def _retry_seconds(failure_count: int) -> float:
    """The wait before a step is tried again that has failed so many times in a row."""
    doubled: float = limits.hand_over_retry_seconds * 2 ** min(failure_count - 1, 10)
    return min(doubled, limits.hand_over_retry_seconds_max)
