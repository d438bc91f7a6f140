"""The supervisor of `serve`: one process tree that lives and dies together.

It keeps the listening socket, so that a dead API process loses no connection that waits; starts
the children again when they die, with a growing wait; and ends the lease of a dead worker at
once, so that nobody waits for it to run out.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from batchway import limits
from batchway.kit.ids import new_process_name

log = structlog.get_logger(__name__)

PARENT_VARIABLE = "BATCHWAY_PARENT_FD"
SOCKET_VARIABLE = "BATCHWAY_SOCKET_FD"
NAME_VARIABLE = "BATCHWAY_PROCESS_NAME"

_POLL_SECONDS = 0.05
_LIVED_WELL_SECONDS = 10.0


@dataclass
class Child:
    """A process to be kept alive.

    Each start gets a name of its own; `died` is called with it when that process has ended, in a
    thread of its own, because it may have to wait and the other children may not.
    """

    command: str
    variables: Mapping[str, str]
    inherited: Sequence[int]
    died: Callable[[str], None] = lambda _name: None
    name: str = field(default="", init=False)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    started_at: float = field(default=0.0, init=False)
    start_at: float = field(default=0.0, init=False)
    wait_seconds: float = field(default=limits.restart_wait_seconds_first, init=False)

    def keep_alive(self, now: float) -> None:
        """Start the process if it is due, or plan its restart if it has ended."""
        if self.process is None:
            if now >= self.start_at:
                self._start(now)
        elif self.process.poll() is not None:
            self._plan_restart(now, self.process.returncode)

    def _start(self, now: float) -> None:
        self.started_at = now
        self.name = new_process_name(self.command)
        self.process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "batchway", self.command],
            env={**os.environ, **self.variables, NAME_VARIABLE: self.name},
            pass_fds=tuple(self.inherited),
        )

    def _plan_restart(self, now: float, code: int) -> None:
        self.process = None
        threading.Thread(target=self.died, args=(self.name,), daemon=True).start()
        if now - self.started_at > _LIVED_WELL_SECONDS:
            self.wait_seconds = limits.restart_wait_seconds_first
        self.start_at = now + self.wait_seconds
        log.warning("child_died", child=self.name, code=code, restart_seconds=self.wait_seconds)
        self.wait_seconds = min(self.wait_seconds * 2, limits.restart_wait_seconds_max)


class Supervisor:
    """Runs children until it is told to stop by SIGTERM or SIGINT."""

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = children
        self._is_stopping = False

    def run(self) -> None:
        """Keep the children alive; on a signal, end them and return."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while not self._is_stopping:
            now = time.monotonic()
            for child in self._children:
                child.keep_alive(now)
            time.sleep(_POLL_SECONDS)
        self._end()

    def _stop(self, *_: object) -> None:
        self._is_stopping = True

    def _end(self) -> None:
        """SIGTERM, a time of grace, then SIGKILL: what is unfinished is left to the take-over."""
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + limits.shutdown_grace_seconds + 5
        for process in running:
            try:
                process.wait(max(deadline - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def api_child(listener: socket.socket, parent: int, variables: Mapping[str, str]) -> Child:
    """The process that answers HTTP on the supervisor's socket."""
    own = {SOCKET_VARIABLE: str(listener.fileno()), PARENT_VARIABLE: str(parent)}
    return Child("api", {**variables, **own}, [listener.fileno(), parent])


def worker_child(parent: int, variables: Mapping[str, str], died: Callable[[str], None]) -> Child:
    """A process that runs steps; its name is that of its lease."""
    return Child("worker", {**variables, PARENT_VARIABLE: str(parent)}, [parent], died)
