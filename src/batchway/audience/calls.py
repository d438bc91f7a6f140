"""Requests that are answered together: read into calls, applied, and rendered.

A call on members is applied to a working set in memory. A plain call is answered by its handler,
within a transaction. The calls on members of a set are applied and written first; then the plain
calls of the set are answered.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import msgspec
import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from batchway import limits
from batchway.audience.base import PlainHandler
from batchway.audience.headers import check_headers
from batchway.audience.members.base import MemberCall, MemberHandler
from batchway.audience.pages import ask_for_page, encode_page, find_next_page
from batchway.audience.routes import make_route_table
from batchway.audience.settings import AudienceSettings
from batchway.audience.working_set import ListSet, WorkingSet
from batchway.contract.fields import check_params, select_fields
from batchway.contract.problems import Refused, internal_error
from batchway.contract.request import Caller, Request
from batchway.contract.response import Response, build_error_response, encode
from batchway.kit.logs import log_exception

log = structlog.get_logger(__name__)

_routes = make_route_table()

T = TypeVar("T")
P = ParamSpec("P")


class Call(msgspec.Struct, frozen=True, gc=False):
    """A request, and what answers it: a member call, a handler, or a response that is known."""

    request: Request
    action: MemberCall | PlainHandler | Response
    items: str = ""  # the name of the field with the items of a page
    row_count: int = 0  # rows that a call on members may write, roughly

    @property
    def is_plain_write(self) -> bool:
        """Whether it must be answered after all calls before it were written, and alone."""
        return isinstance(self.action, PlainHandler) and self.action.writes

    @property
    def is_change(self) -> bool:
        """Whether it may change what plain reads show."""
        return self.request.method != "GET"

    @property
    def is_page(self) -> bool:
        """Whether it reads many rows, and may take long."""
        return bool(self.items) and isinstance(self.action, PlainHandler)

    @property
    def byte_count(self) -> int:
        """The bytes of its body; what was read from it needs a multiple of that."""
        return len(self.request.body or b"")

    @property
    def cost(self) -> int:
        """How long the call takes in a write transaction, in the unit of `locked_cost_max`."""
        return limits.plain_write_cost if self.is_plain_write else 1 + self.row_count


class Stretch:
    """Consecutive calls that can be planned together: no plain writes, no reads beside changes."""

    def __init__(self) -> None:
        self.call_count = 0
        self.row_count = 0
        self._byte_count = 0
        self.has_pages = False
        self._has_changes = False
        self._has_plain_reads = False
        self._has_plain_writes = False

    @property
    def is_long(self) -> bool:
        """Whether there are enough calls for a separate plan and transaction."""
        return self.call_count >= limits.planned_calls_min

    def has_room(self, call: Call) -> bool:
        """Whether one plan may have as many rows, and as many bytes of bodies, with a call more."""
        return (
            self.row_count + call.row_count <= limits.planned_rows_max
            and self._byte_count + call.byte_count <= limits.planned_bytes_max
        )

    def admits(self, call: Call) -> bool:
        """Return whether a call can be planned together with those of the stretch."""
        if isinstance(call.action, PlainHandler):
            return not (self._has_changes or call.action.writes)
        return not (self._has_plain_writes or (self._has_plain_reads and call.is_change))

    def add(self, call: Call) -> None:
        """Add a call that the stretch admits, or a plain write to an empty stretch."""
        self.call_count += 1
        self.row_count += call.row_count
        self._byte_count += call.byte_count
        self._has_changes = self._has_changes or call.is_change
        if isinstance(call.action, PlainHandler):
            self.has_pages = self.has_pages or call.is_page
            self._has_plain_reads = self._has_plain_reads or not call.action.writes
            self._has_plain_writes = self._has_plain_writes or call.action.writes


@dataclass(frozen=True, slots=True)
class _WrongCall:
    """A member call whose request is wrong; if its list does not exist, the response is a 404.

    It has the response instead of the exception: an exception holds the frames that it passed, and
    these hold the call. Python cannot free such a cycle, because `Call` is not tracked.
    """

    list_id: str
    response: Response
    row_count: int = 0

    def want(self, list_set: ListSet) -> None:
        """Do nothing: only the list is needed."""

    def apply(self, _list_set: ListSet) -> Response:
        """Return the problem of the request."""
        return self.response


def find_set(request: Request) -> str | None:
    """Return with which other single calls a call may be answered; None if it may take long.

    Reads are not answered together with changes, which may have to wait for a lock.
    """
    try:
        handler, _ = _routes.match(request.method, request.path)
    except Refused:
        return None
    is_long = bool(handler.items) or len(request.body or b"") > limits.gathered_body_bytes_max
    if is_long or (isinstance(handler, PlainHandler) and handler.writes):
        return None
    return "reads" if request.method == "GET" else "changes"


def read_calls(requests: Iterable[Request], settings: AudienceSettings) -> Iterator[Call]:
    """Yield the call of each request, when it is needed: often only the first are."""
    for request in requests:
        yield _read_call(request, settings)


def _read_call(request: Request, settings: AudienceSettings) -> Call:
    try:
        check_params(request.params)
        if request.chose_headers:
            check_headers(request.headers)
        handler, request.path_params = _routes.match(request.method, request.path)
    except Refused as refused:
        return Call(request, build_error_response(refused))
    ask_for_page(request, handler.items)
    if isinstance(handler, PlainHandler):
        return Call(request, handler, handler.items)
    action = _catch_errors(_read_member_call, handler, request, settings)
    row_count = 0 if isinstance(action, Response) else action.row_count
    return Call(request, action, handler.items, row_count)


def _read_member_call(
    handler: MemberHandler, request: Request, settings: AudienceSettings
) -> MemberCall:
    try:
        return handler.read(request, settings)
    except Refused as refused:
        return _WrongCall(request.path_params["list_id"], build_error_response(refused))


def collect_needs(working: WorkingSet, calls: Iterable[Call]) -> None:
    """Tell the working set what all member calls need."""
    for call in calls:
        action = call.action
        if not isinstance(action, PlainHandler | Response):
            action.want(working.want_list(action.list_id))


def apply_member_calls(working: WorkingSet, calls: Iterable[Call]) -> list[Response | None]:
    """Apply the member calls; return None for each call that a plain handler must answer."""
    responses: list[Response | None] = []
    for call in calls:
        action = call.action
        if isinstance(action, Response):
            responses.append(action)
        elif isinstance(action, PlainHandler):
            responses.append(None)
        else:
            responses.append(_render(call, _catch_errors(_apply, working, action)))
    return responses


def _apply(working: WorkingSet, action: MemberCall) -> Response:
    return action.apply(working.get_list(action.list_id))


def answer_plain_calls(
    connection: Connection,
    caller: Caller,
    calls: Iterable[Call],
    responses: Iterable[Response | None],
) -> Iterator[Response]:
    """Yield all responses, with those of the plain handlers where there is None."""
    for call, response in zip(calls, responses, strict=True):
        if response is not None:
            yield response
        elif isinstance(call.action, PlainHandler):
            answered = _answer_plain(connection, caller, call.request, call.action)
            yield _render(call, answered)


def _answer_plain(
    connection: Connection, caller: Caller, request: Request, handler: PlainHandler
) -> Response:
    """Answer one plain call; what it has written is rolled back if it fails."""
    if not handler.writes:
        return _catch_errors(handler.answer, request, caller, connection)
    savepoint = connection.begin_nested()
    response = _catch_errors(handler.answer, request, caller, connection)
    if response.status < 400:  # noqa: PLR2004 - an error has no effect
        savepoint.commit()
    else:
        savepoint.rollback()
    return response


def take_while_small(calls: Sequence[Call], responses: Iterable[Response]) -> Iterator[Response]:
    """Yield responses until their pages have `answer_bytes_max` bytes."""
    size = 0
    for call, response in zip(calls, responses, strict=True):
        yield response
        size += _count_page_bytes(call, response)
        if size >= limits.answer_bytes_max:
            return


def _count_page_bytes(call: Call, response: Response) -> int:
    """Return the bytes of a page, and 0 for other responses, which are small."""
    return len(response.body) if call.items and isinstance(response.body, msgspec.Raw) else 0


def _render(call: Call, response: Response) -> Response:
    """Select the fields that the request names; encode a page, so that it needs less memory."""
    request = call.request
    selected = select_fields(response, request.params)
    if not call.items or response.status != 200:  # noqa: PLR2004
        return selected
    if not request.is_paged:
        return msgspec.structs.replace(selected, body=msgspec.Raw(encode(selected.body)))
    return encode_page(selected, *find_next_page(request, call.items, response))


def _catch_errors(answer: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | Response:
    """Return the response for an error: a refusal, or a 500 for an error of this server.

    Errors of the database are raised, because the transaction must be rolled back.
    """
    try:
        return answer(*args, **kwargs)
    except Refused as refused:
        return build_error_response(refused)
    except DBAPIError:
        raise
    except Exception:
        log_exception(log, "call_failed")
        return build_error_response(internal_error())
