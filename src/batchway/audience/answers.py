"""Answers a set of requests: those on members together, all others one by one.

A set may be answered in part: its first requests only, when their responses are large together.

The order on one resource is kept. Calls on members and plain reads in between are independent of
each other and run as one set, reads last; a plain write (a list, a merge field) is a border that
nothing crosses.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import ParamSpec, TypeVar

import msgspec
import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from batchway import limits
from batchway.audience.base import Plain
from batchway.audience.member_calls import MemberCall, Misread, OnMembers
from batchway.audience.pages import ask_for_page, next_page, with_count
from batchway.audience.routes import table
from batchway.audience.working_set import Changes, Needs, NextKey, WorkingSet
from batchway.contract.fields import check_params, select_fields
from batchway.contract.problems import Refused, internal_error
from batchway.contract.request import Caller, Request
from batchway.contract.response import Response, encode, refusal
from batchway.errors import Stale
from batchway.store.database import Database, for_update, is_conflict

log = structlog.get_logger(__name__)

_routes = table()

T = TypeVar("T")
P = ParamSpec("P")

Prepared = MemberCall | Plain | Response  # to be applied, to be answered, or answered already
_NOT_ON_MEMBERS = (Plain, Response)


@dataclass(frozen=True)
class Plan:
    """Responses to the first requests (to all, if they change anything).

    They are true once `write` has committed.
    """

    responses: Sequence[Response]
    working: WorkingSet

    @cached_property
    def changes(self) -> Changes:
        """What there is to write; made when it is first asked for."""
        return self.working.changes()

    def write(self, connection: Connection) -> None:
        """Write the changes; raises Stale if they cannot be written as planned."""
        with _conflicts_are_stale():
            self.changes.write(connection)


def plan(
    database: Database, caller: Caller, requests: Sequence[Request], next_key: NextKey
) -> Plan:
    """Answer without holding a write transaction; raises Stale if that cannot be done.

    Answers at least one request, and no further ones once the responses are large.
    """
    calls = [_prepare(request, caller) for request in requests]
    plain = [call.prepared for call in calls if isinstance(call.prepared, Plain)]
    if any(handler.writes for handler in plain):
        raise Stale
    with _conflicts_are_stale(), database.read() as connection:
        working = _load(connection, caller, calls, next_key)
        responses = _apply(working, calls)
        if plain and working.has_changes:
            raise Stale  # the reads are to see what the others have written
        completed = _completed(connection, caller, calls, responses)
        return Plan(list(_bounded(calls, completed)), working)


def plan_each(
    database: Database, caller: Caller, requests: Sequence[Request], next_key: NextKey
) -> list[Response | None]:
    """What each request would be answered if it came alone; None if only writing can show it.

    Raises Stale if that cannot be told for all at once.
    """
    calls = [_prepare(request, caller) for request in requests]
    with _conflicts_are_stale(), database.read() as connection:
        loaded = _load(connection, caller, calls, next_key)
        return [
            None if call.is_border else _answer_read(connection, caller, call, loaded.copied())
            for call in calls
        ]


def answer_within(
    connection: Connection, caller: Caller, requests: Sequence[Request], next_key: NextKey
) -> list[Response]:
    """Answer and write within a transaction, whatever the requests are.

    Answers at least one request, and no further ones once the responses are large.
    """
    calls = [_prepare(request, caller) for request in requests]
    responses: list[Response] = []
    size = 0
    for run in _runs(calls):
        answered = _answer_run(connection, caller, run, next_key)
        responses += answered
        size += sum(map(_page_bytes, run, answered))
        if size >= limits.answer_bytes_max:
            break
    return responses


class _Call(msgspec.Struct, frozen=True, gc=False):
    """A request, and what is to be done about it."""

    request: Request
    prepared: Prepared
    items: str = ""  # the field with the items of a page

    @property
    def is_border(self) -> bool:
        """Whether the calls before it must be written before it, and those behind it after it."""
        return isinstance(self.prepared, Plain) and self.prepared.writes


def _prepare(request: Request, caller: Caller) -> _Call:
    try:
        check_params(request.params)
        handler, request.path_params = _routes.match(request.method, request.path)
    except Refused as refused:
        return _Call(request, refusal(refused))
    ask_for_page(request, handler.items)
    if isinstance(handler, Plain):
        return _Call(request, handler, handler.items)
    return _Call(request, _fenced(_read, handler, request, caller), handler.items)


def _read(handler: OnMembers, request: Request, caller: Caller) -> Prepared:
    try:
        return handler.read(request, caller)
    except Refused as refused:
        return Misread(request.path_params["list_id"], refused)


def _runs(calls: Sequence[_Call]) -> Iterator[Sequence[_Call]]:
    """Consecutive calls that may be answered as one set; few of them have large responses."""
    for is_border, run in groupby(calls, key=lambda call: call.is_border):
        if is_border:
            yield from ([call] for call in run)
        else:
            yield from _with_few_pages(run)


def _with_few_pages(calls: Iterable[_Call]) -> Iterator[Sequence[_Call]]:
    run: list[_Call] = []
    page_count = 0
    for call in calls:
        if call.items and page_count == limits.pages_at_once_max:
            yield run
            run, page_count = [], 0
        run.append(call)
        page_count += bool(call.items)
    yield run


def _answer_run(
    connection: Connection, caller: Caller, calls: Sequence[_Call], next_key: NextKey
) -> list[Response]:
    """Answer a set; if the database refuses it, halve it until the call at fault stands alone."""
    try:
        with connection.begin_nested():
            return _answer_set(connection, caller, calls, next_key)
    except DBAPIError as error:
        if not is_conflict(error):
            raise
        if len(calls) == 1:
            request = calls[0].request
            log.exception("call_failed", method=request.method, path=request.path)
            return [refusal(internal_error())]
    middle = len(calls) // 2
    return [
        *_answer_run(connection, caller, calls[:middle], next_key),
        *_answer_run(connection, caller, calls[middle:], next_key),
    ]


def _answer_set(
    connection: Connection, caller: Caller, calls: Sequence[_Call], next_key: NextKey
) -> list[Response]:
    working = _load(connection, caller, calls, next_key, for_update(connection))
    responses = _apply(working, calls)
    working.changes().write(connection)
    return list(_completed(connection, caller, calls, responses))


def _load(
    connection: Connection,
    caller: Caller,
    calls: Sequence[_Call],
    next_key: NextKey,
    lock: str = "",
) -> WorkingSet:
    working = WorkingSet(caller, next_key)
    needs: dict[str, Needs] = defaultdict(Needs)
    for call in calls:
        if not isinstance(call.prepared, _NOT_ON_MEMBERS):
            call.prepared.want(needs[call.prepared.list_id])
    if needs:
        working.load(connection, needs, lock)
    return working


def _apply(working: WorkingSet, calls: Sequence[_Call]) -> list[Response | None]:
    """The responses of calls on members; None where a plain handler has yet to answer."""
    responses: list[Response | None] = []
    for call in calls:
        prepared = call.prepared
        if isinstance(prepared, Response):
            responses.append(prepared)
        elif isinstance(prepared, Plain):
            responses.append(None)
        else:
            responses.append(_shown(call, _fenced(prepared.apply, working)))
    return responses


def _completed(
    connection: Connection,
    caller: Caller,
    calls: Sequence[_Call],
    responses: Sequence[Response | None],
) -> Iterator[Response]:
    """The responses, with those of the plain handlers in their places."""
    for call, response in zip(calls, responses, strict=True):
        if response is None and isinstance(call.prepared, Plain):
            answered = _answer_alone(connection, caller, call.request, call.prepared)
            yield _shown(call, answered)
        elif response is not None:
            yield response


def _answer_read(
    connection: Connection, caller: Caller, call: _Call, working: WorkingSet
) -> Response:
    [response] = _completed(connection, caller, [call], _apply(working, [call]))
    return response


def _bounded(calls: Sequence[_Call], responses: Iterable[Response]) -> Iterator[Response]:
    """The first responses, until they are large together."""
    size = 0
    for call, response in zip(calls, responses, strict=True):
        yield response
        size += _page_bytes(call, response)
        if size >= limits.answer_bytes_max:
            return


def _page_bytes(call: _Call, response: Response) -> int:
    """The bytes of a page; other responses are small, and there are not more than in a chunk."""
    return len(response.body) if call.items and isinstance(response.body, msgspec.Raw) else 0


def _shown(call: _Call, response: Response) -> Response:
    """The fields that were asked for; a page is encoded, so that many need little memory."""
    request = call.request
    shown = select_fields(response, request.params)
    if not call.items or response.status != 200:  # noqa: PLR2004
        return shown
    if not request.is_paged:
        return msgspec.structs.replace(shown, body=msgspec.Raw(encode(shown.body)))
    return with_count(shown, *next_page(request, call.items, response))


def _answer_alone(
    connection: Connection, caller: Caller, request: Request, handler: Plain
) -> Response:
    """One plain call; what it has written is undone if it fails."""
    if not handler.writes:
        return _fenced(handler.answer, request, caller, connection)
    savepoint = connection.begin_nested()
    response = _fenced(handler.answer, request, caller, connection)
    if response.status < 400:  # noqa: PLR2004 - an error has no effect
        savepoint.commit()
    else:
        savepoint.rollback()
    return response


@contextmanager
def _conflicts_are_stale() -> Iterator[None]:
    """Some request does not fit the database, or others write the same rows.

    Answered within one transaction, the requests can be told apart.
    """
    try:
        yield
    except DBAPIError as error:
        if not is_conflict(error):
            raise
        raise Stale from error


def _fenced(answer: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | Response:
    """The fence around one call: a mistake of ours in it is a 500 for it and for nobody else.

    What the database refuses passes through, because the transaction has to be undone.
    """
    try:
        return answer(*args, **kwargs)
    except Refused as refused:
        return refusal(refused)
    except DBAPIError:
        raise
    except Exception:
        log.exception("call_failed")
        return refusal(internal_error())
