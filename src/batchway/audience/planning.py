"""Work out the responses to a set of requests without a lock, as far as that is possible.

A plan covers only the first requests if

- the next request is a plain write (of a list or a merge field): it must see what the requests
  before it have written, and its response is only known when it has written;
- a plain read follows a change or precedes one: it must see the changes before it, and no others;
- there are many rows to write, or the bodies or the responses are large.

If only a few requests can be planned, a separate transaction for them would be too expensive: then
Stale is raised, and they are answered together with those that follow (`transaction.py`).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from batchway.audience.calls import (
    Call,
    Stretch,
    answer_plain_calls,
    apply_member_calls,
    collect_needs,
    read_calls,
    take_while_small,
)
from batchway.audience.keys import TakeKey
from batchway.audience.settings import AudienceSettings
from batchway.audience.working_set import Changes, WorkingSet
from batchway.contract.request import Caller, Request
from batchway.contract.response import Response
from batchway.errors import Stale
from batchway.store.database import Database, is_conflict


@dataclass(frozen=True)
class Plan:
    """Responses to the first requests; valid if the changes are written."""

    responses: Sequence[Response]
    working: WorkingSet

    @cached_property
    def changes(self) -> Changes:
        """The changes to write; made at the first access."""
        return self.working.make_changes()

    def write(self, connection: Connection) -> None:
        """Write the changes; raises Stale if they cannot be written as planned."""
        with _raise_conflicts_as_stale():
            self.changes.write(connection)


def plan_requests(
    database: Database,
    settings: AudienceSettings,
    caller: Caller,
    requests: Iterable[Request],
    take_key: TakeKey,
) -> Plan:
    """Plan the responses to one or more of the first requests.

    Raises Stale if that cannot be done without a write transaction.
    """
    return _plan_calls(database, caller, _take_plannable(read_calls(requests, settings)), take_key)


def _plan_calls(database: Database, caller: Caller, calls: list[Call], take_key: TakeKey) -> Plan:
    with _raise_conflicts_as_stale(), database.read() as connection:
        working = WorkingSet(caller, take_key)
        collect_needs(working, calls)
        working.load(connection)
        responses = apply_member_calls(working, calls)
        answered = answer_plain_calls(connection, caller, calls, responses)
        planned = list(take_while_small(calls, answered))
    if any(call.is_change for call in calls[len(planned) :]):
        # The working set has the changes of calls that are left out: they would run twice.
        return _plan_calls(database, caller, calls[: len(planned)], take_key)
    return Plan(planned, working)


def _take_plannable(calls: Iterator[Call]) -> list[Call]:
    """Take the first calls that can be planned together; raises Stale if they are too few."""
    taken: list[Call] = []
    stretch = Stretch()
    for call in calls:
        if not stretch.admits(call):
            # Pages are always planned: they take long, which must not be in a write transaction.
            if not (stretch.is_long or stretch.has_pages or call.is_page):
                raise Stale
            break
        if taken and not stretch.has_room(call):
            break
        stretch.add(call)
        taken.append(call)
    return taken


def plan_separately(
    database: Database,
    settings: AudienceSettings,
    caller: Caller,
    requests: Sequence[Request],
    take_key: TakeKey,
) -> list[Response | None]:
    """Work out the response to each request alone; None for a plain write.

    Raises Stale if the database refuses one of the requests.
    """
    calls = list(read_calls(requests, settings))
    with _raise_conflicts_as_stale(), database.read() as connection:
        loaded = WorkingSet(caller, take_key)
        collect_needs(loaded, calls)
        loaded.load(connection)
        return [
            None
            if call.is_plain_write
            else _answer_alone(connection, caller, call, loaded.make_copy())
            for call in calls
        ]


def _answer_alone(
    connection: Connection, caller: Caller, call: Call, working: WorkingSet
) -> Response:
    responses = apply_member_calls(working, [call])
    [response] = answer_plain_calls(connection, caller, [call], responses)
    return response


@contextmanager
def _raise_conflicts_as_stale() -> Iterator[None]:
    """Raise Stale if the database refuses a value of a request, or if others write the same rows.

    The requests are then answered in a write transaction, which finds the one that is at fault.
    """
    try:
        yield
    except DBAPIError as error:
        if not is_conflict(error):
            raise
        raise Stale from error
