"""The built-in target: the audience API of this server answers the operations."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection

from batchway import limits
from batchway.audience.planning import Plan, plan, plan_each
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

_WITH_KEYS = ("members", "list_segments")
_continuations = msgspec.json.Decoder(Continuation)


@dataclass(frozen=True)
class _BuiltinPlan:
    plan: Plan
    results: Sequence[Result]

    def prepare(self) -> None:
        """Make the rows."""
        _ = self.plan.changes

    def write(self, connection: Connection) -> None:
        """Write what the operations do; raises Stale."""
        self.plan.write(connection)


class BuiltinTarget(PlannedTarget):
    """Answers sets of operations, and single calls as sets of one."""

    def __init__(self, database: Database, settings: AudienceSettings) -> None:
        self._database = database
        self._settings = settings
        self._blocks = {name: IdBlocks(database, name) for name in _WITH_KEYS}

    def plan(self, caller: Caller, operations: Sequence[Operation]) -> _BuiltinPlan:
        """Work the results out without a lock; raises Stale if they can only be had with one."""
        requests = _requests(operations)
        planned = plan(self._database, self._settings, caller, requests, self._next_key)
        return _BuiltinPlan(planned, [_result(each) for each in planned.responses])

    def answer_within(
        self, connection: Connection, caller: Caller, operations: Sequence[Operation]
    ) -> Sequence[Result]:
        """Work the results out and write them, in one transaction."""
        next_key = _Reserved(connection, len(operations))
        requests = _requests(operations)
        responses = answer_within(connection, self._settings, caller, requests, next_key)
        return [_result(each) for each in responses]

    def answer_page(self, caller: Caller, operation: Operation, continuation: str) -> Result:
        """The next page of a collection."""
        [request] = _requests([operation])
        request.continuation = _continuations.decode(continuation)
        planned = plan(self._database, self._settings, caller, [request], self._next_key)
        return _result(planned.responses[0])

    def check(self, caller: Caller, operations: Sequence[Operation]) -> Sequence[Result]:
        """What each operation would come to now, without the others; GETs show no items."""
        requests = list(_requests(operations))
        for request in requests:
            if request.method == "GET":
                request.params = {**request.params, "count": "0"}
        planned: Sequence[Response | None] = [None] * len(requests)
        with suppress(Stale):
            planned = plan_each(self._database, self._settings, caller, requests, self._next_key)
        unknown = [each for each, known in zip(requests, planned, strict=True) if known is None]
        tried = self._tried(caller, unknown)
        responses = [next(tried) if each is None else each for each in planned]
        return [_result(each) for each in responses]

    def _tried(self, caller: Caller, requests: Sequence[Request]) -> Iterator[Response]:
        """Each by itself; a few in a transaction, as each one keeps all writers waiting."""
        few = limits.operations_tried_at_once_max
        for first in range(0, len(requests), few):
            responses = []
            with self._database.write() as connection:
                for request in requests[first : first + few]:
                    savepoint = connection.begin_nested()
                    next_key = _Reserved(connection, 1)
                    responses += answer_within(
                        connection, self._settings, caller, [request], next_key
                    )
                    savepoint.rollback()
            yield from responses

    def answer_single(self, caller: Caller, request: Request) -> Response:
        """Answer one call in transactions of its own."""
        try:
            planned = plan(self._database, self._settings, caller, [request], self._next_key)
            if planned.changes:
                with self._database.write() as connection:
                    planned.write(connection)
        except Stale:
            with self._database.write() as connection:
                next_key = _Reserved(connection, 1)
                [response] = answer_within(connection, self._settings, caller, [request], next_key)
                return response
        return planned.responses[0]

    def _next_key(self, name: str) -> int:
        return self._blocks[name].next()


class _Reserved:
    """New keys within a transaction, reserved in blocks as they are asked for."""

    def __init__(self, connection: Connection, count: int) -> None:
        self._connection = connection
        self._count = min(count, limits.id_block_size)
        self._left: dict[str, Iterator[int]] = {}

    def __call__(self, name: str) -> int:
        for key in self._left.get(name, ()):
            return key
        self._left[name] = reserve_ids(self._connection, name, self._count)
        return next(self._left[name])


def _requests(operations: Iterable[Operation]) -> Iterator[Request]:
    """Make the requests one by one: often only the first ones are answered."""
    for each in operations:
        body = None if each.body is None else each.body.encode("utf-8", "surrogatepass")
        yield Request(each.method, each.path, each.params, body, is_paged=each.method == "GET")


def _result(response: Response) -> Result:
    on = response.continuation
    return Result(
        response.status, render_body(response), None if on is None else encode(on).decode()
    )
