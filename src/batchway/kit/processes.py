"""Process trees: a lock that only one tree can hold, and children that die with their parent."""

import fcntl
import os
import threading
from pathlib import Path


class Locked(Exception):
    """Another process holds the lock; `pid` is its id, or "unknown"."""

    def __init__(self, pid: str) -> None:
        super().__init__(pid)
        self.pid = pid


def lock(path: Path) -> int:
    """Lock the file until this process ends, and return its descriptor; raises Locked."""
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
    """End this process when the other end of the pipe closes, because its holder has died.

    A pipe works on every system and without a race, unlike a look at the parent's id.
    """

    def wait_for_end() -> None:
        os.read(descriptor, 1)
        os._exit(1)

    threading.Thread(target=wait_for_end, daemon=True, name="die-with-parent").start()
