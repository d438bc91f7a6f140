"""How a resource of the built-in API answers calls.

A resource has one `ROUTES` tuple of (method, path template, handler, description); `routes.py`
joins them. A handler is either `Plain`, which answers one call within a transaction, or
`OnMembers` (`members/base.py`), whose calls are answered as a set.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from batchway.contract.request import Caller, Request
from batchway.contract.response import Response

Answer = Callable[[Request, Caller, Connection], Response]


@dataclass(frozen=True, slots=True)
class Plain:
    """Answers one call within a transaction; raises `Refused` for a problem.

    `writes` says whether it needs the write transaction. `items` is the field with the items, if
    it answers with a page of a collection.
    """

    answer: Answer
    writes: bool
    items: str = ""


def reads(answer: Answer, *, items: str = "") -> Plain:
    """Make a handler that only reads; `items` names the field of a collection's items."""
    return Plain(answer, writes=False, items=items)


def writes(answer: Answer) -> Plain:
    """Make a handler that changes something."""
    return Plain(answer, writes=True)
