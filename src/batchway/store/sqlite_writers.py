"""SQLite allows one writer at a time. This module decides how the other writers wait.

SQLite's own busy handler sleeps longer after each attempt, up to a tenth of a second, and often
misses the moment when the lock is free. Here the threads of a process queue for one lock, and the
first of them polls the lock of the file. So a single call waits less for the chunk before it.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from batchway import limits
from batchway.errors import DatabaseBusy


class WriterQueue:
    """The threads of one process that write to one database file."""

    def __init__(self, busy_timeout_seconds: float) -> None:
        self._busy_timeout_seconds = busy_timeout_seconds
        self._lock = Lock()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep other threads from writing until the end of the block.

        Raises DatabaseBusy after `busy_timeout_seconds` of waiting.
        """
        if not self._lock.acquire(timeout=self._busy_timeout_seconds):
            message = "Another thread of this process has been writing for too long."
            raise DatabaseBusy(message)
        try:
            yield
        finally:
            self._lock.release()


def begin_immediate(cursor: sqlite3.Cursor, busy_timeout_seconds: float) -> None:
    """Begin a transaction that holds the write lock of the file.

    Raises sqlite3.OperationalError when it is not free for `busy_timeout_seconds`.
    """
    ends_at = time.monotonic() + busy_timeout_seconds
    cursor.execute("PRAGMA busy_timeout = 0")
    try:
        while not _has_begun(cursor, is_last=time.monotonic() > ends_at):
            time.sleep(limits.write_lock_poll_seconds)
    finally:
        cursor.execute(f"PRAGMA busy_timeout = {int(busy_timeout_seconds * 1000)}")


def _has_begun(cursor: sqlite3.Cursor, *, is_last: bool) -> bool:
    try:
        cursor.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # whatever the reason
        if is_last or not is_busy:
            raise
        return False
    return True
