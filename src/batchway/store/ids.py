"""Keys of new rows, reserved in blocks, so that a plan knows them before its transaction begins.

The keys that a process has reserved and not used when it ends are never used.
"""

import threading
from collections.abc import Iterator

from sqlalchemy import Connection

from batchway import limits
from batchway.store.database import Database, run


class IdBlocks:
    """The keys of one table that a process has reserved. Safe for many threads."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name
        self._lock = threading.Lock()
        self._left: Iterator[int] = iter(())

    def take_key(self) -> int:
        """Return a key that no other call, process or machine gets.

        It opens a write transaction when a block is used up, so never call it inside one.
        """
        with self._lock:
            for key in self._left:
                return key
            with self._database.write() as connection:
                self._left = reserve_ids(connection, self._name, limits.id_block_size)
            return next(self._left)


def reserve_ids(connection: Connection, name: str, count: int) -> Iterator[int]:
    """Reserve `count` keys within the caller's transaction; they are free if it is rolled back."""
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
