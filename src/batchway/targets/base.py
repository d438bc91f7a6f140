"""The contract of a target: what answers operations.

There are two kinds of target, which differ in what a crash can do:

- A `PlannedTarget` writes the effects of its operations to our database, in the transaction that
  records their results. Each operation takes effect exactly once.
- A `SendingTarget` sends its operations to a system that we do not control. Results are committed
  as they arrive; operations that were sent but not committed before a crash are sent again, with
  the same key. Each operation is sent at least once and recorded exactly once.

Both kinds also answer single calls and check operations without effect. Every operation that a
target gets has passed `check_operation`.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
from sqlalchemy import Connection

from batchway import limits
from batchway.contract.request import Caller, Request
from batchway.contract.response import Response
from batchway.contract.version import API_PREFIX
from batchway.errors import Refusal, RefusalKind
from batchway.model.operation import Operation
from batchway.model.result import NoAnswer, Result


class Target(ABC):
    """What both kinds of target do. An error in one operation must not change another's result."""

    @abstractmethod
    def check(self, caller: Caller, operations: Sequence[Operation]) -> Sequence[Result]:
        """Return the result that each operation would have, as far as it can be known, in order.

        Nothing is changed and nothing is sent.
        """

    @abstractmethod
    def answer_single(self, caller: Caller, request: Request) -> Response | NoAnswer:
        """Answer one call that is not part of a batch, and let it take effect."""

    def find_set(self, request: Request) -> str | None:
        """Return in which set a single call may be answered; None if it must be answered alone.

        Calls of one account that wait at the same time are answered together by `answer_set` if
        they have the same name here. Only quick calls should have one, because each call of a set
        waits for all of them.
        """
        del request
        return None

    def answer_set(
        self, caller: Caller, requests: Sequence[Request]
    ) -> "Sequence[Response | NoAnswer]":
        """Answer single calls for which `find_set` has returned the same name, in their order."""
        return [self.answer_single(caller, request) for request in requests]


class Plan(Protocol):
    """The results of operations, and the effects that must still be written."""

    @property
    def results(self) -> Sequence[Result]:
        """The results, in order, of all operations or only of the first, but of at least one.

        A target may answer only the first operations if their results are large; the others are
        planned later. The result of a GET without a `count` is its first page, with a continuation
        if there are more pages.
        """

    def prepare(self) -> None:
        """Do the part of `write` that needs no lock, so that the transaction is short.

        `write` must also work if this was not called.
        """

    def write(self, connection: Connection) -> None:
        """Write the effects, in the transaction that records the results.

        Raises Stale if what the results are based on has changed; the caller rolls back.
        """


class PlannedTarget(Target):
    """Takes effect within our transaction: each operation exactly once."""

    @abstractmethod
    def plan(self, caller: Caller, operations: Sequence[Operation]) -> Plan:
        """Work out the results without a write transaction.

        It may be called any number of times for the same operations; nothing takes effect before
        `Plan.write`. Raises Stale if the results can only be worked out in a write transaction.
        """

    @abstractmethod
    def answer_within(
        self, connection: Connection, caller: Caller, operations: Sequence[Operation]
    ) -> Sequence[Result]:
        """Work out the results and write the effects within the given transaction.

        The results are as in `Plan.results`; operations without a result have no effect. It is
        called when a plan was stale, and never raises Stale itself.
        """

    @abstractmethod
    def answer_page(self, caller: Caller, operation: Operation, continuation: str) -> Result:
        """Return the next page of a GET, from the continuation of the page before it."""

    @abstractmethod
    def answer_single(self, caller: Caller, request: Request) -> Response:
        """Answer one call that is not part of a batch. There is always a response."""


class OutgoingOperation(msgspec.Struct, frozen=True, gc=False):
    """An operation that must be sent.

    `position` is its position in the batch. `key` is the same each time that this operation is
    sent, and different for every other operation. Pass it to the receiver, for example as
    `Idempotency-Key`, so that the receiver can recognise an operation that it has done already.
    """

    position: int
    operation: Operation
    key: str


@dataclass(frozen=True)
class Sending:
    """The operations of one chunk that have no result yet.

    `is_stopping` returns true when the batch is cancelled, or when the worker must leave the rest
    of the chunk for later. A target calls it before it sends an operation.
    """

    caller: Caller
    operations: Sequence[OutgoingOperation]
    is_stopping: Callable[[], bool]


@dataclass(frozen=True)
class Postponed:
    """Operations that were not sent and must wait for at least `wait_seconds`.

    `reason` is a sentence for the owner of the batch, such as "The receiver asked for a pause." No
    thread waits for them; afterwards they are sent as a separate `Sending`.
    """

    positions: Sequence[int]
    wait_seconds: float
    reason: str


@dataclass(frozen=True)
class Slice:
    """Results that are committed together, by position, in any order.

    An empty slice is allowed: the worker then checks whether the batch was cancelled.
    """

    results: Mapping[int, Result | NoAnswer]
    postponed: Postponed | None = None


class SendingTarget(Target):
    """Sends each operation at least once, always with the same key."""

    @abstractmethod
    def send(self, sending: Sending) -> Generator[Slice, None, None]:
        """Send the operations, and yield their results in slices as they arrive.

        Each slice is committed before the generator continues. Yield at least once a second, and
        before the results of a slice are larger than `limits.answer_bytes_max`: if the process
        dies, everything that was not yielded is sent again. Each operation is in one slice, with
        its result or as postponed. A result has no continuation. The result of an operation that
        got no response is a `NoAnswer`.

        When `sending.is_stopping()` returns true, send nothing more. Yield the results of the
        operations that were sent (`NoAnswer` if you do not wait for a response), and return. The
        operations that are in no slice were not sent: they are recorded as cancelled, or sent
        later.

        The generator is closed early if the batch was deleted. An exception ends only this attempt:
        the operations whose results are not committed are sent again.
        """


_RELATIVE_SEGMENTS = frozenset({".", ".."})
_PATHS_OF_BATCHES = ("batches", "batch-webhooks")
_RESERVED_HEADERS = frozenset(
    {
        # The target decides on the receiver and on the authentication.
        "authorization",
        "cookie",
        "host",
        # These belong to one connection (RFC 9110, section 7.6.1), not to the request.
        "connection",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[^\0-\x08\x0a-\x1f\x7f]*")  # a line break would begin another header


def check_operation(operation: Operation) -> None:
    """Raise Refusal for an operation that no target may get.

    These rules apply to every target. They are checked before a target gets an operation, which
    gets the refusal as its result.
    """
    if operation.mistake is not None:
        raise Refusal(RefusalKind.WRONG, fields={"body": operation.mistake})
    path = operation.path
    if "://" in path or ("." in path and not _RELATIVE_SEGMENTS.isdisjoint(path.split("/"))):
        detail = (
            f"The path of an operation is relative to {API_PREFIX}, such as "
            "/lists/{list_id}/members."
        )
        raise Refusal(RefusalKind.WRONG, detail)
    if path.lstrip("/").partition("/")[0] in _PATHS_OF_BATCHES:
        detail = "Batches and batch webhooks cannot be used in an operation of a batch."
        raise Refusal(RefusalKind.WRONG, detail)
    if operation.headers:
        _check_headers(operation.headers)


def _check_headers(headers: Mapping[str, str]) -> None:
    if len(headers) > limits.operation_headers_max:
        most = limits.operation_headers_max
        raise Refusal(RefusalKind.WRONG, f"An operation may have at most {most} headers.")
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise Refusal(
                RefusalKind.WRONG,
                f"The header {name!r} of the operation is not a valid HTTP header.",
            )
        if name.lower() in _RESERVED_HEADERS:
            raise Refusal(RefusalKind.WRONG, f"An operation cannot set the header {name!r}.")
