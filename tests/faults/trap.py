"""A trap: the first process that comes to a fault point is struck there, once."""

from dataclasses import dataclass
from pathlib import Path

from batchway.observers.base import Event


@dataclass(frozen=True)
class Trap:
    """Strikes by SIGKILL, or by SIGSTOP; the file tells whether it has."""

    point: Event
    file: Path
    signal: str = "SIGKILL"

    def laid(self) -> dict[str, str]:
        """The variables of a server that has this trap; it is not set yet."""
        self.file.touch()
        return {
            "BATCHWAY_FAULT": self.point,
            "BATCHWAY_FAULT_ONCE": str(self.file),
            "BATCHWAY_FAULT_SIGNAL": self.signal,
        }

    def set(self) -> None:
        """From now on it strikes, once."""
        self.file.unlink()

    @property
    def has_struck(self) -> bool:
        """Whether a process was in it."""
        return self.file.exists()
