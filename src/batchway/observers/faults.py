"""Kills the process at a fault point, if a test has asked for it by environment variables.

`BATCHWAY_FAULT=execute.before_commit` kills by SIGKILL at that point. With `BATCHWAY_FAULT_ONCE`
naming a file, only the first process that can create the file is killed. `BATCHWAY_FAULT_SIGNAL`
names another signal: SIGSTOP pauses the process there.
"""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from batchway.observers.base import Event, Field

_POINT_VARIABLE = "BATCHWAY_FAULT"
_ONCE_VARIABLE = "BATCHWAY_FAULT_ONCE"
_SIGNAL_VARIABLE = "BATCHWAY_FAULT_SIGNAL"


@dataclass(frozen=True)
class FaultObserver:
    """Sends this process a signal at one event; with a `once_file`, in one process only."""

    point: str
    once_file: str
    signal: signal.Signals

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self | None:
        """Return the observer that the variables ask for; None in production."""
        point = environment.get(_POINT_VARIABLE)
        if not point:
            return None
        name = environment.get(_SIGNAL_VARIABLE, "SIGKILL")
        return cls(point, environment.get(_ONCE_VARIABLE, ""), signal.Signals[name])

    def observe(self, event: Event, fields: Mapping[str, Field]) -> None:
        """Send the signal if this is the event, and no process was there before."""
        del fields
        if event == self.point and self._is_first():
            os.kill(os.getpid(), self.signal)

    def _is_first(self) -> bool:
        if not self.once_file:
            return True
        try:
            os.close(os.open(self.once_file, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True
