"""Answer requests of any kind within a write transaction, up to a limit.

On SQLite, all other writers wait for the transaction. So it answers only the first requests, up to
a cost, and ends before requests that can be planned without a lock (`planning.py`).
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from batchway import limits
from batchway.audience.calls import (
    Call,
    Stretch,
    answer_plain_calls,
    apply_member_calls,
    collect_needs,
    read_calls,
)
from batchway.audience.keys import TakeKey
from batchway.audience.settings import AudienceSettings
from batchway.audience.working_set import WorkingSet
from batchway.contract.problems import internal_error
from batchway.contract.request import Caller, Request
from batchway.contract.response import Response, build_error_response
from batchway.kit.logs import log_exception
from batchway.store.database import is_conflict, sql_for_update

log = structlog.get_logger(__name__)


def answer_within(
    connection: Connection,
    settings: AudienceSettings,
    caller: Caller,
    requests: Iterable[Request],
    take_key: TakeKey,
) -> list[Response]:
    """Answer one or more of the first requests, and write their effects."""
    calls = _take_bounded(read_calls(requests, settings))
    responses: list[Response] = []
    for group in _split_at_plain_writes(calls):
        responses += _answer_isolated(connection, caller, group, take_key)
    return responses


def _take_bounded(calls: Iterator[Call]) -> list[Call]:
    """Take the first calls, up to a cost and a size, without those that can be planned later."""
    taken: list[Call] = []
    cost = byte_count = 0
    stretch = Stretch()
    for call in calls:
        if taken and (call.is_page or stretch.has_pages):
            break
        if not stretch.admits(call):
            stretch = Stretch()
        stretch.add(call)
        begins_set = not call.is_plain_write and (not taken or taken[-1].is_plain_write)
        cost += call.cost + (limits.locked_set_cost if begins_set else 0)
        byte_count += call.byte_count
        if taken and (cost > limits.locked_cost_max or byte_count > limits.planned_bytes_max):
            break
        taken.append(call)
        if stretch.is_long and stretch.call_count < len(taken):
            return taken[: -stretch.call_count]
    return taken


def _split_at_plain_writes(calls: Sequence[Call]) -> Iterator[Sequence[Call]]:
    """Yield the calls in groups: each plain write is one group, so that the order is kept."""
    for is_plain_write, group in groupby(calls, key=lambda call: call.is_plain_write):
        if is_plain_write:
            yield from ([call] for call in group)
        else:
            yield list(group)


def _answer_isolated(
    connection: Connection, caller: Caller, calls: Sequence[Call], take_key: TakeKey
) -> list[Response]:
    """Answer calls; if the database refuses them, halve them until the one at fault is alone."""
    try:
        with connection.begin_nested():
            return _answer_set(connection, caller, calls, take_key)
    except DBAPIError as error:
        if not is_conflict(error):
            raise
        if len(calls) == 1:
            request = calls[0].request
            log_exception(log, "call_failed", method=request.method, path=request.path)
            return [build_error_response(internal_error())]
    middle = len(calls) // 2
    return [
        *_answer_isolated(connection, caller, calls[:middle], take_key),
        *_answer_isolated(connection, caller, calls[middle:], take_key),
    ]


def _answer_set(
    connection: Connection, caller: Caller, calls: Sequence[Call], take_key: TakeKey
) -> list[Response]:
    working = WorkingSet(caller, take_key)
    collect_needs(working, calls)
    working.load(connection, sql_for_update(connection))
    responses = apply_member_calls(working, calls)
    working.make_changes().write(connection)
    return list(answer_plain_calls(connection, caller, calls, responses))
