"""The rows of tags, and of the members that have them; a statement for many rows."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import Connection

from batchway.audience.list_collection import ListScope
from batchway.kit.clock import Microseconds
from batchway.store.database import Row, bind_values, execute_many, insert_many, run, sql_in

_COLUMNS = ("id", "account_id", "list_id", "name", "name_key", "type", "created_at", "updated_at")
_MEMBERSHIP_COLUMNS = ("member_id", "list_segment_id", "account_id", "added_at")


class Tag(msgspec.Struct, frozen=True, gc=False):
    """A tag of a member: a static segment of the list that contains the member."""

    id: int
    name: str
    added_at: Microseconds


def find_tags(scope: ListScope, names: Iterable[str]) -> dict[str, Tag]:
    """Return the tags of a list with these names, by name; names are in lower case."""
    rows = run(
        scope.connection,
        f"""
        SELECT id, name, name_key FROM list_segments
        WHERE account_id = :account_id AND list_id = :list_id
          AND name_key {sql_in(scope.connection, "names")}
        """,
        account_id=scope.account_id,
        list_id=scope.list_id,
        names=bind_values(scope.connection, names),
    )
    return {row.name_key: Tag(row.id, row.name, 0) for row in rows}


def insert_tags(scope: ListScope, tags: Iterable[Tag], now: Microseconds) -> int:
    """Store tags that do not exist; return how many did not."""
    rows = [
        (tag.id, scope.account_id, scope.list_id, tag.name, tag.name.lower(), "static", now, now)
        for tag in tags
    ]
    return insert_many(scope.connection, "list_segments", _COLUMNS, rows, ignore_existing=True)


def find_tags_of_members(
    connection: Connection, account_id: int, member_ids: list[int]
) -> dict[int, tuple[Tag, ...]]:
    """Return the tags of members by key, oldest first, without the members that have none."""
    if not member_ids:
        return {}
    rows = run(
        connection,
        f"""
        SELECT sm.member_id, s.id, s.name, sm.added_at
        FROM list_segment_members AS sm JOIN list_segments AS s ON s.id = sm.list_segment_id
        WHERE sm.account_id = :account_id AND sm.member_id {sql_in(connection, "member_ids")}
        ORDER BY sm.member_id, s.id
        """,
        account_id=account_id,
        member_ids=bind_values(connection, member_ids),
    )
    found: dict[int, list[Tag]] = defaultdict(list)
    for member_id, tag_id, name, added_at in rows:
        found[member_id].append(Tag(tag_id, name, added_at))
    return {member_id: tuple(tags) for member_id, tags in found.items()}


def insert_memberships(scope: ListScope, rows: Sequence[Row]) -> None:
    """Add tags to members: rows of (member, tag, account, time)."""
    insert_many(scope.connection, "list_segment_members", _MEMBERSHIP_COLUMNS, rows)


def delete_memberships(scope: ListScope, rows: Sequence[Row]) -> None:
    """Remove tags from members: rows of (member, tag, account)."""
    execute_many(
        scope.connection,
        """
        DELETE FROM list_segment_members
        WHERE member_id = ? AND list_segment_id = ? AND account_id = ?
        """,
        rows,
    )


def delete_memberships_of_members(scope: ListScope, member_ids: Iterable[int]) -> None:
    """Remove all tags from members."""
    run(
        scope.connection,
        f"""
        DELETE FROM list_segment_members
        WHERE account_id = :account_id AND member_id {sql_in(scope.connection, "member_ids")}
        """,
        account_id=scope.account_id,
        member_ids=bind_values(scope.connection, member_ids),
    )
