"""What a set of calls changes in one list, as rows: made before there is a lock, written under it.

Writing is guarded: a row that somebody else has changed, added or taken since it was read makes
it Stale, or is a conflict in the database, and nothing may be kept of it then. Rows are written in
the order of an index, so that two writers cannot wait for each other.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy import Connection

from batchway.audience.member import ARCHIVED, COLUMNS, STATUSES, Member, Tag, to_row
from batchway.audience.member_rows import MemberRows
from batchway.errors import Stale
from batchway.kit.clock import Microseconds
from batchway.store.database import Row, any_of, execute_many, insert_many, run, values_for

Members = Mapping[int, Member]  # by key
_Values = tuple[Any, ...]  # of a row

_CHANGEABLE = tuple(name for name in COLUMNS if name not in {"id", "account_id", "list_id"})
_CHANGEABLE_BESIDE_HASH = tuple(name for name in _CHANGEABLE if name != "subscriber_hash")
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
_TAG_MEMBER_COLUMNS = ("member_id", "list_segment_id", "account_id", "added_at")


@dataclass(frozen=True)
class ListChanges:
    """The rows of one list that are to be written, and what they rest on."""

    account_id: int
    list_id: int
    list_revision: int
    now: Microseconds  # written where a row tells when it was made
    known: Collection[int]  # the keys of the members that were read
    arrived: Collection[str]  # hashes that none of them had
    forgotten: Collection[str]  # hashes, some of members that never had a row
    removed: Sequence[Row]  # the keys and revisions of members that are deleted for good
    altered: Sequence[Row]
    altered_columns: Sequence[str]
    added: Sequence[Row]
    new_tags: Sequence[Row]
    tags_taken: Sequence[Row]
    tags_given: Sequence[Row]
    counts: Mapping[str, int]  # by the column of a counter, what it grows by
    entered: Collection[str]  # every status that a member came to, if only in passing

    def write(self, connection: Connection) -> None:
        """Write all rows; raises Stale. The list's own row must have been checked."""
        self._check_addresses(connection)
        _expect(
            self.new_tags,
            insert_many(
                connection, "list_segments", _TAG_COLUMNS, self.new_tags, ignore_existing=True
            ),
        )
        self._forget(connection)
        _expect(self.altered, execute_many(connection, self._update(), self.altered))
        insert_many(connection, "members", COLUMNS, self.added)
        execute_many(
            connection,
            "DELETE FROM list_segment_members "
            "WHERE member_id = ? AND list_segment_id = ? AND account_id = ?",
            self.tags_taken,
        )
        insert_many(connection, "list_segment_members", _TAG_MEMBER_COLUMNS, self.tags_given)
        self._count(connection)

    def _check_addresses(self, connection: Connection) -> None:
        """No new address may be forgotten by now, and none that we forget may be on the list."""
        rows = MemberRows(connection, self.account_id, self.list_id)
        if self.arrived and rows.forgotten(self.arrived):
            raise Stale
        if any(each.id not in self.known for each in rows.by_hash(self.forgotten)):
            raise Stale

    def _forget(self, connection: Connection) -> None:
        if not self.forgotten:
            return
        statement = "DELETE FROM members WHERE id = ? AND account_id = ? AND revision = ?"
        _expect(self.removed, execute_many(connection, statement, self.removed))
        run(
            connection,
            f"""
            DELETE FROM list_segment_members
            WHERE account_id = :account_id AND member_id {any_of(connection, "ids")}
            """,
            account_id=self.account_id,
            ids=values_for(connection, [key for key, *_ in self.removed]),
        )
        insert_many(
            connection,
            "forgotten_members",
            ("list_id", "subscriber_hash", "account_id", "forgotten_at"),
            [
                (self.list_id, hashed, self.account_id, self.now)
                for hashed in sorted(self.forgotten)
            ],
            ignore_existing=True,
        )

    def _update(self) -> str:
        settings = ", ".join(f"{name} = ?" for name in self.altered_columns)
        return f"UPDATE members SET {settings} WHERE id = ? AND account_id = ? AND revision = ?"

    def _count(self, connection: Connection) -> None:
        """Keep the list's counters right. Last, because all writers of a list share this row."""
        sums = ", ".join(f"{name} = {name} + :{name}" for name in self.counts)
        run(
            connection,
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
            has_subscribed="subscribed" in self.entered,
            has_unsubscribed="unsubscribed" in self.entered,
            **self.counts,
        )


def _expect(rows: Sequence[Any], touched: int) -> None:
    if len(rows) != touched:
        raise Stale


def added_rows(members: Iterable[Member]) -> list[_Values]:
    """Of new members."""
    return [to_row(each) for each in sorted(members, key=lambda member: member.subscriber_hash)]


def removed_rows(members: Iterable[Member]) -> list[_Values]:
    """Of members that are deleted for good."""
    return sorted((each.id, each.account_id, each.revision) for each in members)


def altered_columns(before: Members, members: Iterable[Member]) -> Sequence[str]:
    """The columns to set. The hash is among them only if one is another.

    SQLite writes the index of a column that is set, whatever the value, and in a large list nearly
    each hash is on a page of its own.
    """
    has_moved = any(before[each.id].subscriber_hash != each.subscriber_hash for each in members)
    return _CHANGEABLE if has_moved else _CHANGEABLE_BESIDE_HASH


def altered_rows(members: Iterable[Member], columns: Sequence[str]) -> list[_Values]:
    """Of members in their new state, with the revision that they were read with."""
    values_of = itemgetter(*map(COLUMNS.index, columns))
    rows = []
    for member in sorted(members, key=lambda member: member.id):
        values = to_row(msgspec.structs.replace(member, revision=member.revision + 1))
        rows.append((*values_of(values), member.id, member.account_id, member.revision))
    return rows


def tag_rows(
    tags: Iterable[Tag], account_id: int, list_id: int, now: Microseconds
) -> list[_Values]:
    """Of new tags."""
    return [
        (tag.id, account_id, list_id, tag.name, tag.name.lower(), "static", now, now)
        for tag in sorted(tags, key=lambda tag: tag.name.lower())
    ]


def tag_member_rows(
    before: Members, members: Iterable[Member]
) -> tuple[list[_Values], list[_Values]]:
    """Of members taken out of tags, and of those put into some, as their tags differ from before.

    A tag that was taken away and given again is one that was added anew.
    """
    taken: list[_Values] = []
    given: list[_Values] = []
    for member in members:
        old_tags = before[member.id].tags if member.id in before else ()
        if old_tags is member.tags:
            continue
        if not old_tags:
            given += [(member.id, tag.id, member.account_id, tag.added_at) for tag in member.tags]
            continue
        old = {(tag.id, tag.added_at) for tag in old_tags}
        new = {(tag.id, tag.added_at) for tag in member.tags}
        taken += [(member.id, tag_id, member.account_id) for tag_id, _ in old - new]
        given += [(member.id, tag_id, member.account_id, at) for tag_id, at in new - old]
    return sorted(taken), sorted(given)


def counts(before: Members, now: Members) -> dict[str, int]:
    """What the list's counters grow by."""
    was = Counter(member.status for member in before.values())
    are = Counter(member.status for member in now.values())
    return {f"{status}_count": are[status] - was[status] for status in _COUNTED}
