"""Keys reserved in blocks, so that a plan knows them before its transaction begins.

A block that is not used up when its process ends is lost; gaps do no harm.
"""

import threading
from collections.abc import Iterator

from sqlalchemy import Connection

from batchway import limits
from batchway.store.database import Database, run


class IdBlocks:
    """Keys of one kind, for one process; safe to share between threads."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name
        self._lock = threading.Lock()
        self._left: Iterator[int] = iter(())

    def next(self) -> int:
        """A key that no other call, process or machine gets.

        Takes a write transaction of its own now and then, so never call it inside one.
        """
        with self._lock:
            for key in self._left:
                return key
            with self._database.write() as connection:
                self._left = reserve(connection, self._name, limits.id_block_size)
            return next(self._left)


def reserve(connection: Connection, name: str, count: int) -> Iterator[int]:
    """`count` new keys, within the caller's transaction: rolled back, they are not used."""
    end = run(
        connection,
        """
        INSERT INTO id_sequences (name, next_id) VALUES (:name, :count + 1)
        ON CONFLICT (name) DO UPDATE SET next_id = id_sequences.next_id + :count
        RETURNING next_id -- no account: keys are unique over all accounts
        """,
        name=name,
        count=count,
    ).scalar_one()
    return iter(range(end - count, end))
