"""The supervisor of `serve`: one process tree that lives and dies together.

It keeps the listening socket open, so that connections wait while the API process is restarted. It
restarts children that die, with a growing wait, and ends the lease of a dead worker at once, so
that the take-over of its work does not wait until the lease expires.
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
from batchway.kit.processes import die_with_parent

log = structlog.get_logger(__name__)

_PARENT_VARIABLE = "BATCHWAY_PARENT_FD"
_SOCKET_VARIABLE = "BATCHWAY_SOCKET_FD"
_NAME_VARIABLE = "BATCHWAY_PROCESS_NAME"

_POLL_SECONDS = 0.05
_STABLE_SECONDS = 10.0  # a child that ran for so long is restarted after the first wait again
_KILL_SECONDS = 5  # beyond the grace that a child gives its own work


@dataclass
class Child:
    """A process that is kept running.

    Each start has a name of its own. When a process has died, `on_death` is called with its name,
    in a separate thread: it may have to wait, and the other children must not.
    """

    command: str
    environment: Mapping[str, str]
    inherited: Sequence[int]
    on_death: Callable[[str], None] = lambda _name: None
    name: str = field(default="", init=False)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    started_at: float = field(default=0.0, init=False)
    start_at: float = field(default=0.0, init=False)
    wait_seconds: float = field(default=limits.restart_wait_seconds_first, init=False)

    def keep_running(self, now: float) -> None:
        """Start the process if it is time to, or plan its restart if it has died."""
        if self.process is None:
            if now >= self.start_at:
                self._start(now)
        elif self.process.poll() is not None:
            self._plan_restart(now, self.process.returncode)

    def _start(self, now: float) -> None:
        self.started_at = now
        self.name = new_process_name(self.command)
        environment = {**self.environment, _NAME_VARIABLE: self.name}
        self.process = _start_command(self.command, environment, self.inherited)

    def _plan_restart(self, now: float, code: int) -> None:
        self.process = None
        threading.Thread(target=self.on_death, args=(self.name,), daemon=True).start()
        if now - self.started_at > _STABLE_SECONDS:
            self.wait_seconds = limits.restart_wait_seconds_first
        self.start_at = now + self.wait_seconds
        log.warning("child_died", child=self.name, code=code, restart_seconds=self.wait_seconds)
        self.wait_seconds = min(self.wait_seconds * 2, limits.restart_wait_seconds_max)


class Launcher:
    """Starts commands of ours that end when this process does, with the same environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        # Nothing is ever written: the pipe closes when this process ends, however it ends.
        self._parent, self._kept_open = os.pipe()
        self._environment = {**environment, _PARENT_VARIABLE: str(self._parent)}

    def run(self, command: str) -> int:
        """Run a command to its end and return its exit code."""
        return _start_command(command, self._environment, [self._parent]).wait()

    def plan_api(self, listener: socket.socket) -> Child:
        """The process that answers HTTP on this process's socket."""
        descriptor = listener.fileno()
        environment = {**self._environment, _SOCKET_VARIABLE: str(descriptor)}
        return Child("api", environment, [descriptor, self._parent])

    def plan_worker(self, on_death: Callable[[str], None]) -> Child:
        """A process that runs steps; its name is also that of its lease."""
        return Child("worker", self._environment, [self._parent], on_death)


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
            try:
                process.wait(max(deadline - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def follow_supervisor() -> None:
    """In a child: end when the supervisor does. Elsewhere nothing happens."""
    parent = os.environ.get(_PARENT_VARIABLE)
    if parent:
        die_with_parent(int(parent))


def inherited_socket() -> socket.socket | None:
    """In a child that answers HTTP: the supervisor's listening socket."""
    descriptor = os.environ.get(_SOCKET_VARIABLE)
    return socket.socket(fileno=int(descriptor)) if descriptor else None


def given_name() -> str | None:
    """In a child: the name that the supervisor gave to it."""
    return os.environ.get(_NAME_VARIABLE)


def _start_command(
    command: str, environment: Mapping[str, str], inherited: Sequence[int]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "batchway", command],
        env={**os.environ, **environment},
        pass_fds=tuple(inherited),
    )
