"""What a set of calls reads and writes: loaded once, changed in memory, written once.

However many calls there are, loading and writing take a few statements for each list. Writing
raises Stale if what was loaded has changed in the database; the caller rolls back.
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Self

from sqlalchemy import Connection

from batchway.audience.keys import TakeKey
from batchway.audience.list_collection import ListCollection, ListScope, RowChanges
from batchway.audience.lists.rows import find_revisions, lock_revisions
from batchway.audience.members.body import MemberRenderer
from batchway.audience.members.forgotten_set import ForgottenSet
from batchway.audience.members.member_set import MemberSet, parse_hash
from batchway.audience.merge_fields.merge_field_set import MergeFieldSet
from batchway.audience.tags.tag_set import TagSet
from batchway.contract.problems import not_found
from batchway.contract.request import Caller
from batchway.errors import Stale
from batchway.kit.ids import compute_subscriber_hash, parse_contact_id


class ListSet:
    """One list, with the part of each of its collections that the calls need.

    First it notes what the calls need (`want_…`), then it is loaded, then the calls are applied.
    """

    id: int  # the key and the revision are set when the list is loaded
    revision: int

    def __init__(self, public_id: str, caller: Caller, take_key: TakeKey) -> None:
        self.public_id = public_id
        self.caller = caller
        self.take_key = take_key
        self._wanted_hashes: set[str] = set()  # of all addresses that calls need
        # A new collection is one line here, in the order in which changes are written.
        self.merge_fields = MergeFieldSet()
        self.tags = TagSet(take_key, caller.now)
        self.members = MemberSet(self._wanted_hashes)
        self.forgotten = ForgottenSet(self._wanted_hashes)

    def want_member(self, path_key: str) -> None:
        """Note that a call needs the member that a path names by hash, address or contact id."""
        member_id = parse_contact_id(path_key)
        if member_id is None:
            self._wanted_hashes.add(parse_hash(path_key))
        else:
            self.members.want_id(member_id)

    def want_address(self, email_address: str) -> None:
        """Note that a call needs the member with this address, or may add one."""
        self._wanted_hashes.add(compute_subscriber_hash(email_address))

    def load(self, connection: Connection, list_id: int, revision: int) -> None:
        """Read what the calls need."""
        self.id, self.revision = list_id, revision
        scope = ListScope(connection, self.caller.account_id, list_id)
        for collection in self._get_collections().values():
            collection.load(scope)
        self.render_member = MemberRenderer(
            self.public_id, self.merge_fields.rules, self.caller.links
        ).defer_rendering

    def _get_collections(self) -> Mapping[str, ListCollection]:
        values = vars(self).items()
        return {name: value for name, value in values if isinstance(value, ListCollection)}

    def make_copy(self) -> Self:
        """Return an independent copy."""
        other = copy(self)
        for name, collection in self._get_collections().items():
            setattr(other, name, collection.make_copy())
        return other

    @property
    def has_changes(self) -> bool:
        """Whether there is anything to write."""
        return any(collection.has_changes for collection in self._get_collections().values())

    def make_changes(self) -> "ListChanges":
        """Return the rows that differ from what was loaded."""
        rows = [
            collection.make_row_changes(self.caller.now)
            for collection in self._get_collections().values()
            if collection.has_changes
        ]
        return ListChanges(self.caller.account_id, self.id, self.revision, rows)


@dataclass(frozen=True)
class ListChanges:
    """The rows of one list that must be written, and the revision that they are based on."""

    account_id: int
    list_id: int
    revision: int
    rows: Sequence[RowChanges]

    @property
    def excludes_writers(self) -> bool:
        """Whether no other transaction may write to the list at the same time."""
        return any(changes.excludes_writers for changes in self.rows)

    def write(self, connection: Connection) -> None:
        """Write all rows; raises Stale. The row of the list itself must be locked."""
        scope = ListScope(connection, self.account_id, self.list_id)
        for changes in self.rows:
            changes.write(scope)


class WorkingSet:
    """The lists that a set of calls is about; `caller` has the account and the time."""

    def __init__(self, caller: Caller, take_key: TakeKey) -> None:
        self._caller = caller
        self._take_key = take_key
        self._lists: dict[str, ListSet] = {}

    def want_list(self, public_id: str) -> ListSet:
        """Note that a call needs a list; return the list, which notes what the call needs of it."""
        wanted = self._lists.get(public_id)
        if wanted is None:
            wanted = ListSet(public_id, self._caller, self._take_key)
            self._lists[public_id] = wanted
        return wanted

    def load(self, connection: Connection, lock: str = "") -> None:
        """Read everything that is needed; `lock` is SQL that locks the rows of the lists.

        Lists that the account does not have are left out.
        """
        if not self._lists:
            return
        wanted, self._lists = self._lists, {}
        rows = find_revisions(connection, self._caller.account_id, wanted, lock)
        for row in rows:
            self._lists[row.public_id] = wanted[row.public_id]
            wanted[row.public_id].load(connection, row.id, row.revision)

    def get_list(self, public_id: str) -> ListSet:
        """Return a list of the caller's account; raises 404."""
        found = self._lists.get(public_id)
        if found is None:
            raise not_found()
        return found

    def make_copy(self) -> "WorkingSet":
        """Return an independent copy."""
        other = WorkingSet(self._caller, self._take_key)
        other._lists = {
            public_id: list_set.make_copy() for public_id, list_set in self._lists.items()
        }
        return other

    @property
    def has_changes(self) -> bool:
        """Whether there is anything to write."""
        return any(list_set.has_changes for list_set in self._lists.values())

    def make_changes(self) -> "Changes":
        """Return what must be written of the lists."""
        changed = [list_set for list_set in self._lists.values() if list_set.has_changes]
        return Changes(self._caller.account_id, [list_set.make_changes() for list_set in changed])


@dataclass(frozen=True)
class Changes:
    """The changes of a set of calls when it was made; false if there is nothing to write."""

    account_id: int
    lists: Sequence[ListChanges]

    def __bool__(self) -> bool:
        return bool(self.lists)

    def write(self, connection: Connection) -> None:
        """Write all changes; raises Stale if what they are based on has changed."""
        if not self.lists:
            return
        _lock_lists(connection, self.account_id, self.lists)
        for changes in self.lists:
            changes.write(connection)


def _lock_lists(connection: Connection, account_id: int, lists: Iterable[ListChanges]) -> None:
    """Raise Stale if the lists have changed, and lock them until the commit."""
    expected = {changes.list_id: changes.revision for changes in lists}
    excludes_writers = any(changes.excludes_writers for changes in lists)
    if expected != lock_revisions(connection, account_id, expected, exclusive=excludes_writers):
        raise Stale
