"""The contract of the collections of a list: its members, its tags, its merge fields and so on.

A set of calls needs a part of each collection. A collection stores which part is needed, loads it
with a few statements, and makes the rows of what has changed. A new collection is one file and one
line in `working_set.py`.
"""

from copy import copy
from dataclasses import dataclass
from typing import Protocol, Self

from sqlalchemy import Connection

from batchway.kit.clock import Microseconds


@dataclass(frozen=True, slots=True)
class ListScope:
    """One list within one transaction."""

    connection: Connection
    account_id: int
    list_id: int


class RowChanges(Protocol):
    """The rows of a collection that must be written."""

    @property
    def excludes_writers(self) -> bool:
        """Whether no other transaction may write to the list at the same time."""

    def write(self, scope: ListScope) -> None:
        """Write the rows; raises Stale if the stored rows have changed meanwhile."""


class ListCollection:
    """The part of a collection that the calls need, with the changes of the calls so far."""

    def load(self, scope: ListScope) -> None:
        """Read what the calls need."""
        raise NotImplementedError

    @property
    def has_changes(self) -> bool:
        """Whether there is anything to write."""
        return False

    def make_row_changes(self, now: Microseconds) -> RowChanges:
        """Return the rows that differ from what was loaded."""
        raise NotImplementedError

    def make_copy(self) -> Self:
        """Return an independent copy.

        Every attribute that is a dictionary, a list or a set is copied. The values in them are
        immutable.
        """
        other = copy(self)
        for name, value in vars(self).items():
            if isinstance(value, dict | list | set):
                setattr(other, name, value.copy())
        return other
