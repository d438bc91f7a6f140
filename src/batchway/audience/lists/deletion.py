"""How a list is deleted: at once for its owner, and its rows little by little afterwards.

A list may have millions of members. To delete their rows in one transaction would keep all other
writers of SQLite waiting for as long. So the call deletes the list's own row, which makes all the
others unreachable, and notes the list; the caretaker deletes the others in short transactions.
"""

from typing import Any

from sqlalchemy import Connection

from batchway import limits
from batchway.kit.clock import Microseconds
from batchway.store.database import Database, run

# What is left of a deleted list: each table's key, and which rows belong to the list. In order:
# the members of a tag are found by the tag.
_LEFT_ROWS = (
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
    """Delete a list, its counters and its merge fields; note that the rest is to be deleted."""
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
    """Delete rows that deleted lists have left, a bounded number in each transaction.

    The caretaker calls it in each round; what it leaves is for the next round. It may be called by
    several processes at the same time, and may die at any point.
    """
    for _ in range(limits.purge_transactions_max):
        with database.read() as connection:
            deleted = _find_deleted_list(connection)
        if deleted is None:
            return
        with database.write() as connection:
            if not _delete_rows(connection, deleted.account_id, deleted.list_id):
                _delete_note(connection, deleted.account_id, deleted.list_id)


def _find_deleted_list(connection: Connection) -> Any:  # noqa: ANN401 - a row
    return run(
        connection,
        """
        SELECT account_id, list_id FROM deleted_lists ORDER BY list_id LIMIT 1
        -- no account: the caretaker works for all of them
        """,
    ).one_or_none()


def _delete_rows(connection: Connection, account_id: int, list_id: int) -> bool:
    """Delete rows of the first table that has any; whether there were some."""
    for table, key, condition in _LEFT_ROWS:
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


def _delete_note(connection: Connection, account_id: int, list_id: int) -> None:
    run(
        connection,
        "DELETE FROM deleted_lists WHERE account_id = :account_id AND list_id = :list_id",
        account_id=account_id,
        list_id=list_id,
    )
