"""How calls on members are answered: together, in three steps.

Each request is read into a call; then everything that the calls need is loaded at once; then the
calls are applied in memory, in order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from batchway.audience.settings import AudienceSettings
from batchway.audience.working_set import ListSet
from batchway.contract.request import Request
from batchway.contract.response import Response


class MemberCall(Protocol):
    """A call that was read from a request and can be applied to a list."""

    @property
    def list_id(self) -> str:
        """The public id of the list that the call is about."""

    @property
    def row_count(self) -> int:
        """About how many rows the call writes; 0 if it only reads."""

    def want(self, list_set: ListSet) -> None:
        """Tell the list which members and tags the call needs."""

    def apply(self, list_set: ListSet) -> Response:
        """Change the list and return the response; raises Refused.

        A call that raises must not have changed anything, so that an error in one call never
        changes the result of another.
        """


@dataclass(frozen=True, slots=True)
class MemberHandler:
    """The handler of a route on members; `read` reads a request into a call and raises Refused.

    `items` is the name of the field with the items, if the response is a page of a collection.
    """

    read: Callable[[Request, AudienceSettings], MemberCall]
    items: str = ""
