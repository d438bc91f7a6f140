"""Kills the process at a fault point, if a test requests it with environment variables.

`BATCHWAY_FAULT=execute.before_commit` sends SIGKILL to the process at that point. If
`BATCHWAY_FAULT_ONCE` names a file, only the process that creates the file is killed.
`BATCHWAY_FAULT_SIGNAL` names another signal, such as SIGSTOP, which pauses the process.
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
    """Sends a signal to its own process at one event; with a `once_file`, in one process only."""

    point: str
    once_file: str
    signal: signal.Signals

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self | None:
        """Return the observer that the variables describe, or None, as in production."""
        point = environment.get(_POINT_VARIABLE)
        if not point:
            return None
        name = environment.get(_SIGNAL_VARIABLE, "SIGKILL")
        return cls(point, environment.get(_ONCE_VARIABLE, ""), signal.Signals[name])

    def observe(self, event: Event, fields: Mapping[str, Field]) -> None:
        """Send the signal if this is the event, and no other process has created the file."""
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
