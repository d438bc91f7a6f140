"""Which steps a process runs now, so that it does not begin one of them twice.

A claim in the database shows which worker has claimed a step, but not whether it still runs it: the
step may have raised, and its hand-over may have failed. Only the process itself knows.
"""

from collections.abc import Iterable
from threading import Lock

from batchway.model.step import StepName


class RunningSteps:
    """The steps that one process runs. Safe for many threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._names: set[StepName] = set()

    def enter(self, name: StepName) -> bool:
        """Add a step before it is claimed; return False if this process runs it already."""
        with self._lock:
            if name in self._names:
                return False
            self._names.add(name)
            return True

    def leave(self, names: Iterable[StepName]) -> None:
        """Remove steps that have ended."""
        with self._lock:
            self._names.difference_update(names)
