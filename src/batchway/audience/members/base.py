"""How calls on members are answered: as a set, in three steps.

Each request is read into a call; then everything that all the calls need is loaded at once; then
each call is applied in memory, in order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from batchway.audience.settings import AudienceSettings
from batchway.audience.working_set import ListSet
from batchway.contract.request import Request
from batchway.contract.response import Response


class MemberCall(Protocol):
    """One call that has been read, but not yet answered."""

    @property
    def list_id(self) -> str:
        """The public id of the list that the call is about."""

    @property
    def row_count(self) -> int:
        """How many rows the call may write, roughly; 0 if it only reads."""

    def want(self, list_set: ListSet) -> None:
        """Say which members and tags must be loaded."""

    def apply(self, list_set: ListSet) -> Response:
        """Answer, and change the set; raises Refused.

        It makes its whole change as its last act, or raises and changes nothing. So a fault of
        one call never changes the result of another.
        """


@dataclass(frozen=True, slots=True)
class OnMembers:
    """The handler of a route on members: reads a request into a call; raises Refused.

    `items` is the field with the items, if it answers with a page of a collection.
    """

    read: Callable[[Request, AudienceSettings], MemberCall]
    items: str = ""
