"""Forks this process. The forks share its imported modules, and end when it ends.

The process that forks must have no threads, no event loop and no database connection, because none
of these works in a fork.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkProcess

from setproctitle import setproctitle

from batchway.kit.processes import die_with_parent

_CONTEXT = multiprocessing.get_context("fork")
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Forks:
    """Starts forks of this process. A fork closes the file descriptors that are `not_shared`."""

    def __init__(self, not_shared: Sequence[int] = ()) -> None:
        # Nothing is ever written: the pipe closes when this process ends, however it ends.
        self._parent, write_end = os.pipe()
        self._not_shared = [*not_shared, write_end]

    def start(self, title: str, run: Callable[[], None]) -> ForkProcess:
        """Start a process that calls `run` and then ends. `ps` shows it as `title`.

        If this process ends by an exception, its forks get SIGTERM.
        """
        process = _CONTEXT.Process(target=self._run, args=(title, run), daemon=True)
        # Until the fork has reset its signal handlers, it would run those of this process.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
        return process

    def _run(self, title: str, run: Callable[[], None]) -> None:
        for number in _STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
        for descriptor in self._not_shared:
            os.close(descriptor)
        setproctitle(title)
        die_with_parent(self._parent)
        run()


def reap_forks() -> None:
    """Remove forks that have ended from the process table of the system."""
    multiprocessing.active_children()
