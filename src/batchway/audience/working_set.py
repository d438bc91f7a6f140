"""What a set of calls on members reads and writes: loaded once, changed in memory, written once.

However many calls there are, loading and writing take a handful of statements for each list.
Writing is guarded (`list_changes.py`), and nothing may be kept of it if it is Stale.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection

from batchway.audience import list_changes, merge_fields
from batchway.audience.list_changes import ListChanges
from batchway.audience.member import Member, Tag
from batchway.audience.member_body import MemberRenderer
from batchway.audience.member_rows import MemberRows
from batchway.audience.merge_values import MergeRules
from batchway.contract.problems import not_found
from batchway.contract.request import Caller
from batchway.errors import Stale
from batchway.kit.clock import Microseconds
from batchway.kit.ids import parse_contact_id, subscriber_hash
from batchway.store.database import any_of, for_share, for_update, run, values_for

NextKey = Callable[[str], int]  # a new key for a table


class Needs(msgspec.Struct):
    """What calls on one list want to know of it: members by hash or key, and tags by name."""

    hashes: set[str] = msgspec.field(default_factory=set)
    member_ids: set[int] = msgspec.field(default_factory=set)
    tag_names: set[str] = msgspec.field(default_factory=set)

    def member(self, path_key: str) -> None:
        """Want the member that a path names by hash, address or contact id."""
        member_id = parse_contact_id(path_key)
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
        self.account_id = caller.account_id
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
        self.first_tags: dict[tuple[str, ...], tuple[Tag, ...]] = {}  # of new members, by names
        self.entered: set[str] = set()  # every status that a member came to, if only in passing

    def copied(self) -> "ListSet":
        """The same list as it is now; what is done to either is not seen in the other."""
        other = copy(self)
        other.by_hash, other.hash_by_id = self.by_hash.copy(), self.hash_by_id.copy()
        other.forgotten, other.newly_forgotten = self.forgotten.copy(), self.newly_forgotten.copy()
        other.tags, other.new_tags = self.tags.copy(), self.new_tags.copy()
        other.first_tags = self.first_tags.copy()
        other.entered = self.entered.copy()
        return other

    def find(self, path_key: str) -> Member | None:
        """The member that a path names, as the calls so far have left it."""
        member_id = parse_contact_id(path_key)
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
        before = self.by_hash.get(self.hash_by_id.get(member.id, ""))
        if before is None or before.status != member.status:
            self.entered.add(member.status)
        if before is not None and before.subscriber_hash != member.subscriber_hash:
            del self.by_hash[before.subscriber_hash]
        self._keep(member)

    def _keep(self, member: Member) -> None:
        self.by_hash[member.subscriber_hash] = member
        self.hash_by_id[member.id] = member.subscriber_hash

    def forget(self, member: Member) -> None:
        """Delete a member for good."""
        del self.by_hash[member.subscriber_hash]
        del self.hash_by_id[member.id]
        self.forgotten.add(member.subscriber_hash)
        self.newly_forgotten.add(member.subscriber_hash)

    def load(self, rows: MemberRows, wanted: Needs) -> None:
        """Read what the calls need."""
        for member in (*rows.by_hash(wanted.hashes), *rows.by_id(wanted.member_ids)):
            if member.id not in self.loaded:
                self.loaded[member.id] = member
                self._keep(member)
        if wanted.hashes:
            self.forgotten = rows.forgotten(wanted.hashes)
        if wanted.tag_names:
            self.tags = rows.tags_named(wanted.tag_names)

    @property
    def has_changes(self) -> bool:
        """Whether there is anything to write."""
        if self.new_tags or self.newly_forgotten or len(self.by_hash) != len(self.loaded):
            return True
        return any(self.loaded.get(each.id) is not each for each in self.by_hash.values())

    def changes(self, now: Microseconds) -> ListChanges:
        """What differs from what was loaded, to be written."""
        before, after = self.loaded, {member.id: member for member in self.by_hash.values()}
        added = [member for key, member in after.items() if key not in before]
        altered = [
            member for key, member in after.items() if key in before and before[key] is not member
        ]
        written = added + altered
        columns = list_changes.altered_columns(before, altered)
        taken, given = list_changes.tag_member_rows(before, written)
        hashes = {member.subscriber_hash for member in before.values()}
        return ListChanges(
            account_id=self.account_id,
            list_id=self.id,
            list_revision=self.revision,
            now=now,
            known=frozenset(before),
            arrived={member.subscriber_hash for member in written} - hashes,
            forgotten=frozenset(self.newly_forgotten),
            removed=list_changes.removed_rows(
                member for key, member in before.items() if key not in after
            ),
            altered=list_changes.altered_rows(altered, columns),
            altered_columns=columns,
            added=list_changes.added_rows(added),
            new_tags=list_changes.tag_rows(self.new_tags, self.account_id, self.id, now),
            tags_taken=taken,
            tags_given=given,
            counts=list_changes.counts(before, after),
            entered=frozenset(self.entered),
        )


class WorkingSet:
    """The lists that a set of calls is about; `caller` says for whom and when."""

    def __init__(self, caller: Caller, next_key: NextKey) -> None:
        self.caller = caller
        self.next_key = next_key
        self._lists: dict[str, ListSet] = {}

    def copied(self) -> "WorkingSet":
        """The same lists as they are now; what is done to either is not seen in the other."""
        other = WorkingSet(self.caller, self.next_key)
        other._lists = {public_id: each.copied() for public_id, each in self._lists.items()}
        return other

    def list(self, public_id: str) -> ListSet:
        """A list of the caller's account; raises 404."""
        found = self._lists.get(public_id)
        if found is None:
            raise not_found()
        return found

    def load(self, connection: Connection, needs: Mapping[str, Needs], lock: str = "") -> None:
        """Read everything that is needed, by list; `lock` is SQL that locks the lists' rows."""
        lists = _select_lists(connection, self.caller.account_id, needs, lock)
        fields = merge_fields.of_lists(
            connection, self.caller.account_id, [row.id for row in lists]
        )
        for row in lists:
            each = ListSet(row, MergeRules(fields.get(row.id, ())), self.caller)
            rows = MemberRows(connection, self.caller.account_id, each.id)
            each.load(rows, needs[each.public_id])
            self._lists[each.public_id] = each

    @property
    def has_changes(self) -> bool:
        """Whether there is anything to write."""
        return any(each.has_changes for each in self._lists.values())

    def changes(self) -> "Changes":
        """What is to be written of the lists as they are now."""
        changed = [each for each in self._lists.values() if each.has_changes]
        return Changes([each.changes(self.caller.now) for each in changed])


@dataclass(frozen=True)
class Changes:
    """What a set of calls changes, ready to be written; what is done to the set later is not in it.

    True if there is anything to write.
    """

    lists: Sequence[ListChanges]

    def __bool__(self) -> bool:
        return bool(self.lists)

    def write(self, connection: Connection) -> None:
        """Write everything; raises Stale if it rests on what is no longer so."""
        _check_lists(connection, self.lists)
        for each in self.lists:
            each.write(connection)


def _select_lists(
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


def _check_lists(connection: Connection, changed: Sequence[ListChanges]) -> None:
    """Lists must be as they were, and stay so until the commit.

    Who deletes members for good is alone on their lists: it forgets addresses that may be on no
    row yet, so that no index would make two writers meet.
    """
    if not changed:
        return
    forgets = any(each.forgotten for each in changed)
    lock = for_update(connection) if forgets else for_share(connection)
    rows = run(
        connection,
        f"""
        SELECT id, revision FROM lists
        WHERE account_id = :account_id AND id {any_of(connection, "ids")}
        ORDER BY id {lock}
        """,
        account_id=changed[0].account_id,
        ids=values_for(connection, [each.list_id for each in changed]),
    )
    found = {row.id: row.revision for row in rows}
    if any(found.get(each.list_id) != each.list_revision for each in changed):
        raise Stale
