"""What a set of calls on members reads and writes: loaded once, changed in memory, saved once.

However many calls there are, loading and saving take a handful of statements for each list.
Saving is guarded: a row that somebody else has changed since it was loaded makes it Stale, and
nothing may be kept of it then.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from sqlalchemy import Connection

from batchway.audience import merge_fields
from batchway.audience.member import ARCHIVED, COLUMNS, STATUSES, Member, Tag, from_row, to_row
from batchway.audience.member_body import MemberRenderer
from batchway.audience.merge_values import MergeRules
from batchway.contract.problems import not_found
from batchway.contract.request import Caller
from batchway.errors import Stale
from batchway.kit.ids import member_id_of_contact, subscriber_hash
from batchway.store.database import (
    any_of,
    execute_many,
    for_share,
    insert_many,
    run,
    values_for,
)

NextKey = Callable[[str], int]  # a new key for a table

_SELECTED = ", ".join(f"m.{name}" for name in COLUMNS)
_CHANGEABLE = [name for name in COLUMNS if name not in {"id", "account_id", "list_id"}]


class Needs(msgspec.Struct):
    """What calls on one list want to know of it: members by hash or key, and tags by name."""

    hashes: set[str] = msgspec.field(default_factory=set)
    member_ids: set[int] = msgspec.field(default_factory=set)
    tag_names: set[str] = msgspec.field(default_factory=set)

    def member(self, path_key: str) -> None:
        """Want the member that a path names by hash, address or contact id."""
        member_id = member_id_of_contact(path_key)
        if member_id is None:
            self.hashes.add(hash_of(path_key))
        else:
            self.member_ids.add(member_id)

    def address(self, email_address: str) -> None:
        """Want the member with this address, if there is one."""
        self.hashes.add(subscriber_hash(email_address))


def hash_of(path_key: str) -> str:
    """The subscriber hash that a path's key stands for."""
    return subscriber_hash(path_key) if "@" in path_key else path_key.lower()


class ListSet:
    """One list and those of its members, tags and forgotten hashes that the calls need."""

    def __init__(self, row: Any, rules: MergeRules, caller: Caller) -> None:  # noqa: ANN401
        self.id: int = row.id
        self.public_id: str = row.public_id
        self.revision: int = row.revision
        self.rules = rules
        self.render = MemberRenderer(row.public_id, rules, caller.links).body
        self.by_hash: dict[str, Member] = {}
        self.hash_by_id: dict[int, str] = {}
        self.loaded: dict[int, Member] = {}
        self.forgotten: set[str] = set()
        self.newly_forgotten: set[str] = set()
        self.tags: dict[str, Tag] = {}
        self.new_tags: list[Tag] = []

    def find(self, path_key: str) -> Member | None:
        """The member that a path names, as the calls so far have left it."""
        member_id = member_id_of_contact(path_key)
        if member_id is None:
            return self.by_hash.get(hash_of(path_key))
        return self.by_hash.get(self.hash_by_id.get(member_id, ""))

    def get(self, path_key: str) -> Member:
        """The same; raises 404."""
        member = self.find(path_key)
        if member is None:
            raise not_found()
        return member

    def with_address(self, email_address: str) -> Member | None:
        """The member who has this address."""
        return self.by_hash.get(subscriber_hash(email_address))

    def is_forgotten(self, email_address: str) -> bool:
        """Whether a contact with this address was deleted for good."""
        return subscriber_hash(email_address) in self.forgotten

    def put(self, member: Member) -> None:
        """A member's new state; the address may have changed."""
        before = self.hash_by_id.get(member.id)
        if before is not None and before != member.subscriber_hash:
            del self.by_hash[before]
        self.by_hash[member.subscriber_hash] = member
        self.hash_by_id[member.id] = member.subscriber_hash

    def forget(self, member: Member) -> None:
        """Delete a member for good."""
        del self.by_hash[member.subscriber_hash]
        del self.hash_by_id[member.id]
        self.forgotten.add(member.subscriber_hash)
        self.newly_forgotten.add(member.subscriber_hash)


class WorkingSet:
    """The lists that a set of calls is about; `caller` says for whom and when."""

    def __init__(self, caller: Caller, next_key: NextKey) -> None:
        self.caller = caller
        self.next_key = next_key
        self._lists: dict[str, ListSet] = {}

    def list(self, public_id: str) -> ListSet:
        """A list of the caller's account; raises 404."""
        found = self._lists.get(public_id)
        if found is None:
            raise not_found()
        return found

    def load(self, connection: Connection, needs: dict[str, Needs], lock: str = "") -> None:
        """Read everything that is needed, by list; `lock` is SQL that locks the lists' rows."""
        rows = _load_lists(connection, self.caller.account_id, needs, lock)
        fields = merge_fields.of_lists(connection, self.caller.account_id, [row.id for row in rows])
        for row in rows:
            each = ListSet(row, MergeRules(fields.get(row.id, ())), self.caller)
            self._lists[each.public_id] = each
            wanted = needs[each.public_id]
            _load_members(connection, self.caller.account_id, each, wanted)
            _load_forgotten(connection, self.caller.account_id, each, wanted)
            _load_tags(connection, self.caller.account_id, each, wanted)

    def save(self, connection: Connection) -> None:
        """Write what has changed; raises Stale if it rests on what is no longer so."""
        changed = [each for each in self._lists.values() if _has_changes(each)]
        _check_lists(connection, self.caller.account_id, changed)
        for each in changed:
            _save_list(connection, self.caller, each)

    @property
    def has_changes(self) -> bool:
        """Whether there is anything to save."""
        return any(_has_changes(each) for each in self._lists.values())


def _load_lists(
    connection: Connection, account_id: int, public_ids: Iterable[str], lock: str
) -> list[Any]:
    return list(
        run(
            connection,
            f"""
            SELECT id, public_id, revision FROM lists
            WHERE account_id = :account_id AND public_id {any_of(connection, "public_ids")}
            ORDER BY id {lock}
            """,
            account_id=account_id,
            public_ids=values_for(connection, public_ids),
        )
    )


def _load_members(connection: Connection, account_id: int, each: ListSet, wanted: Needs) -> None:
    rows = _select_members(connection, account_id, each, "subscriber_hash", wanted.hashes)
    rows += _select_members(connection, account_id, each, "id", wanted.member_ids)
    tags = tags_of(connection, account_id, [row.id for row in rows])
    for row in rows:
        member = from_row(row, tags.get(row.id, ()))
        each.loaded[member.id] = member
        each.put(member)


def _select_members(
    connection: Connection, account_id: int, each: ListSet, column: str, values: Iterable[Any]
) -> list[Any]:
    values = list(values)
    if not values:
        return []
    return list(
        run(
            connection,
            f"""
            SELECT {_SELECTED} FROM members AS m
            WHERE m.account_id = :account_id AND m.list_id = :list_id
              AND m.{column} {any_of(connection, "wanted")}
            """,
            account_id=account_id,
            list_id=each.id,
            wanted=values_for(connection, values),
        )
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


def _load_forgotten(connection: Connection, account_id: int, each: ListSet, wanted: Needs) -> None:
    each.forgotten = _forgotten(connection, account_id, each, wanted.hashes)


def _forgotten(
    connection: Connection, account_id: int, each: ListSet, hashes: Iterable[str]
) -> set[str]:
    rows = run(
        connection,
        f"""
        SELECT subscriber_hash FROM forgotten_members
        WHERE account_id = :account_id AND list_id = :list_id
          AND subscriber_hash {any_of(connection, "hashes")}
        """,
        account_id=account_id,
        list_id=each.id,
        hashes=values_for(connection, hashes),
    )
    return set(rows.scalars())


def _load_tags(connection: Connection, account_id: int, each: ListSet, wanted: Needs) -> None:
    if not wanted.tag_names:
        return
    rows = run(
        connection,
        f"""
        SELECT id, name, name_key FROM list_segments
        WHERE account_id = :account_id AND list_id = :list_id
          AND name_key {any_of(connection, "names")}
        """,
        account_id=account_id,
        list_id=each.id,
        names=values_for(connection, {name.lower() for name in wanted.tag_names}),
    )
    each.tags = {row.name_key: Tag(row.id, row.name, 0) for row in rows}


def _has_changes(each: ListSet) -> bool:
    if each.new_tags or len(each.hash_by_id) != len(each.loaded):
        return True
    return any(each.loaded.get(member.id) is not member for member in each.by_hash.values())


def _check_lists(connection: Connection, account_id: int, changed: list[ListSet]) -> None:
    """Lists must be as they were, and stay so until the commit."""
    if not changed:
        return
    rows = run(
        connection,
        f"""
        SELECT id, revision FROM lists
        WHERE account_id = :account_id AND id {any_of(connection, "ids")}
        ORDER BY id {for_share(connection)}
        """,
        account_id=account_id,
        ids=values_for(connection, [each.id for each in changed]),
    )
    found = {row.id: row.revision for row in rows}
    if any(found.get(each.id) != each.revision for each in changed):
        raise Stale


def _save_list(connection: Connection, caller: Caller, each: ListSet) -> None:
    now = {member.id: member for member in each.by_hash.values()}
    added = [member for key, member in now.items() if key not in each.loaded]
    removed = [member for key, member in each.loaded.items() if key not in now]
    altered = [
        member
        for key, member in now.items()
        if key in each.loaded and each.loaded[key] is not member
    ]
    _insert_tags(connection, caller, each)
    _delete_members(connection, each, caller, removed)
    _update_members(connection, each, altered)
    _insert_members(connection, each, added)
    _save_tags_of_members(connection, caller, each, added + altered)
    _save_stats(connection, caller, each, now)


def _insert_tags(connection: Connection, caller: Caller, each: ListSet) -> None:
    rows = [
        (
            tag.id,
            caller.account_id,
            each.id,
            tag.name,
            tag.name.lower(),
            "static",
            caller.now,
            caller.now,
        )
        for tag in sorted(each.new_tags, key=lambda tag: tag.name.lower())  # as the index: below
    ]
    columns = (
        "id",
        "account_id",
        "list_id",
        "name",
        "name_key",
        "type",
        "created_at",
        "updated_at",
    )
    _expect(
        len(rows), insert_many(connection, "list_segments", columns, rows, ignore_existing=True)
    )


def _delete_members(
    connection: Connection, each: ListSet, caller: Caller, removed: list[Member]
) -> None:
    if not removed:
        return
    keys = sorted((member.id, member.account_id, member.revision) for member in removed)
    statement = "DELETE FROM members WHERE id = ? AND account_id = ? AND revision = ?"
    _expect(len(keys), execute_many(connection, statement, keys))
    run(
        connection,
        f"""
        DELETE FROM list_segment_members
        WHERE account_id = :account_id AND member_id {any_of(connection, "ids")}
        """,
        account_id=caller.account_id,
        ids=values_for(connection, [member.id for member in removed]),
    )
    insert_many(
        connection,
        "forgotten_members",
        ("list_id", "subscriber_hash", "account_id", "forgotten_at"),
        [
            (each.id, hashed, caller.account_id, caller.now)
            for hashed in sorted(each.newly_forgotten)
        ],
        ignore_existing=True,
    )


def _update_members(connection: Connection, each: ListSet, altered: list[Member]) -> None:
    settings = ", ".join(f"{name} = ?" for name in _CHANGEABLE)
    statement = f"UPDATE members SET {settings} WHERE id = ? AND account_id = ? AND revision = ?"
    rows = []
    for member in sorted(altered, key=lambda member: member.id):
        revision = each.loaded[member.id].revision
        values = to_row(msgspec.structs.replace(member, revision=revision + 1))
        rows.append((*values[3:], member.id, member.account_id, revision))
    _expect(len(rows), execute_many(connection, statement, rows))


def _insert_members(connection: Connection, each: ListSet, added: list[Member]) -> None:
    if not added:
        return
    # In the order of the unique index, so that two writers cannot wait for each other.
    added = sorted(added, key=lambda member: member.subscriber_hash)
    account_id = added[0].account_id
    hashes = [member.subscriber_hash for member in added]
    if _forgotten(connection, account_id, each, hashes):
        raise Stale
    rows = [to_row(member) for member in added]
    _expect(len(rows), insert_many(connection, "members", COLUMNS, rows, ignore_existing=True))


def _save_tags_of_members(
    connection: Connection, caller: Caller, each: ListSet, members: list[Member]
) -> None:
    added, removed = [], []
    for member in members:
        before = each.loaded[member.id].tags if member.id in each.loaded else ()
        if before is member.tags:
            continue
        old, new = {tag.id for tag in before}, {tag.id for tag in member.tags}
        removed += [(member.id, tag_id, caller.account_id) for tag_id in old - new]
        added += [(member.id, tag_id, caller.account_id, caller.now) for tag_id in new - old]
    execute_many(
        connection,
        "DELETE FROM list_segment_members "
        "WHERE member_id = ? AND list_segment_id = ? AND account_id = ?",
        sorted(removed),
    )
    insert_many(
        connection,
        "list_segment_members",
        ("member_id", "list_segment_id", "account_id", "added_at"),
        sorted(added),
        ignore_existing=True,
    )


def _save_stats(
    connection: Connection, caller: Caller, each: ListSet, now: dict[int, Member]
) -> None:
    """Last, because all writers of a list share this row."""
    before = Counter(member.status for member in each.loaded.values())
    after = Counter(member.status for member in now.values())
    changes = {f"{status}_count": after[status] - before[status] for status in _COUNTED}
    became = {
        member.status
        for key, member in now.items()
        if key not in each.loaded or each.loaded[key].status != member.status
    }
    sums = ", ".join(f"{name} = {name} + :{name}" for name in changes)
    run(
        connection,
        f"""
        UPDATE list_stats SET {sums},
            last_subscribed_at = CASE WHEN :has_subscribed THEN :now ELSE last_subscribed_at END,
            last_unsubscribed_at =
                CASE WHEN :has_unsubscribed THEN :now ELSE last_unsubscribed_at END
        WHERE list_id = :list_id AND account_id = :account_id
        """,
        list_id=each.id,
        account_id=caller.account_id,
        now=caller.now,
        has_subscribed="subscribed" in became,
        has_unsubscribed="unsubscribed" in became,
        **changes,
    )


_COUNTED = (*STATUSES, ARCHIVED)


def _expect(wanted: int, touched: int) -> None:
    if wanted != touched:
        raise Stale
