"""A fault that happens once: the first process that reaches a fault point gets a signal."""

from dataclasses import dataclass
from pathlib import Path

from batchway.observers.base import Event


@dataclass(frozen=True)
class OneTimeFault:
    """Sends SIGKILL or SIGSTOP. It is armed while `file` is missing, and creates it."""

    point: Event
    file: Path
    signal: str = "SIGKILL"

    def make_variables(self) -> dict[str, str]:
        """Return the environment variables of a server with this fault, which is not armed yet."""
        self.file.touch()
        return {
            "BATCHWAY_FAULT": self.point,
            "BATCHWAY_FAULT_ONCE": str(self.file),
            "BATCHWAY_FAULT_SIGNAL": self.signal,
        }

    def arm(self) -> None:
        """Let the next process that reaches the point get the signal."""
        self.file.unlink()

    @property
    def has_fired(self) -> bool:
        """Return whether a process got the signal."""
        return self.file.exists()
