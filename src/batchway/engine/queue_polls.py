"""When a worker asks the database for work: at once when there is some, and seldom when idle.

DBOS polls each queue at one fixed interval: either a step waits long, or an idle worker is busy. So
the worker runs DBOS's own loop for each lane, but decides when it polls next: when a hand-over was
committed, when a step has ended, and otherwise once in `idle_poll_seconds`.
"""

import threading
import time
from collections.abc import Iterable
from contextlib import closing, suppress

import structlog
from dbos import DBOS, Queue
from dbos._queue import queue_worker_thread  # private: DBOS is pinned to one minor version

from batchway import limits
from batchway.engine.hand_over_watch import HandOverWatch
from batchway.engine.lanes import Lane
from batchway.errors import SchemaError
from batchway.kit.logs import log_exception
from batchway.store.database import Database

log = structlog.get_logger(__name__)


class PollTimer(threading.Event):
    """The event that DBOS's loop waits for between two polls of one lane; set, it ends the loop.

    Two polls are at least `poll_gap_seconds` apart, however often it is woken.
    """

    def __init__(self, lane: Lane) -> None:
        super().__init__()
        self._poll_seconds = lane.poll_seconds
        self._woken = threading.Event()
        self._busy_until = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is time to poll, or the loop is to end; `timeout` is the longest wait."""
        begun = time.monotonic()
        is_busy = begun < self._busy_until
        if not self.is_set():
            self._woken.wait(self._poll_seconds if is_busy else timeout)
            self._woken.clear()
        return super().wait(max(limits.poll_gap_seconds - (time.monotonic() - begun), 0))

    def set(self) -> None:
        """End the loop."""
        super().set()
        self._woken.set()

    def wake(self) -> None:
        """Poll as soon as possible: a hand-over was committed."""
        self._woken.set()

    def keep_awake(self) -> None:
        """Poll often for a while: a step has ended, and soon there is room for another one."""
        now = time.monotonic()
        if now >= self._busy_until:
            self._woken.set()  # or the present wait would be an idle one
        self._busy_until = now + limits.idle_poll_seconds


class QueuePolls:
    """The polls of all lanes of a worker."""

    def __init__(self, database: Database, lanes: Iterable[Lane]) -> None:
        self._database = database
        self._timers = {lane: PollTimer(lane) for lane in lanes}
        self._stopping = threading.Event()
        self._poll_threads: dict[Lane, threading.Thread] = {}
        self._watch_thread: threading.Thread | None = None

    def start(self, engine: DBOS) -> None:
        """Begin to take work. `engine` has been launched and listens to no queue itself."""
        watch = threading.Thread(target=self._watch_hand_overs, args=(engine,), daemon=True)
        watch.start()
        self._watch_thread = watch

    def keep_awake(self, lane: Lane) -> None:
        """A step of this lane has ended."""
        self._timers[lane].keep_awake()

    def stop(self) -> None:
        """Take no more work; returns when the last poll has ended."""
        self._stopping.set()
        if self._watch_thread is not None:
            self._watch_thread.join()
        for timer in self._timers.values():
            timer.set()
        for thread in self._poll_threads.values():
            thread.join()

    def _watch_hand_overs(self, engine: DBOS) -> None:
        while not self._stopping.is_set():
            try:
                self._start_polls(engine)
                self._wake_for_hand_overs(engine)
            except BaseException:  # nothing may end this thread, which restarts the polls
                with suppress(Exception):  # such as a MemoryError
                    log_exception(log, "hand_over_watch_failed")  # the polls find the work
                self._stopping.wait(limits.idle_poll_seconds)

    def _start_polls(self, engine: DBOS) -> None:
        """Start the loop of each lane, also of one that has ended because of an error."""
        for lane, timer in self._timers.items():
            running = self._poll_threads.get(lane)
            if running is None or not running.is_alive():
                thread = threading.Thread(
                    target=queue_worker_thread,
                    args=(timer, engine, _find_queue(lane)),
                    name=f"polls of {lane.name}",
                    daemon=True,
                )
                thread.start()
                self._poll_threads[lane] = thread

    def _wake_for_hand_overs(self, engine: DBOS) -> None:
        with closing(HandOverWatch(self._database)) as watch:
            while not self._stopping.is_set():
                queues = watch.wait(self._stopping, limits.idle_poll_seconds)
                for lane, timer in self._timers.items():
                    if lane.name in queues:
                        timer.wake()
                self._start_polls(engine)


def _find_queue(lane: Lane) -> Queue:
    queue = DBOS.retrieve_queue(lane.name)
    if queue is None:
        message = f"The database has no queue {lane.name}. Make it with: batchway migrate"
        raise SchemaError(message)
    return queue
