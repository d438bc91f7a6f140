"""Requests that are answered together: read into calls, applied, and rendered.

A call on members is applied to a working set in memory. A plain call is answered by its handler,
within a transaction. Of a set, the calls on members come first, and are written before the plain
reads see them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import msgspec
import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from batchway import limits
from batchway.audience.base import Plain
from batchway.audience.members.base import MemberCall, OnMembers
from batchway.audience.pages import ask_for_page, encode_page, find_next_page
from batchway.audience.routes import table
from batchway.audience.settings import AudienceSettings
from batchway.audience.working_set import ListSet, WorkingSet
from batchway.contract.fields import check_params, select_fields
from batchway.contract.problems import Refused, internal_error
from batchway.contract.request import Caller, Request
from batchway.contract.response import Response, encode, refusal
from batchway.kit.logs import log_exception

log = structlog.get_logger(__name__)

_routes = table()

T = TypeVar("T")
P = ParamSpec("P")


class Call(msgspec.Struct, frozen=True, gc=False):
    """A request, and what is to be done about it: it may be answered already."""

    request: Request
    action: MemberCall | Plain | Response
    items: str = ""  # the field with the items of a page
    row_count: int = 0  # rows that a call on members may write, roughly

    @property
    def is_plain_write(self) -> bool:
        """Whether calls before it must be written before it, and those after it after it."""
        return isinstance(self.action, Plain) and self.action.writes

    @property
    def is_change(self) -> bool:
        """Whether it may change something that plain reads show."""
        return self.request.method != "GET"

    @property
    def is_page(self) -> bool:
        """Whether it reads many rows, and may take long."""
        return bool(self.items) and isinstance(self.action, Plain)

    @property
    def cost(self) -> int:
        """How long the call takes under a lock, in the unit of `limits.locked_cost_max`."""
        return limits.plain_write_cost if self.is_plain_write else 1 + self.row_count


class Stretch:
    """Consecutive calls that can be planned together: no plain writes, no reads beside changes."""

    def __init__(self) -> None:
        self.call_count = 0
        self.row_count = 0
        self.has_pages = False
        self._has_changes = False
        self._has_plain_reads = False
        self._has_plain_writes = False

    @property
    def is_long(self) -> bool:
        """Whether the calls are worth a plan, and a transaction, of their own."""
        return self.call_count >= limits.planned_calls_min

    def admits(self, call: Call) -> bool:
        """Whether a call can be planned together with those that are here."""
        if isinstance(call.action, Plain):
            return not (self._has_changes or call.action.writes)
        return not (self._has_plain_writes or (self._has_plain_reads and call.is_change))

    def add(self, call: Call) -> None:
        """Add a call; a plain write is a stretch of its own."""
        self.call_count += 1
        self.row_count += call.row_count
        self._has_changes = self._has_changes or call.is_change
        if isinstance(call.action, Plain):
            self.has_pages = self.has_pages or call.is_page
            self._has_plain_reads = self._has_plain_reads or not call.action.writes
            self._has_plain_writes = self._has_plain_writes or call.action.writes


@dataclass(frozen=True, slots=True)
class _WrongCall:
    """A call on members whose request is wrong. That its list does not exist is reported first."""

    list_id: str
    refused: Refused
    row_count: int = 0

    def want(self, list_set: ListSet) -> None:
        """Need nothing but the list."""

    def apply(self, _list_set: ListSet) -> Response:
        """Raise what is wrong."""
        raise self.refused


def read_calls(requests: Iterable[Request], settings: AudienceSettings) -> Iterator[Call]:
    """Read requests into calls, each when it is taken: often only the first ones are."""
    for request in requests:
        yield _read_call(request, settings)


def _read_call(request: Request, settings: AudienceSettings) -> Call:
    try:
        check_params(request.params)
        handler, request.path_params = _routes.match(request.method, request.path)
    except Refused as refused:
        return Call(request, refusal(refused))
    ask_for_page(request, handler.items)
    if isinstance(handler, Plain):
        return Call(request, handler, handler.items)
    action = _contain(_read_member_call, handler, request, settings)
    row_count = 0 if isinstance(action, Response) else action.row_count
    return Call(request, action, handler.items, row_count)


def _read_member_call(
    handler: OnMembers, request: Request, settings: AudienceSettings
) -> MemberCall:
    try:
        return handler.read(request, settings)
    except Refused as refused:
        return _WrongCall(request.path_params["list_id"], refused)


def want_all(working: WorkingSet, calls: Iterable[Call]) -> None:
    """Say what all calls on members need."""
    for call in calls:
        action = call.action
        if not isinstance(action, Plain | Response):
            action.want(working.want_list(action.list_id))


def apply_all(working: WorkingSet, calls: Iterable[Call]) -> list[Response | None]:
    """Apply calls on members; None where a plain handler has yet to answer."""
    responses: list[Response | None] = []
    for call in calls:
        action = call.action
        if isinstance(action, Response):
            responses.append(action)
        elif isinstance(action, Plain):
            responses.append(None)
        else:
            responses.append(_render(call, _contain(_apply, working, action)))
    return responses


def _apply(working: WorkingSet, action: MemberCall) -> Response:
    return action.apply(working.get_list(action.list_id))


def answer_plain_calls(
    connection: Connection,
    caller: Caller,
    calls: Iterable[Call],
    responses: Iterable[Response | None],
) -> Iterator[Response]:
    """Complete the responses with those of the plain handlers."""
    for call, response in zip(calls, responses, strict=True):
        if response is not None:
            yield response
        elif isinstance(call.action, Plain):
            answered = _answer_plain(connection, caller, call.request, call.action)
            yield _render(call, answered)


def _answer_plain(
    connection: Connection, caller: Caller, request: Request, handler: Plain
) -> Response:
    """Answer one plain call; what it has written is undone if it fails."""
    if not handler.writes:
        return _contain(handler.answer, request, caller, connection)
    savepoint = connection.begin_nested()
    response = _contain(handler.answer, request, caller, connection)
    if response.status < 400:  # noqa: PLR2004 - an error has no effect
        savepoint.commit()
    else:
        savepoint.rollback()
    return response


def take_while_small(calls: Sequence[Call], responses: Iterable[Response]) -> Iterator[Response]:
    """Yield the first responses, until they are large together."""
    size = 0
    for call, response in zip(calls, responses, strict=True):
        yield response
        size += _count_page_bytes(call, response)
        if size >= limits.answer_bytes_max:
            return


def _count_page_bytes(call: Call, response: Response) -> int:
    """The bytes of a page. Other responses are small, and there are not more than in a chunk."""
    return len(response.body) if call.items and isinstance(response.body, msgspec.Raw) else 0


def _render(call: Call, response: Response) -> Response:
    """Select the fields that were asked for; encode a page, so that many need little memory."""
    request = call.request
    selected = select_fields(response, request.params)
    if not call.items or response.status != 200:  # noqa: PLR2004
        return selected
    if not request.is_paged:
        return msgspec.structs.replace(selected, body=msgspec.Raw(encode(selected.body)))
    return encode_page(selected, *find_next_page(request, call.items, response))


def _contain(answer: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | Response:
    """Turn a mistake of ours in one call into a 500 for this call alone.

    What the database refuses passes through, because the transaction has to be rolled back.
    """
    try:
        return answer(*args, **kwargs)
    except Refused as refused:
        return refusal(refused)
    except DBAPIError:
        raise
    except Exception:
        log_exception(log, "call_failed")
        return refusal(internal_error())
