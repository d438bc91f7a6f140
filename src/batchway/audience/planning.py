"""Work out the responses to a set of requests without holding a lock, as far as that is possible.

A plan covers the first requests only, if

- the next one is a plain write (of a list or a merge field): it must see what the requests before
  it have written, and only the write transaction shows what it does;
- plain reads and changes meet: a read must see the changes before it, and none after it;
- the rows to write are many, or the responses are large together.

If the first requests that can be planned are few, they are not worth a transaction of their own:
the plan is Stale, and they are answered together with those that follow (`transaction.py`).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from batchway import limits
from batchway.audience.calls import (
    Call,
    Stretch,
    answer_plain_calls,
    apply_all,
    read_calls,
    take_while_small,
    want_all,
)
from batchway.audience.keys import NextKey
from batchway.audience.settings import AudienceSettings
from batchway.audience.working_set import Changes, WorkingSet
from batchway.contract.request import Caller, Request
from batchway.contract.response import Response
from batchway.errors import Stale
from batchway.store.database import Database, is_conflict


@dataclass(frozen=True)
class Plan:
    """Responses to the first requests. They are true once `write` has committed."""

    responses: Sequence[Response]
    working: WorkingSet

    @cached_property
    def changes(self) -> Changes:
        """What there is to write; made when it is first asked for."""
        return self.working.make_changes()

    def write(self, connection: Connection) -> None:
        """Write the changes; raises Stale if they cannot be written as planned."""
        with _raise_conflicts_as_stale():
            self.changes.write(connection)


def plan(
    database: Database,
    settings: AudienceSettings,
    caller: Caller,
    requests: Iterable[Request],
    next_key: NextKey,
) -> Plan:
    """Plan the responses to one or more of the first requests.

    Raises Stale if that cannot be done without a write transaction.
    """
    calls = _take_plannable(read_calls(requests, settings))
    with _raise_conflicts_as_stale(), database.read() as connection:
        working = WorkingSet(caller, next_key)
        want_all(working, calls)
        working.load(connection)
        responses = apply_all(working, calls)
        answered = answer_plain_calls(connection, caller, calls, responses)
        return Plan(list(take_while_small(calls, answered)), working)


def _take_plannable(calls: Iterator[Call]) -> list[Call]:
    """Take the first calls that can be planned together; raises Stale if they are too few."""
    taken: list[Call] = []
    stretch = Stretch()
    for call in calls:
        if not stretch.admits(call):
            # Pages are always planned: they take long, and must not do so under the lock.
            if not (stretch.is_long or stretch.has_pages or call.is_page):
                raise Stale
            break
        if taken and stretch.row_count + call.row_count > limits.planned_rows_max:
            break
        stretch.add(call)
        taken.append(call)
    return taken


def plan_each(
    database: Database,
    settings: AudienceSettings,
    caller: Caller,
    requests: Sequence[Request],
    next_key: NextKey,
) -> list[Response | None]:
    """Work out the response to each request as if it came alone; None if only writing shows it.

    Raises Stale if that cannot be worked out for all at once.
    """
    calls = list(read_calls(requests, settings))
    with _raise_conflicts_as_stale(), database.read() as connection:
        loaded = WorkingSet(caller, next_key)
        want_all(loaded, calls)
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
    responses = apply_all(working, [call])
    [response] = answer_plain_calls(connection, caller, [call], responses)
    return response


@contextmanager
def _raise_conflicts_as_stale() -> Iterator[None]:
    """A request may not fit the database, or others write the same rows.

    Within one transaction, it can be found out which request is at fault.
    """
    try:
        yield
    except DBAPIError as error:
        if not is_conflict(error):
            raise
        raise Stale from error
