"""A worker: one process that runs steps, and shows by a lease that it is alive."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext, suppress
from typing import Any

import structlog
from dbos import DBOS
from sqlalchemy import Connection

from batchway import limits
from batchway.engine import books
from batchway.engine.configuration import WORKFLOW, make_worker_config
from batchway.engine.hand_overs import HandOvers
from batchway.engine.lanes import LANES
from batchway.engine.queue_polls import QueuePolls
from batchway.engine.running_hand_overs import RunningHandOvers
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
        self._running = RunningHandOvers()
        self._exclusive = threading.Lock()
        self._stopping = threading.Event()
        self._is_ready = False
        self._care_from = 0.0  # on the monotonic clock
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
        _raise_connection_errors(engine)
        self._polls.start(engine)
        self._is_ready = True
        self._renew()
        self._repeat(limits.lease_renewal_seconds, self._renew)
        self._repeat(limits.sweep_seconds, tidy)
        self._repeat(limits.sweep_seconds, lambda: books.end_lost(self.name, self._running))
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
            with self._running.run(str(DBOS.workflow_id)) as may_run:
                if may_run:
                    self._run(StepName(Step(step), key, number), failure_count)

        DBOS.workflow(name=WORKFLOW)(run_steps)

    def _run(self, first: StepName, failure_count: int) -> None:
        """The one workflow: runs a step and those that follow, and gives back what fails."""
        lane = LANES[first.step]
        try:
            with self._exclusive if lane.is_exclusive else nullcontext():
                if self._stopping.is_set():
                    self._give_back(first, 0, failure_count)
                else:
                    self._run_chain(first, failure_count)
        finally:
            self._polls.keep_awake(lane)

    def _run_chain(self, first: StepName, failure_count: int) -> None:
        running, count = first, 0
        try:
            for name in self._steps[first.step](first):
                running, count = name, count + 1
        except BaseException:  # also what ends a thread: the engine would not record that
            has_gone_on = count > 1  # a step has ended since the last failure
            failures = 1 if has_gone_on else failure_count + 1
            delay_seconds = _retry_seconds(failures)
            with suppress(Exception):  # such as a MemoryError
                log_exception(log, "step_failed", **running._asdict(), retry=delay_seconds)
            self._give_back(running, delay_seconds, failures)

    def _give_back(self, name: StepName, delay_seconds: float, failure_count: int) -> None:
        with self._database.write() as connection:
            self._hand_overs.write(connection, name, delay_seconds, failure_count)

    def _renew(self) -> None:
        with self._database.write() as connection:
            has_lapsed = self._is_ready and not self._is_lease_fresh(connection)
            leases.renew(
                connection, self.name, is_ready=self._is_ready, seconds=limits.lease_seconds
            )
        if has_lapsed:
            self._care_from = time.monotonic() + limits.lease_lapse_seconds

    def _is_lease_fresh(self, connection: Connection) -> bool:
        seconds_left = limits.lease_seconds - limits.lease_lapse_seconds
        return leases.is_live(connection, self.name, seconds_left)

    def _care(self, sweep: Callable[[], None]) -> None:
        """Do a round as the caretaker.

        If this worker could not renew its lease for a while, the other workers could not do so
        either. They live all the same, and get the time to renew their leases first.
        """
        with self._database.write() as connection:
            is_fresh = self._is_lease_fresh(connection)
            if not is_fresh or time.monotonic() < self._care_from:
                return
            is_caretaker = leases.take_caretaker(connection, self.name, limits.lease_seconds)
        if is_caretaker:
            books.take_over(self._database, self.name)
            sweep()

    def _repeat(self, seconds: float, task: Callable[[], Any]) -> None:
        def loop() -> None:
            while not self._stopping.is_set():
                try:
                    task()
                except BaseException:  # nothing may end this thread
                    with suppress(Exception):  # such as a MemoryError
                        log_exception(log, "background_task_failed")
                self._stopping.wait(seconds)

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        self._threads.append(thread)


def _raise_connection_errors(engine: DBOS) -> None:
    """Let the engine's calls fail while the database cannot be reached.

    By default each is repeated after waits that double up to a minute. For so long, a hand-over
    that has ended would take the place of another one, and queues would not be polled.
    """
    # Private, as only the client has an option for it: DBOS is pinned to one minor version.
    engine._sys_db._retry_connection_errors = False  # noqa: SLF001


def _retry_seconds(failure_count: int) -> float:
    """The wait before a step is tried again that has failed so many times in a row."""
    doubled: float = limits.hand_over_retry_seconds * 2 ** min(failure_count - 1, 10)
    return min(doubled, limits.hand_over_retry_seconds_max)
