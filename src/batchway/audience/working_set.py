"""What a set of calls reads and writes: loaded once, changed in memory, written once.

However many calls there are, loading and writing take a handful of statements for each list.
Writing is guarded: it raises Stale if what was loaded is no longer so, and the transaction is
then rolled back.
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Self

from sqlalchemy import Connection

from batchway.audience.keys import NextKey
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
from batchway.kit.ids import parse_contact_id, subscriber_hash


class ListSet:
    """One list, and of each of its collections the part that the calls need.

    Calls first say what they need (`want_…`). It is loaded, and then the calls are applied.
    """

    id: int  # the key and the revision are known when the list is loaded
    revision: int

    def __init__(self, public_id: str, caller: Caller, next_key: NextKey) -> None:
        self.public_id = public_id
        self.caller = caller
        self.next_key = next_key
        self._wanted_hashes: set[str] = set()  # of all addresses that the calls name
        # A new collection is one line here, in the order in which changes are written.
        self.merge_fields = MergeFieldSet()
        self.tags = TagSet(next_key, caller.now)
        self.members = MemberSet(self._wanted_hashes)
        self.forgotten = ForgottenSet(self._wanted_hashes)

    def want_member(self, path_key: str) -> None:
        """Say that the member is needed that a path names by hash, address or contact id."""
        member_id = parse_contact_id(path_key)
        if member_id is None:
            self._wanted_hashes.add(parse_hash(path_key))
        else:
            self.members.want_id(member_id)

    def want_address(self, email_address: str) -> None:
        """Say that the member with this address is needed, or whether it may be added."""
        self._wanted_hashes.add(subscriber_hash(email_address))

    def load(self, connection: Connection, list_id: int, revision: int) -> None:
        """Read what the calls need."""
        self.id, self.revision = list_id, revision
        scope = ListScope(connection, self.caller.account_id, list_id)
        for collection in self._collections().values():
            collection.load(scope)
        self.render_member = MemberRenderer(
            self.public_id, self.merge_fields.rules, self.caller.links
        ).render_lazily

    def _collections(self) -> Mapping[str, ListCollection]:
        return {name: it for name, it in vars(self).items() if isinstance(it, ListCollection)}

    def make_copy(self) -> Self:
        """Return the list as it is now; a change of either is not seen in the other."""
        other = copy(self)
        for name, collection in self._collections().items():
            setattr(other, name, collection.make_copy())
        return other

    @property
    def has_changes(self) -> bool:
        """Whether there is anything to write."""
        return any(each.has_changes for each in self._collections().values())

    def make_changes(self) -> "ListChanges":
        """Return what differs from what was loaded, to be written."""
        changed = [each for each in self._collections().values() if each.has_changes]
        rows = [each.make_row_changes(self.caller.now) for each in changed]
        return ListChanges(self.caller.account_id, self.id, self.revision, rows)


@dataclass(frozen=True)
class ListChanges:
    """The rows of one list that are to be written, and the revision that they are based on."""

    account_id: int
    list_id: int
    revision: int
    rows: Sequence[RowChanges]

    @property
    def excludes_writers(self) -> bool:
        """Whether no other transaction may write to the list at the same time."""
        return any(each.excludes_writers for each in self.rows)

    def write(self, connection: Connection) -> None:
        """Write all rows; raises Stale. The list's own row must be locked."""
        scope = ListScope(connection, self.account_id, self.list_id)
        for each in self.rows:
            each.write(scope)


class WorkingSet:
    """The lists that a set of calls is about; `caller` says for whom and when."""

    def __init__(self, caller: Caller, next_key: NextKey) -> None:
        self._caller = caller
        self._next_key = next_key
        self._lists: dict[str, ListSet] = {}

    def want_list(self, public_id: str) -> ListSet:
        """Say that a list is needed; what is needed of it is to be said to the list."""
        wanted = self._lists.get(public_id)
        if wanted is None:
            wanted = ListSet(public_id, self._caller, self._next_key)
            self._lists[public_id] = wanted
        return wanted

    def load(self, connection: Connection, lock: str = "") -> None:
        """Read everything that is needed; `lock` is SQL that locks the rows of the lists.

        Lists that do not exist, or are another account's, are left out.
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
        """Return the same lists as they are now; a change of either is not seen in the other."""
        other = WorkingSet(self._caller, self._next_key)
        other._lists = {public_id: each.make_copy() for public_id, each in self._lists.items()}
        return other

    @property
    def has_changes(self) -> bool:
        """Whether there is anything to write."""
        return any(each.has_changes for each in self._lists.values())

    def make_changes(self) -> "Changes":
        """Return what is to be written of the lists as they are now."""
        changed = [each for each in self._lists.values() if each.has_changes]
        return Changes(self._caller.account_id, [each.make_changes() for each in changed])


@dataclass(frozen=True)
class Changes:
    """What a set of calls changes. Later changes of the working set are not in it.

    It is true if there is anything to write.
    """

    account_id: int
    lists: Sequence[ListChanges]

    def __bool__(self) -> bool:
        return bool(self.lists)

    def write(self, connection: Connection) -> None:
        """Write everything; raises Stale if what it is based on has changed."""
        if not self.lists:
            return
        _lock_lists(connection, self.account_id, self.lists)
        for each in self.lists:
            each.write(connection)


def _lock_lists(connection: Connection, account_id: int, lists: Iterable[ListChanges]) -> None:
    """Check that the lists are as they were, and keep them so until the commit."""
    expected = {each.list_id: each.revision for each in lists}
    excludes_writers = any(each.excludes_writers for each in lists)
    if expected != lock_revisions(connection, account_id, expected, exclusive=excludes_writers):
        raise Stale
