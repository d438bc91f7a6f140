"""The built-in target: the audience API of this server answers the operations."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection

from batchway import limits
from batchway.audience import calls
from batchway.audience.planning import Plan, plan_requests, plan_separately
from batchway.audience.settings import AudienceSettings
from batchway.audience.transaction import answer_within
from batchway.contract.paging import Continuation
from batchway.contract.request import Caller, Request
from batchway.contract.response import Response, encode, render_body
from batchway.errors import Stale
from batchway.model.operation import Operation
from batchway.model.result import Result
from batchway.store.database import Database
from batchway.store.ids import IdBlocks, reserve_ids
from batchway.targets.base import PlannedTarget

_TABLES_WITH_KEYS = ("members", "list_segments")
_continuations = msgspec.json.Decoder(Continuation)


@dataclass(frozen=True)
class _BuiltinPlan:
    plan: Plan
    results: Sequence[Result]

    def prepare(self) -> None:
        """Make the rows that `write` inserts."""
        _ = self.plan.changes

    def write(self, connection: Connection) -> None:
        """Write the effects of the operations; raises Stale."""
        self.plan.write(connection)


class BuiltinTarget(PlannedTarget):
    """Answers operations of batches, and single calls, by the audience API."""

    def __init__(self, database: Database, settings: AudienceSettings) -> None:
        self._database = database
        self._settings = settings
        self._blocks = {name: IdBlocks(database, name) for name in _TABLES_WITH_KEYS}

    def plan(self, caller: Caller, operations: Sequence[Operation]) -> _BuiltinPlan:
        """Work out the results without a lock; raises Stale if that is not possible."""
        planned = self._plan(caller, _make_requests(operations))
        return _BuiltinPlan(planned, [_make_result(response) for response in planned.responses])

    def answer_within(
        self, connection: Connection, caller: Caller, operations: Sequence[Operation]
    ) -> Sequence[Result]:
        """Work out the results and write the effects, in the given transaction."""
        requests, count = _make_requests(operations), len(operations)
        responses = self._answer_within(connection, caller, requests, count)
        return [_make_result(response) for response in responses]

    def answer_page(self, caller: Caller, operation: Operation, continuation: str) -> Result:
        """Return the next page of a collection."""
        [request] = _make_requests([operation])
        request.continuation = _continuations.decode(continuation)
        return _make_result(self._plan(caller, [request]).responses[0])

    def check(self, caller: Caller, operations: Sequence[Operation]) -> Sequence[Result]:
        """Return the result that each operation would have alone; those of GETs have no items."""
        requests = list(_make_requests(operations))
        for request in requests:
            if request.method == "GET":
                request.params = {**request.params, "count": "0"}
        planned: Sequence[Response | None] = [None] * len(requests)
        with suppress(Stale):
            planned = plan_separately(
                self._database, self._settings, caller, requests, self._take_key
            )
        pairs = zip(requests, planned, strict=True)
        unplanned = [request for request, response in pairs if response is None]
        others = self._answer_without_effect(caller, unplanned)
        return [
            _make_result(next(others) if response is None else response) for response in planned
        ]

    def _answer_without_effect(
        self, caller: Caller, requests: Sequence[Request]
    ) -> Iterator[Response]:
        """Yield the response to each request alone; its effect is rolled back.

        A transaction answers only a few requests, because all writers wait for it.
        """
        count = limits.operations_tried_at_once_max
        for first in range(0, len(requests), count):
            responses: list[Response] = []
            with self._database.write() as connection:
                for request in requests[first : first + count]:
                    savepoint = connection.begin_nested()
                    responses += self._answer_within(connection, caller, [request], 1)
                    savepoint.rollback()
            yield from responses

    def answer_single(self, caller: Caller, request: Request) -> Response:
        """Answer one call in transactions of its own."""
        return self._answer_first(caller, [request])[0]

    def find_set(self, request: Request) -> str | None:
        """Return the name of the set: quick reads, or quick changes of members."""
        return calls.find_set(request)

    def answer_set(self, caller: Caller, requests: Sequence[Request]) -> Sequence[Response]:
        """Answer calls as those of a chunk: in one transaction, if no other one interferes."""
        responses: list[Response] = []
        while len(responses) < len(requests):
            responses += self._answer_first(caller, requests[len(responses) :])
        return responses

    def _answer_first(self, caller: Caller, requests: Sequence[Request]) -> Sequence[Response]:
        """Answer one or more of the first calls, in one transaction."""
        try:
            planned = self._plan(caller, requests)
            if planned.changes:
                with self._database.write() as connection:
                    planned.write(connection)
        except Stale:
            with self._database.write() as connection:
                return self._answer_within(connection, caller, requests, len(requests))
        return planned.responses

    def _plan(self, caller: Caller, requests: Iterable[Request]) -> Plan:
        return plan_requests(self._database, self._settings, caller, requests, self._take_key)

    def _answer_within(
        self, connection: Connection, caller: Caller, requests: Iterable[Request], count: int
    ) -> Sequence[Response]:
        take_key = _ReservedKeys(connection, count)
        return answer_within(connection, self._settings, caller, requests, take_key)

    def _take_key(self, name: str) -> int:
        return self._blocks[name].take_key()


class _ReservedKeys:
    """Takes keys of new rows within a transaction; they are reserved in blocks of `count`."""

    def __init__(self, connection: Connection, count: int) -> None:
        self._connection = connection
        self._count = min(count, limits.id_block_size)
        self._left: dict[str, Iterator[int]] = {}

    def __call__(self, name: str) -> int:
        for key in self._left.get(name, ()):
            return key
        self._left[name] = reserve_ids(self._connection, name, self._count)
        return next(self._left[name])


def _make_requests(operations: Iterable[Operation]) -> Iterator[Request]:
    """Yield a request for each operation, when it is needed: often only the first are answered."""
    for operation in operations:
        text, is_get = operation.body, operation.method == "GET"
        body = None if text is None else text.encode("utf-8", "surrogatepass")
        request = Request(operation.method, operation.path, operation.params, body, is_paged=is_get)
        if operation.headers:
            request.headers, request.chose_headers = operation.headers, True
        yield request


def _make_result(response: Response) -> Result:
    continuation = response.continuation
    text = None if continuation is None else encode(continuation).decode()
    return Result(response.status, render_body(response), text)
