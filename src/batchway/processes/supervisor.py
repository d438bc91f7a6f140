"""The supervisor of `serve`: one process tree that lives and dies together.

It keeps the listening socket open, so that connections wait while the API process is restarted. It
restarts children that die, with a growing wait, and ends the lease of a dead worker at once, so
that the take-over of its work does not wait until the lease expires.

The children are forks. All modules are imported once, before the first fork: a child imports
nothing again, and shares the memory of what was imported.
"""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.context import ForkProcess

import structlog

from batchway import limits
from batchway.kit.forks import Forks, reap_forks
from batchway.kit.ids import new_process_name

log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.05
_STABLE_SECONDS = 10.0  # a child that ran for so long is restarted after the first wait again
_KILL_SECONDS = 5  # beyond the grace that a child gives its own work


@dataclass
class Child:
    """A process that is kept running.

    Each start has a name of its own: `run` is called with it in the new process. When that process
    has died, `on_death` is called with its name in another new process.
    """

    command: str
    forks: Forks
    run: Callable[[str], None]
    on_death: Callable[[str], None] | None = None
    name: str = field(default="", init=False)
    process: ForkProcess | None = field(default=None, init=False)
    started_at: float = field(default=0.0, init=False)
    start_at: float = field(default=0.0, init=False)
    wait_seconds: float = field(default=limits.restart_wait_seconds_first, init=False)

    def keep_running(self, now: float) -> None:
        """Start the process if it is time to, or plan its restart if it has died."""
        if self.process is None:
            if now >= self.start_at:
                self._start(now)
        elif self.process.exitcode is not None:
            self._plan_restart(now, self.process.exitcode)

    def _start(self, now: float) -> None:
        self.started_at = now
        self.name = new_process_name(self.command)
        self.process = self.forks.start(f"batchway {self.command}", partial(self.run, self.name))

    def _plan_restart(self, now: float, code: int) -> None:
        self.process = None
        if self.on_death is not None:
            self.forks.start(f"batchway {self.command} cleanup", partial(self.on_death, self.name))
        if now - self.started_at > _STABLE_SECONDS:
            self.wait_seconds = limits.restart_wait_seconds_first
        self.start_at = now + self.wait_seconds
        log.warning("child_died", child=self.name, code=code, restart_seconds=self.wait_seconds)
        self.wait_seconds = min(self.wait_seconds * 2, limits.restart_wait_seconds_max)


class Supervisor:
    """Runs children until this process gets SIGTERM or SIGINT."""

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = children
        self._is_stopping = False

    def run(self) -> None:
        """Keep the children running; on a signal, end them and return."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while not self._is_stopping:
            now = time.monotonic()
            for child in self._children:
                child.keep_running(now)
            reap_forks()
            time.sleep(_POLL_SECONDS)
        self._end_children()

    def _stop(self, *_: object) -> None:
        self._is_stopping = True

    def _end_children(self) -> None:
        """Send SIGTERM, wait, then SIGKILL. The next start takes over what is unfinished."""
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + limits.shutdown_grace_seconds + _KILL_SECONDS
        for process in running:
            process.join(max(deadline - time.monotonic(), 0))
            if process.exitcode is None:
                process.kill()
                process.join()
