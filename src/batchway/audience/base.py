"""How a resource of the built-in API answers calls.

A resource has one `ROUTES` tuple of (method, path template, handler, description); `routes.py`
joins them. A handler is either a `PlainHandler`, which answers one call within a transaction, or a
`MemberHandler` (`members/base.py`), whose calls are answered together.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from batchway.contract.request import Caller, Request
from batchway.contract.response import Response

Answer = Callable[[Request, Caller, Connection], Response]


@dataclass(frozen=True, slots=True)
class PlainHandler:
    """Answers one call within a transaction; `answer` raises `Refused` for a problem.

    `writes` is whether it needs a write transaction. `items` is the name of the field with the
    items, if the response is a page of a collection.
    """

    answer: Answer
    writes: bool
    items: str = ""


def make_read_handler(answer: Answer, *, items: str = "") -> PlainHandler:
    """Return a handler that only reads; `items` names the field with the items of a collection."""
    return PlainHandler(answer, writes=False, items=items)


def make_write_handler(answer: Answer) -> PlainHandler:
    """Return a handler that needs a write transaction."""
    return PlainHandler(answer, writes=True)
