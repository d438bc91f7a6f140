"""Notices hand-overs as they are committed, by any process, without asking the queues.

SQLite counts the commits of other connections, and reading the count takes microseconds; only when
it has changed, the new rows of the engine's table are looked at. PostgreSQL notifies those who
listen on a channel. What is missed is found by the polls of the queues, a second later.
"""

import threading
import time
from collections.abc import Set as AbstractSet
from typing import Any

from sqlalchemy import Connection

from batchway import limits
from batchway.store.database import Database, is_sqlite, run

_CHANNEL = "batchway_hand_over"


def announce_hand_over(connection: Connection, queue: str) -> None:
    """Let the watches of all workers know of a hand-over when this transaction commits."""
    if not is_sqlite(connection):  # there, each commit is noticed
        run(
            connection,
            "SELECT pg_notify(:channel, :queue) -- no account: it carries the name of a queue",
            channel=_CHANNEL,
            queue=queue,
        )


class HandOverWatch:
    """A connection of its own that waits for hand-overs. Used by one thread."""

    def __init__(self, database: Database) -> None:
        self._pooled = database.engine.raw_connection()
        connection: Any = self._pooled.driver_connection
        self._connection = connection
        self._is_sqlite = database.is_sqlite
        if self._is_sqlite:
            self._version = self._read_version()
            self._last_row = self._read_last_row()
        else:
            connection.autocommit = True
            connection.execute(f"LISTEN {_CHANNEL}")

    def wait(self, stop: threading.Event, seconds: float) -> AbstractSet[str]:
        """Wait for hand-overs, at most for so long or until `stop` is set; return their queues."""
        deadline = time.monotonic() + seconds
        look = self._look_at_sqlite if self._is_sqlite else self._look_at_postgres
        queues: AbstractSet[str] = set()
        while not queues and not stop.is_set() and time.monotonic() < deadline:
            queues = look(stop)
        return queues

    def close(self) -> None:
        """Close the connection: it listens, and must not return to the pool."""
        self._pooled.invalidate()

    def _look_at_postgres(self, _stop: threading.Event) -> set[str]:
        notices = self._connection.notifies(timeout=limits.notice_wait_seconds, stop_after=1)
        return {notice.payload for notice in notices}

    def _look_at_sqlite(self, stop: threading.Event) -> set[str]:
        stop.wait(limits.commit_poll_seconds)
        before, self._version = self._version, self._read_version()
        return set() if before == self._version else self._read_new_queues()

    def _read_new_queues(self) -> set[str]:
        # The engine deletes rows, and SQLite gives their numbers to new ones.
        before, self._last_row = self._last_row, self._read_last_row()
        statement = "SELECT DISTINCT queue_name FROM workflow_status WHERE rowid > ?"
        return {queue for (queue,) in self._connection.execute(statement, (before,)) if queue}

    def _read_last_row(self) -> int:
        return self._read_number("SELECT COALESCE(max(rowid), 0) FROM workflow_status")

    def _read_version(self) -> int:
        return self._read_number("PRAGMA data_version")

    def _read_number(self, statement: str) -> int:
        return int(self._connection.execute(statement).fetchone()[0])
