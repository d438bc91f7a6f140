"""The rows of one list's members and tags as they are read: a statement for any number."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from batchway.audience.member import COLUMNS, Member, Tag, from_row
from batchway.store.database import any_of, run, values_for


@dataclass(frozen=True, slots=True)
class MemberRows:
    """One list in one transaction."""

    connection: Connection
    account_id: int
    list_id: int

    def by_hash(self, hashes: Iterable[str]) -> list[Member]:
        """The members with these hashes, with their tags."""
        return self._members("subscriber_hash", list(hashes))

    def by_id(self, ids: Iterable[int]) -> list[Member]:
        """The members with these keys, with their tags."""
        return self._members("id", list(ids))

    def _members(self, column: str, wanted: list[Any]) -> list[Member]:
        if not wanted:
            return []
        rows = run(
            self.connection,
            f"""
            SELECT {", ".join(COLUMNS)} FROM members
            WHERE account_id = :account_id AND list_id = :list_id
              AND {column} {any_of(self.connection, "wanted")}
            """,
            account_id=self.account_id,
            list_id=self.list_id,
            wanted=values_for(self.connection, wanted),
        ).all()
        tags = tags_of(self.connection, self.account_id, [row.id for row in rows])
        return [from_row(row, tags.get(row.id, ())) for row in rows]

    def forgotten(self, hashes: Iterable[str]) -> set[str]:
        """Those of the hashes whose members were deleted for good."""
        if not self._has_forgotten():
            return set()  # as in most lists, and much faster than to look for thousands of hashes
        rows = run(
            self.connection,
            f"""
            SELECT subscriber_hash FROM forgotten_members
            WHERE account_id = :account_id AND list_id = :list_id
              AND subscriber_hash {any_of(self.connection, "hashes")}
            """,
            account_id=self.account_id,
            list_id=self.list_id,
            hashes=values_for(self.connection, hashes),
        )
        return set(rows.scalars())

    def _has_forgotten(self) -> bool:
        found = run(
            self.connection,
            """
            SELECT 1 FROM forgotten_members
            WHERE account_id = :account_id AND list_id = :list_id LIMIT 1
            """,
            account_id=self.account_id,
            list_id=self.list_id,
        )
        return found.first() is not None

    def tags_named(self, names: Iterable[str]) -> dict[str, Tag]:
        """The list's tags with these names, by lower-cased name."""
        rows = run(
            self.connection,
            f"""
            SELECT id, name, name_key FROM list_segments
            WHERE account_id = :account_id AND list_id = :list_id
              AND name_key {any_of(self.connection, "names")}
            """,
            account_id=self.account_id,
            list_id=self.list_id,
            names=values_for(self.connection, {name.lower() for name in names}),
        )
        return {row.name_key: Tag(row.id, row.name, 0) for row in rows}


def tags_of(
    connection: Connection, account_id: int, member_ids: list[int]
) -> dict[int, tuple[Tag, ...]]:
    """The tags of members by member key, oldest tag first; members without any are left out."""
    if not member_ids:
        return {}
    rows = run(
        connection,
        f"""
        SELECT sm.member_id, s.id, s.name, sm.added_at
        FROM list_segment_members AS sm JOIN list_segments AS s ON s.id = sm.list_segment_id
        WHERE sm.account_id = :account_id AND sm.member_id {any_of(connection, "member_ids")}
        ORDER BY sm.member_id, s.id
        """,
        account_id=account_id,
        member_ids=values_for(connection, member_ids),
    )
    found: dict[int, list[Tag]] = defaultdict(list)
    for member_id, tag_id, name, added_at in rows:
        found[member_id].append(Tag(tag_id, name, added_at))
    return {member_id: tuple(tags) for member_id, tags in found.items()}
