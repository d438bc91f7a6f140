"""Process trees: a lock that only one tree can hold, and children that die with their parent."""

import fcntl
import os
import threading
from pathlib import Path


class Locked(Exception):
    """Another process holds the lock; `pid` is its id, as far as it is known."""

    def __init__(self, pid: str) -> None:
        super().__init__(pid)
        self.pid = pid


def lock(path: Path) -> int:
    """Hold the file's lock until this process ends; the descriptor. Raises Locked."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode().strip()
        os.close(descriptor)
        raise Locked(holder or "unknown") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def die_with_parent(descriptor: int) -> None:
    """End this process when the pipe's other end closes: its holder has died."""

    def wait() -> None:
        os.read(descriptor, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="die-with-parent").start()
