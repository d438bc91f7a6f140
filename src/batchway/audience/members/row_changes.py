"""The changes of a set of calls to the members of one list, as rows.

The rows are made without a lock, and written with one. If another writer has changed, added or
deleted one of them since it was read, writing raises Stale, or the database refuses it, and the
transaction is rolled back. Rows are written in the order of an index, so that two writers cannot
wait for each other.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import msgspec

from batchway.audience.list_collection import ListScope
from batchway.audience.lists.rows import add_to_list_counts
from batchway.audience.members.member import ARCHIVED, COLUMNS, STATUSES, Member, make_row
from batchway.audience.members.rows import find_forgotten
from batchway.audience.tags.rows import (
    delete_memberships,
    delete_memberships_of_members,
    insert_memberships,
)
from batchway.errors import Stale
from batchway.kit.clock import Microseconds
from batchway.store.database import Row, execute_many, insert_many

MembersById = Mapping[int, Member]
_Values = tuple[Any, ...]  # of a row

_CHANGEABLE = tuple(name for name in COLUMNS if name not in {"id", "account_id", "list_id"})
_CHANGEABLE_BESIDE_HASH = tuple(name for name in _CHANGEABLE if name != "subscriber_hash")
_COUNTED_STATUSES = (*STATUSES, ARCHIVED)


@dataclass(frozen=True)
class MemberRowChanges:
    """The rows of members, of their tags and of the list's counters."""

    new_hashes: Collection[str]  # of addresses that no loaded member had
    deleted: Sequence[Row]  # keys and revisions
    changed: Sequence[Row]
    changed_columns: Sequence[str]
    added: Sequence[Row]
    left_tags: Sequence[Row]
    joined_tags: Sequence[Row]
    counts: Mapping[str, int]  # the column of each counter, and how much it grows
    entered_statuses: Collection[str]
    now: Microseconds
    excludes_writers: bool = False

    def write(self, scope: ListScope) -> None:
        """Write all rows; raises Stale."""
        if self.new_hashes and find_forgotten(scope, self.new_hashes):
            raise Stale
        self._delete(scope)
        _check_touched(self.changed, execute_many(scope.connection, self._update(), self.changed))
        insert_many(scope.connection, "members", COLUMNS, self.added)
        delete_memberships(scope, self.left_tags)
        insert_memberships(scope, self.joined_tags)
        # All writers of a list write this row. It is written last, so that it is locked briefly.
        add_to_list_counts(scope, self.counts, self.entered_statuses, self.now)

    def _delete(self, scope: ListScope) -> None:
        if not self.deleted:
            return
        statement = "DELETE FROM members WHERE id = ? AND account_id = ? AND revision = ?"
        _check_touched(self.deleted, execute_many(scope.connection, statement, self.deleted))
        delete_memberships_of_members(scope, [member_id for member_id, *_ in self.deleted])

    def _update(self) -> str:
        settings = ", ".join(f"{name} = ?" for name in self.changed_columns)
        return f"UPDATE members SET {settings} WHERE id = ? AND account_id = ? AND revision = ?"


def _check_touched(rows: Sequence[Row], touched: int) -> None:
    if len(rows) != touched:
        raise Stale


def make_row_changes(
    before: MembersById,
    after: MembersById,
    entered_statuses: Collection[str],
    now: Microseconds,
) -> MemberRowChanges:
    """Return the rows that turn the members `before` into those `after`."""
    added = [member for key, member in after.items() if key not in before]
    changed = [
        member for key, member in after.items() if key in before and before[key] is not member
    ]
    columns = _choose_columns(before, changed)
    left, joined = _make_membership_rows(before, added + changed)
    old_hashes = {member.subscriber_hash for member in before.values()}
    return MemberRowChanges(
        new_hashes={member.subscriber_hash for member in added + changed} - old_hashes,
        deleted=_make_deleted_rows(member for key, member in before.items() if key not in after),
        changed=_make_changed_rows(changed, columns),
        changed_columns=columns,
        added=[make_row(member) for member in sorted(added, key=_get_hash)],
        left_tags=left,
        joined_tags=joined,
        counts=_count_changes(before, after),
        entered_statuses=frozenset(entered_statuses),
        now=now,
    )


def _make_deleted_rows(members: Iterable[Member]) -> list[_Values]:
    return sorted((member.id, member.account_id, member.revision) for member in members)


def _choose_columns(before: MembersById, changed: Iterable[Member]) -> Sequence[str]:
    """Return the columns to set. The hash is one of them only if a hash has changed.

    SQLite writes the index of a column that is set, even to the same value, and in a large list
    nearly every hash is on another page: an update takes 3.0 µs instead of 6.3 without the hash.
    """
    has_new_hash = any(
        before[member.id].subscriber_hash != member.subscriber_hash for member in changed
    )
    return _CHANGEABLE if has_new_hash else _CHANGEABLE_BESIDE_HASH


def _make_changed_rows(members: Iterable[Member], columns: Sequence[str]) -> list[_Values]:
    """Return the new values of members, with their keys and the revisions that were read."""
    pick_values = itemgetter(*map(COLUMNS.index, columns))
    rows = []
    for member in sorted(members, key=_get_id):
        values = make_row(msgspec.structs.replace(member, revision=member.revision + 1))
        rows.append((*pick_values(values), member.id, member.account_id, member.revision))
    return rows


def _make_membership_rows(
    before: MembersById, members: Iterable[Member]
) -> tuple[list[_Values], list[_Values]]:
    """Return the rows of the tags that members have left, and of those that they have joined.

    A tag that was removed and then added is in both, because its time has changed.
    """
    left: list[_Values] = []
    joined: list[_Values] = []
    for member in members:
        old_tags = before[member.id].tags if member.id in before else ()
        if old_tags is member.tags:
            continue
        if not old_tags:
            joined += [(member.id, tag.id, member.account_id, tag.added_at) for tag in member.tags]
            continue
        old = {(tag.id, tag.added_at) for tag in old_tags}
        new = {(tag.id, tag.added_at) for tag in member.tags}
        left += [(member.id, tag_id, member.account_id) for tag_id, _ in old - new]
        joined += [(member.id, tag_id, member.account_id, at) for tag_id, at in new - old]
    return sorted(left), sorted(joined)


def _count_changes(before: MembersById, after: MembersById) -> dict[str, int]:
    old = Counter(member.status for member in before.values())
    new = Counter(member.status for member in after.values())
    return {f"{status}_count": new[status] - old[status] for status in _COUNTED_STATUSES}


def _get_hash(member: Member) -> str:
    return member.subscriber_hash


def _get_id(member: Member) -> int:
    return member.id
