"""The members of a list that a set of calls needs, with the changes of the calls so far."""

from collections.abc import Set as AbstractSet

from batchway.audience.list_collection import ListCollection, ListScope
from batchway.audience.members import row_changes
from batchway.audience.members.member import Member
from batchway.audience.members.row_changes import MemberRowChanges
from batchway.audience.members.rows import find_members_by_hash, find_members_by_id
from batchway.contract.problems import not_found
from batchway.kit.clock import Microseconds
from batchway.kit.ids import compute_subscriber_hash, parse_contact_id


def parse_hash(path_key: str) -> str:
    """Return the subscriber hash for the key of a path, which is a hash or an address."""
    return compute_subscriber_hash(path_key) if "@" in path_key else path_key.lower()


class MemberSet(ListCollection):
    """The members that the calls need, by hash, by address or by contact id."""

    def __init__(self, wanted_hashes: AbstractSet[str]) -> None:
        """`wanted_hashes` are those of addresses; the caller may add to them before `load`."""
        self._wanted_hashes = wanted_hashes
        self._wanted_ids: set[int] = set()
        self._loaded: dict[int, Member] = {}
        self._by_hash: dict[str, Member] = {}
        self._hash_by_id: dict[int, str] = {}
        self._entered_statuses: set[str] = set()  # that a member had at any time

    def want_id(self, member_id: int) -> None:
        """Note that a call needs the member with this key, if there is one."""
        self._wanted_ids.add(member_id)

    def load(self, scope: ListScope) -> None:
        """Read the members."""
        for member in (
            *find_members_by_hash(scope, self._wanted_hashes),
            *find_members_by_id(scope, self._wanted_ids),
        ):
            if member.id not in self._loaded:
                self._loaded[member.id] = member
                self._keep(member)
        self._wanted_hashes, self._wanted_ids = frozenset(), set()

    def find(self, path_key: str) -> Member | None:
        """Return the member that a path names, with the changes so far, or None."""
        member_id = parse_contact_id(path_key)
        if member_id is None:
            return self._by_hash.get(parse_hash(path_key))
        return self._find_by_id(member_id)

    def get(self, path_key: str) -> Member:
        """Return the member that a path names, with the changes so far; raises 404."""
        member = self.find(path_key)
        if member is None:
            raise not_found()
        return member

    def find_by_address(self, email_address: str) -> Member | None:
        """Return the member with this address, or None."""
        return self._by_hash.get(compute_subscriber_hash(email_address))

    def put(self, member: Member) -> None:
        """Store a new or changed member; the address may have changed."""
        before = self._find_by_id(member.id)
        if before is None or before.status != member.status:
            self._entered_statuses.add(member.status)
        if before is not None and before.subscriber_hash != member.subscriber_hash:
            del self._by_hash[before.subscriber_hash]
        self._keep(member)

    def delete(self, member: Member) -> None:
        """Remove a member for good."""
        del self._by_hash[member.subscriber_hash]
        del self._hash_by_id[member.id]

    def _find_by_id(self, member_id: int) -> Member | None:
        return self._by_hash.get(self._hash_by_id.get(member_id, ""))

    def _keep(self, member: Member) -> None:
        self._by_hash[member.subscriber_hash] = member
        self._hash_by_id[member.id] = member.subscriber_hash

    @property
    def has_changes(self) -> bool:
        """Whether a member was added, changed or deleted."""
        if len(self._by_hash) != len(self._loaded):
            return True
        members = self._by_hash.values()
        return any(self._loaded.get(member.id) is not member for member in members)

    def make_row_changes(self, now: Microseconds) -> MemberRowChanges:
        """Return the rows that differ from what was loaded."""
        after = {member.id: member for member in self._by_hash.values()}
        return row_changes.make_row_changes(self._loaded, after, self._entered_statuses, now)
