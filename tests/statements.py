"""Watches the statements of our own that are executed, with their values."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from sqlalchemy import Connection

from batchway.store import database

Statement = tuple[str, Any]  # in the form of the driver, with the values
Watch = Callable[[str, Any], object]


class _WatchedCursor:
    """Passes everything on to a cursor; what is executed is shown before."""

    def __init__(self, cursor: Any, watch: Watch) -> None:
        self._cursor = cursor
        self._watch = watch

    def execute(self, statement: str, values: Any = ()) -> Any:
        """Execute a statement."""
        self._watch(statement, values)
        return self._cursor.execute(statement, values)

    def executemany(self, statement: str, rows: Any) -> Any:
        """Execute a statement once for each row."""
        self._watch(statement, rows)
        return self._cursor.executemany(statement, rows)

    def copy(self, statement: str) -> Any:
        """Copy rows to a table of PostgreSQL."""
        self._watch(statement, ())
        return self._cursor.copy(statement)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


@contextmanager
def watch_statements(watch: Watch) -> Iterator[None]:
    """Call a function before each statement within the block, in all threads. It may raise."""
    open_cursor = database.open_cursor

    @contextmanager
    def open_watched_cursor(connection: Connection, statement: str = "") -> Iterator[Any]:
        with open_cursor(connection, statement) as cursor:
            yield _WatchedCursor(cursor, watch)

    with patch.object(database, "open_cursor", open_watched_cursor):
        yield


@contextmanager
def record_statements() -> Iterator[list[Statement]]:
    """Record the statements that are executed within the block, in all threads."""
    recorded: list[Statement] = []
    with watch_statements(lambda statement, values: recorded.append((statement, values))):
        yield recorded
