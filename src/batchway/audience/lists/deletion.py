"""How a list is deleted: at once for its owner, and its rows in many short transactions.

A list may have millions of members. If one transaction deleted their rows, all other writers of
SQLite would wait for it. So the call deletes only the row of the list itself, which hides all other
rows, and stores the key of the list; the caretaker deletes the other rows.
"""

from typing import Any

from sqlalchemy import Connection

from batchway import limits
from batchway.kit.clock import Microseconds
from batchway.store.database import Database, run

# The rows that a deleted list leaves: table, key, and the condition for rows of the list. The order
# matters: the members of a tag are found by the tag.
_REMAINING_ROWS = (
    (
        "list_segment_members",
        "member_id, list_segment_id",
        """
        list_segment_id IN (
            SELECT id FROM list_segments WHERE account_id = :account_id AND list_id = :list_id
        )
        """,
    ),
    ("list_segments", "id", "list_id = :list_id"),
    ("members", "id", "list_id = :list_id"),
    ("forgotten_members", "list_id, subscriber_hash", "list_id = :list_id"),
)


def delete_list(connection: Connection, account_id: int, list_id: int, now: Microseconds) -> None:
    """Delete a list, its counters and its merge fields; its other rows are deleted later."""
    for table, column in (("merge_fields", "list_id"), ("list_stats", "list_id"), ("lists", "id")):
        run(
            connection,
            f"DELETE FROM {table} WHERE account_id = :account_id AND {column} = :list_id",
            account_id=account_id,
            list_id=list_id,
        )
    run(
        connection,
        """
        INSERT INTO deleted_lists (list_id, account_id, deleted_at)
        VALUES (:list_id, :account_id, :now)
        """,
        list_id=list_id,
        account_id=account_id,
        now=now,
    )


def purge_deleted_lists(database: Database) -> None:
    """Delete rows of deleted lists, a limited number in each transaction and in all.

    The caretaker calls it in each round, until no row remains. Several processes may call it at the
    same time, and it may be killed at any line.
    """
    for _ in range(limits.purge_transactions_max):
        with database.read() as connection:
            deleted = _find_deleted_list(connection)
        if deleted is None:
            return
        with database.write() as connection:
            if not _delete_rows(connection, deleted.account_id, deleted.list_id):
                _delete_key(connection, deleted.account_id, deleted.list_id)


def _find_deleted_list(connection: Connection) -> Any:  # noqa: ANN401 - a row
    return run(
        connection,
        """
        SELECT account_id, list_id FROM deleted_lists ORDER BY list_id LIMIT 1
        -- no account: the caretaker works for all of them
        """,
    ).one_or_none()


def _delete_rows(connection: Connection, account_id: int, list_id: int) -> bool:
    """Delete rows of the first table that has any; return whether one has."""
    for table, key, condition in _REMAINING_ROWS:
        deleted = run(
            connection,
            f"""
            DELETE FROM {table} WHERE account_id = :account_id AND ({key}) IN (
                SELECT {key} FROM {table} WHERE account_id = :account_id AND {condition}
                LIMIT :count
            )
            """,
            account_id=account_id,
            list_id=list_id,
            count=limits.purge_rows_max,
        )
        if deleted.rowcount:
            return True
    return False


def _delete_key(connection: Connection, account_id: int, list_id: int) -> None:
    run(
        connection,
        "DELETE FROM deleted_lists WHERE account_id = :account_id AND list_id = :list_id",
        account_id=account_id,
        list_id=list_id,
    )
