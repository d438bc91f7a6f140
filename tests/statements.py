"""Records the statements of our own that are executed, with their values."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from sqlalchemy import Connection

from batchway.store import database

Statement = tuple[str, Any]  # in the form of the driver, with the values


class _RecordingCursor:
    """Passes everything on to a cursor, and records what is executed."""

    def __init__(self, cursor: Any, recorded: list[Statement]) -> None:
        self._cursor = cursor
        self._recorded = recorded

    def execute(self, statement: str, values: Any = ()) -> Any:
        """Record a statement, and execute it."""
        self._recorded.append((statement, values))
        return self._cursor.execute(statement, values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


@contextmanager
def record_statements() -> Iterator[list[Statement]]:
    """Record the statements that are executed within the block, in all threads."""
    recorded: list[Statement] = []
    open_cursor = database.open_cursor

    @contextmanager
    def open_recording_cursor(connection: Connection, statement: str = "") -> Iterator[Any]:
        with open_cursor(connection, statement) as cursor:
            yield _RecordingCursor(cursor, recorded)

    with patch.object(database, "open_cursor", open_recording_cursor):
        yield recorded
