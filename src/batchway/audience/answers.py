"""Answers a set of requests: those on members together, all others one by one.

The order on one resource is kept. Calls on members and plain reads in between are independent of
each other and run as one set, reads last; a plain write (a list, a merge field) is a border that
nothing crosses.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from batchway.audience.base import Plain
from batchway.audience.member_calls import MemberCall, Misread, OnMembers
from batchway.audience.routes import table
from batchway.audience.working_set import Needs, NextKey, WorkingSet
from batchway.contract.fields import check_params, select_fields
from batchway.contract.problems import Refused, internal_error
from batchway.contract.request import Caller, Request
from batchway.contract.response import Response, refusal
from batchway.errors import Stale
from batchway.store.database import Database, for_update, is_conflict

log = structlog.get_logger(__name__)

_routes = table()

T = TypeVar("T")

Prepared = MemberCall | Plain | Response  # to be applied, to be answered, or answered already


@dataclass(frozen=True)
class Plan:
    """Responses that are true once `write` has committed."""

    responses: Sequence[Response]
    working: WorkingSet | None

    @property
    def has_changes(self) -> bool:
        """Whether there is anything to write."""
        return self.working is not None and self.working.has_changes

    def write(self, connection: Connection) -> None:
        """Write the changes; raises Stale if they cannot be written as planned."""
        if self.working is None:
            return
        try:
            self.working.save(connection)
        except DBAPIError as error:
            if not is_conflict(error):
                raise
            # Some request does not fit the database, or others write the same rows. Answered
            # within one transaction, the requests can be told apart.
            raise Stale from error


def plan(
    database: Database, caller: Caller, requests: Sequence[Request], next_key: NextKey
) -> Plan:
    """Answer without holding a write transaction; raises Stale if that cannot be done."""
    prepared = [_prepare(request, caller) for request in requests]
    plain = [each for each in prepared if isinstance(each, Plain)]
    if any(each.writes for each in plain):
        raise Stale
    try:
        with database.read() as connection:
            working = _load(connection, caller, prepared, next_key)
            responses = _apply(working, requests, prepared)
            if plain and working.has_changes:
                raise Stale  # the reads are to see what the others have written
            _answer_plain(connection, caller, requests, prepared, responses)
    except DBAPIError as error:
        if not is_conflict(error):
            raise
        raise Stale from error  # as in `Plan.write`
    return Plan([each for each in responses if each is not None], working)


def answer_within(
    connection: Connection, caller: Caller, requests: Sequence[Request], next_key: NextKey
) -> list[Response]:
    """Answer and write within a transaction, whatever the requests are."""
    prepared = [_prepare(request, caller) for request in requests]
    responses: list[Response | None] = [None] * len(requests)
    for run in _runs(prepared):
        answered = _answer_run(
            connection,
            caller,
            [requests[index] for index in run],
            [prepared[index] for index in run],
            next_key,
        )
        for index, response in zip(run, answered, strict=True):
            responses[index] = response
    return [each for each in responses if each is not None]


def _prepare(request: Request, caller: Caller) -> Prepared:
    try:
        check_params(request.params)
        handler, request.path_params = _routes.match(request.method, request.path)
    except Refused as refused:
        return refusal(refused)
    if isinstance(handler, Plain):
        return handler
    return _fenced(lambda: _read(handler, request, caller))


def _read(handler: OnMembers, request: Request, caller: Caller) -> Prepared:
    try:
        return handler.read(request, caller)
    except Refused as refused:
        return Misread(request.path_params["list_id"], refused)


def _runs(prepared: Sequence[Prepared]) -> Iterator[list[int]]:
    """Indexes of requests that may be answered as one set."""
    run: list[int] = []
    for index, each in enumerate(prepared):
        if isinstance(each, Plain) and each.writes:
            if run:
                yield run
            yield [index]
            run = []
        else:
            run.append(index)
    if run:
        yield run


def _answer_run(
    connection: Connection,
    caller: Caller,
    requests: Sequence[Request],
    prepared: Sequence[Prepared],
    next_key: NextKey,
) -> list[Response]:
    try:
        with connection.begin_nested():
            return _answer_set(connection, caller, requests, prepared, next_key)
    except DBAPIError as error:
        if not is_conflict(error):
            raise
        if len(requests) == 1:
            log.exception("call_failed", method=requests[0].method, path=requests[0].path)
            return [refusal(internal_error())]
    return [
        response
        for request, each in zip(requests, prepared, strict=True)
        for response in _answer_run(connection, caller, [request], [each], next_key)
    ]


def _answer_set(
    connection: Connection,
    caller: Caller,
    requests: Sequence[Request],
    prepared: Sequence[Prepared],
    next_key: NextKey,
) -> list[Response]:
    working = _load(connection, caller, prepared, next_key, for_update(connection))
    responses = _apply(working, requests, prepared)
    working.save(connection)
    _answer_plain(connection, caller, requests, prepared, responses)
    return [each for each in responses if each is not None]


def _load(
    connection: Connection,
    caller: Caller,
    prepared: Sequence[Prepared],
    next_key: NextKey,
    lock: str = "",
) -> WorkingSet:
    working = WorkingSet(caller, next_key)
    needs: dict[str, Needs] = defaultdict(Needs)
    for each in prepared:
        if not isinstance(each, Plain | Response):
            each.want(needs[each.list_id])
    if needs:
        working.load(connection, needs, lock)
    return working


def _apply(
    working: WorkingSet, requests: Sequence[Request], prepared: Sequence[Prepared]
) -> list[Response | None]:
    """The responses of calls on members; None where a plain handler has yet to answer."""
    responses: list[Response | None] = []
    for request, each in zip(requests, prepared, strict=True):
        if isinstance(each, Response):
            responses.append(each)
        elif isinstance(each, Plain):
            responses.append(None)
        else:
            response = _fenced(lambda each=each: each.apply(working))  # type: ignore[misc]
            responses.append(select_fields(response, request.params))
    return responses


def _answer_plain(
    connection: Connection,
    caller: Caller,
    requests: Sequence[Request],
    prepared: Sequence[Prepared],
    responses: list[Response | None],
) -> None:
    for index, each in enumerate(prepared):
        if isinstance(each, Plain):
            response = _answer_alone(connection, caller, requests[index], each)
            responses[index] = select_fields(response, requests[index].params)


def _answer_alone(
    connection: Connection, caller: Caller, request: Request, handler: Plain
) -> Response:
    """One plain call; what it has written is undone if it fails."""
    if not handler.writes:
        return _fenced(lambda: handler.answer(request, caller, connection))
    savepoint = connection.begin_nested()
    response = _fenced(lambda: handler.answer(request, caller, connection))
    if response.status < 400:  # noqa: PLR2004 - an error has no effect
        savepoint.commit()
    else:
        savepoint.rollback()
    return response


def _fenced(answer: Callable[[], T]) -> T | Response:
    """The fence around one call: a mistake of ours in it is a 500 for it and for nobody else.

    What the database refuses passes through, because the transaction has to be undone.
    """
    try:
        return answer()
    except Refused as refused:
        return refusal(refused)
    except DBAPIError:
        raise
    except Exception:
        log.exception("call_failed")
        return refusal(internal_error())
