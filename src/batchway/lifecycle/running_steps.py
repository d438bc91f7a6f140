"""Which steps a process runs right now, and which are therefore not to be begun in it again.

A claim in the database says which worker holds a step. It does not say whether that worker runs it:
the step may have raised, and its release may have failed. Only the process itself knows.
"""

from collections.abc import Iterable
from threading import Lock

from batchway.model.step import StepName


class RunningSteps:
    """The steps of one process; for any number of threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._names: set[StepName] = set()

    def enter(self, name: StepName) -> bool:
        """Note a step before it is claimed; False if a thread of this process runs it already."""
        with self._lock:
            if name in self._names:
                return False
            self._names.add(name)
            return True

    def leave(self, names: Iterable[StepName]) -> None:
        """Forget steps that have ended."""
        with self._lock:
            self._names.difference_update(names)
