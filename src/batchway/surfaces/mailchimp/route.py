"""A route of the surface's own calls: the function that answers it, and its description."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from batchway.contract.description import CallDescription
from batchway.contract.links import Links
from batchway.contract.request import Request
from batchway.contract.response import Response
from batchway.model.account import Identity

Answer = Callable[[Request, Identity, Links], Response]
AnswerFromStream = Callable[[Request, Identity, Links, AsyncIterator[bytes]], Awaitable[Response]]


class CountedAs(Enum):
    """Which limit of simultaneous requests of an API key a call counts for."""

    REQUEST = "request"
    EVENT_STREAM = "event stream"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Route:
    """Answers a method on a path template.

    `answer` runs in a thread after the body was read. A route that reads its own body has
    `answer_from_stream` instead, which runs on the event loop and gets the body as it arrives. A
    call with the flag `counted_with` counts as a request, even if `counted_as` differs.
    """

    method: str
    template: str
    answer: Answer | None
    described: CallDescription
    counted_as: CountedAs = CountedAs.REQUEST
    counted_with: str = ""
    answer_from_stream: AnswerFromStream | None = None

    def find_limit(self, request: Request) -> CountedAs:
        """Return which limit a request counts for."""
        if self.counted_with and request.read_flag(self.counted_with):
            return CountedAs.REQUEST
        return self.counted_as
