"""The rows of the members of a list, and of its forgotten addresses; a statement for many rows."""

from collections.abc import Iterable, Sequence
from typing import Any

from batchway.audience.list_collection import ListScope
from batchway.audience.members.member import COLUMNS, Member, parse_row
from batchway.audience.tags.rows import find_tags_of_members
from batchway.kit.clock import Microseconds
from batchway.store.database import Row, bind_values, insert_many, run, sql_in


def find_members_by_hash(scope: ListScope, hashes: Iterable[str]) -> list[Member]:
    """Return the members with these hashes, with their tags."""
    return _find_members(scope, "subscriber_hash", list(hashes))


def find_members_by_id(scope: ListScope, ids: Iterable[int]) -> list[Member]:
    """Return the members with these keys, with their tags."""
    return _find_members(scope, "id", list(ids))


def _find_members(scope: ListScope, column: str, wanted: list[Any]) -> list[Member]:
    if not wanted:
        return []
    rows = run(
        scope.connection,
        f"""
        SELECT {", ".join(COLUMNS)} FROM members
        WHERE account_id = :account_id AND list_id = :list_id
          AND {column} {sql_in(scope.connection, "wanted")}
        """,
        account_id=scope.account_id,
        list_id=scope.list_id,
        wanted=bind_values(scope.connection, wanted),
    )
    return parse_rows(scope, rows.all())


def parse_rows(scope: ListScope, rows: Sequence[Row]) -> list[Member]:
    """Return the members of rows of COLUMNS, with their tags, which one query reads."""
    member_ids = [row[0] for row in rows]
    tags = find_tags_of_members(scope.connection, scope.account_id, member_ids)
    return [parse_row(row, tags.get(row[0], ())) for row in rows]


def find_forgotten(scope: ListScope, hashes: Iterable[str]) -> set[str]:
    """Return those of the hashes whose members were deleted for good."""
    if not _has_forgotten(scope):
        return set()  # as in most lists; much faster than to look up thousands of hashes
    rows = run(
        scope.connection,
        f"""
        SELECT subscriber_hash FROM forgotten_members
        WHERE account_id = :account_id AND list_id = :list_id
          AND subscriber_hash {sql_in(scope.connection, "hashes")}
        """,
        account_id=scope.account_id,
        list_id=scope.list_id,
        hashes=bind_values(scope.connection, hashes),
    )
    return set(rows.scalars())


def _has_forgotten(scope: ListScope) -> bool:
    found = run(
        scope.connection,
        """
        SELECT 1 FROM forgotten_members
        WHERE account_id = :account_id AND list_id = :list_id LIMIT 1
        """,
        account_id=scope.account_id,
        list_id=scope.list_id,
    )
    return found.first() is not None


def insert_forgotten(scope: ListScope, hashes: Iterable[str], now: Microseconds) -> None:
    """Store that the members with these hashes were deleted for good."""
    insert_many(
        scope.connection,
        "forgotten_members",
        ("list_id", "subscriber_hash", "account_id", "forgotten_at"),
        [(scope.list_id, hashed, scope.account_id, now) for hashed in hashes],
        ignore_existing=True,
    )
