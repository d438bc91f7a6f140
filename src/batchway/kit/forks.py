"""Processes forked from this one: they share its imported modules, and end when it does.

The process that forks has no thread, no event loop and no database connection: none of them works
in a fork.
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
    """Makes forks of this process.

    A fork closes the descriptors `own`, which belong to this process alone.
    """

    def __init__(self, own: Sequence[int] = ()) -> None:
        # Nothing is ever written: the pipe closes when this process ends, however it ends.
        self._parent, write_end = os.pipe()
        self._own = [*own, write_end]

    def start(self, title: str, run: Callable[[], None]) -> ForkProcess:
        """Start a process that calls `run` and ends; `ps` shows it as `title`."""
        process = _CONTEXT.Process(target=self._run, args=(title, run))
        # Until the fork has reset its handlers, a signal would go to those of this process.
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
        for descriptor in self._own:
            os.close(descriptor)
        setproctitle(title)
        die_with_parent(self._parent)
        run()


def reap_forks() -> None:
    """Let the system forget forks that have ended, even if nobody asks for their exit codes."""
    multiprocessing.active_children()
