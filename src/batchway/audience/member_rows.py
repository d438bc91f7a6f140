"""The rows of one list's members, tags and counters: each method is one statement for any number.

Writing is guarded: a row that somebody else has changed, added or taken since it was read makes
it Stale, or is a conflict in the database. Rows are written in the order of an index, so that two
writers cannot wait for each other.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy import Connection

from batchway.audience.member import ARCHIVED, COLUMNS, STATUSES, Member, Tag, from_row, to_row
from batchway.errors import Stale
from batchway.kit.clock import Microseconds
from batchway.store.database import any_of, execute_many, insert_many, run, values_for

Members = Mapping[int, Member]  # by key

_CHANGEABLE = [name for name in COLUMNS if name not in {"id", "account_id", "list_id"}]
_CHANGEABLE_BESIDE_HASH = [name for name in _CHANGEABLE if name != "subscriber_hash"]
_COUNTED = (*STATUSES, ARCHIVED)
_TAG_COLUMNS = (
    "id",
    "account_id",
    "list_id",
    "name",
    "name_key",
    "type",
    "created_at",
    "updated_at",
)


@dataclass(frozen=True, slots=True)
class MemberRows:
    """One list in one transaction; `now` is written where a row tells when it was made."""

    connection: Connection
    account_id: int
    list_id: int
    now: Microseconds

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

    def add_tags(self, tags: Iterable[Tag]) -> None:
        """New tags of the list; Stale if one of the names is taken by now."""
        rows = [
            (
                tag.id,
                self.account_id,
                self.list_id,
                tag.name,
                tag.name.lower(),
                "static",
                self.now,
                self.now,
            )
            for tag in sorted(tags, key=lambda tag: tag.name.lower())
        ]
        _expect(
            rows,
            insert_many(self.connection, "list_segments", _TAG_COLUMNS, rows, ignore_existing=True),
        )

    def insert(self, members: Sequence[Member]) -> None:
        """New members; a conflict if an address is taken by now."""
        ordered = sorted(members, key=lambda member: member.subscriber_hash)
        insert_many(self.connection, "members", COLUMNS, [to_row(member) for member in ordered])

    def update(self, before: Members, members: Sequence[Member]) -> None:
        """Members in their new state, with the revision they were read with.

        The hash is set only if one is another: SQLite writes the index of a column that is set,
        whatever the value, and in a large list nearly each hash is on a page of its own.
        """
        has_moved = any(before[each.id].subscriber_hash != each.subscriber_hash for each in members)
        names = _CHANGEABLE if has_moved else _CHANGEABLE_BESIDE_HASH
        settings = ", ".join(f"{name} = ?" for name in names)
        statement = (
            f"UPDATE members SET {settings} WHERE id = ? AND account_id = ? AND revision = ?"
        )
        values_of = itemgetter(*map(COLUMNS.index, names))
        rows = []
        for member in sorted(members, key=lambda member: member.id):
            values = to_row(msgspec.structs.replace(member, revision=member.revision + 1))
            rows.append((*values_of(values), member.id, self.account_id, member.revision))
        _expect(rows, execute_many(self.connection, statement, rows))

    def forget(self, members: Sequence[Member], hashes: Collection[str]) -> None:
        """Delete members for good, and note hashes: those of members that never had a row, too."""
        if not hashes:
            return
        keys = sorted((member.id, self.account_id, member.revision) for member in members)
        statement = "DELETE FROM members WHERE id = ? AND account_id = ? AND revision = ?"
        _expect(keys, execute_many(self.connection, statement, keys))
        run(
            self.connection,
            f"""
            DELETE FROM list_segment_members
            WHERE account_id = :account_id AND member_id {any_of(self.connection, "ids")}
            """,
            account_id=self.account_id,
            ids=values_for(self.connection, [member.id for member in members]),
        )
        insert_many(
            self.connection,
            "forgotten_members",
            ("list_id", "subscriber_hash", "account_id", "forgotten_at"),
            [(self.list_id, hashed, self.account_id, self.now) for hashed in sorted(hashes)],
            ignore_existing=True,
        )

    def change_tags(self, before: Members, members: Iterable[Member]) -> None:
        """Put members into tags and take them out, as their tags differ from before.

        A tag that was taken away and given again is one that was added anew.
        """
        added, removed = [], []
        for member in members:
            old_tags = before[member.id].tags if member.id in before else ()
            if old_tags is member.tags:
                continue
            if not old_tags:
                added += [(member.id, tag.id, self.account_id, tag.added_at) for tag in member.tags]
                continue
            old = {(tag.id, tag.added_at) for tag in old_tags}
            new = {(tag.id, tag.added_at) for tag in member.tags}
            removed += [(member.id, tag_id, self.account_id) for tag_id, _ in old - new]
            added += [(member.id, tag_id, self.account_id, at) for tag_id, at in new - old]
        execute_many(
            self.connection,
            "DELETE FROM list_segment_members "
            "WHERE member_id = ? AND list_segment_id = ? AND account_id = ?",
            sorted(removed),
        )
        insert_many(
            self.connection,
            "list_segment_members",
            ("member_id", "list_segment_id", "account_id", "added_at"),
            sorted(added),
        )

    def count(self, before: Members, after: Members, entered: Collection[str]) -> None:
        """Keep the list's counters right. Last, because all writers of a list share this row.

        `entered` are the statuses that some member came to in between.
        """
        was = Counter(member.status for member in before.values())
        now = Counter(member.status for member in after.values())
        changes = {f"{status}_count": now[status] - was[status] for status in _COUNTED}
        sums = ", ".join(f"{name} = {name} + :{name}" for name in changes)
        run(
            self.connection,
            f"""
            UPDATE list_stats SET {sums},
                last_subscribed_at =
                    CASE WHEN :has_subscribed THEN :now ELSE last_subscribed_at END,
                last_unsubscribed_at =
                    CASE WHEN :has_unsubscribed THEN :now ELSE last_unsubscribed_at END
            WHERE list_id = :list_id AND account_id = :account_id
            """,
            list_id=self.list_id,
            account_id=self.account_id,
            now=self.now,
            has_subscribed="subscribed" in entered,
            has_unsubscribed="unsubscribed" in entered,
            **changes,
        )


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


def _expect(rows: Sequence[Any], touched: int) -> None:
    if len(rows) != touched:
        raise Stale
