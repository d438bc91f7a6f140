"""The forgotten addresses of a list: their members were deleted for good and cannot be added."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from batchway.audience.list_collection import ListCollection, ListScope
from batchway.audience.members.member import Member
from batchway.audience.members.rows import find_forgotten, find_members_by_hash, insert_forgotten
from batchway.errors import Stale
from batchway.kit.clock import Microseconds
from batchway.kit.ids import compute_subscriber_hash


class ForgottenSet(ListCollection):
    """Which of the addresses that the calls need are forgotten."""

    def __init__(self, wanted: AbstractSet[str]) -> None:
        """`wanted` are the hashes of the addresses; the caller may add to them before `load`."""
        self._wanted = wanted
        self._hashes: set[str] = set()
        self._new_hashes: set[str] = set()

    def load(self, scope: ListScope) -> None:
        """Read which of the hashes are forgotten."""
        if self._wanted:
            self._hashes = find_forgotten(scope, self._wanted)
        self._wanted = frozenset()

    def has_address(self, email_address: str) -> bool:
        """Return whether a contact with this address was deleted for good."""
        return compute_subscriber_hash(email_address) in self._hashes

    def add(self, member: Member) -> None:
        """Forget the address of a member who is deleted for good."""
        self._hashes.add(member.subscriber_hash)
        self._new_hashes.add(member.subscriber_hash)

    @property
    def has_changes(self) -> bool:
        """Whether addresses were forgotten."""
        return bool(self._new_hashes)

    def make_row_changes(self, now: Microseconds) -> "ForgottenRowChanges":
        """Return the addresses that are newly forgotten."""
        return ForgottenRowChanges(sorted(self._new_hashes), now)


@dataclass(frozen=True)
class ForgottenRowChanges:
    """Addresses of a list that are newly forgotten.

    Their members may never have had a row, so that another writer that adds one of them would not
    conflict with this one. So all other writers are excluded.
    """

    hashes: Sequence[str]
    now: Microseconds
    excludes_writers: bool = True

    def write(self, scope: ListScope) -> None:
        """Insert the hashes. Call it after the changes of members were written.

        Raises Stale if another writer has added a member with one of the addresses, or has
        forgotten one: then an addition of this set would have been refused.
        """
        if find_members_by_hash(scope, self.hashes) or find_forgotten(scope, self.hashes):
            raise Stale
        insert_forgotten(scope, self.hashes, self.now)
