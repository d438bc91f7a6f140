"""No step is lost, or waits for ever, whatever statement or thread of a worker fails.

Writes are refused from any statement of a step on, until the step has failed, could not be handed
over, and the engine could not record that. A living worker then has hand-overs that nobody runs.
"""

import random
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count, cycle

import psycopg
import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError, InternalError, OperationalError

from batchway import limits
from batchway.engine.running_hand_overs import RunningHandOvers
from batchway.kit.clock import SECOND
from batchway.model.batch import Batch
from batchway.observers.base import Event, Field
from batchway.store import leases
from batchway.store.database import Database, run
from tests.faults.live_worker import (
    LARGE_COUNT,
    SMALL_COUNT,
    LiveWorker,
    add_webhook,
    open_worker,
    run_worker,
)
from tests.receiver import Receiver
from tests.scenario import Server, wait_until
from tests.statements import watch_statements

STEP_THREADS = "dbos-executor-"  # the beginning of their names
STRIDE = 3
OTHER = "worker-other"
LEASE_SECONDS, LAPSE_SECONDS = 2.5, 1.5
STATEMENTS_MIN = 30  # and commits, of the steps of each batch
REFUSALS_MIN = 9  # of one outage: a step, its hand-over, its end, and of background tasks
_WRITE = re.compile(r"\b(INSERT|UPDATE|DELETE|COPY|BEGIN IMMEDIATE)\b")

SQLITE_ERRORS: list[Callable[[], DBAPIError]] = [
    lambda text=text: OperationalError("…", None, sqlite3.OperationalError(text))  # type: ignore[misc]
    for text in (
        "database or disk is full",
        "disk I/O error",
        "attempt to write a readonly database",
    )
]
POSTGRES_ERRORS: list[Callable[[], DBAPIError]] = [
    lambda: InternalError("…", None, psycopg.errors.ReadOnlySqlTransaction()),
    lambda: OperationalError("…", None, psycopg.errors.DiskFull()),
    lambda: OperationalError("…", None, psycopg.errors.AdminShutdown()),
]
# Where an observer of a worker may end a thread; the others are of calls and of facts.
POINTS = [point for point in Event if point.is_fault_point and not point.startswith("submit.")]


@pytest.mark.parametrize("size", [SMALL_COUNT, LARGE_COUNT], ids=["small", "large"])
def test_an_outage_that_begins_at_any_statement(
    server: Server, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """After an outage that begins at any write or commit of a step, the batch finishes by itself.

    The small batch has an event, whose delivery has statements as well. Each run tries some of the
    statements, beginning with a random one.
    """
    with run_worker(server, monkeypatch) as live:
        database = live.runner.parts.database
        if size == SMALL_COUNT:
            add_webhook(live, receiver)
        errors = cycle(SQLITE_ERRORS if database.is_sqlite else POSTGRES_ERRORS)
        with open_outage(database.engine) as outage:
            for number in count(random.randint(1, STRIDE), STRIDE):
                outage.arm(number, next(errors))
                batch = live.submit(size)
                wait_until_over(outage, live, batch)
                has_begun = outage.end()
                live.check(batch)
                if not has_begun:
                    break
        events = {delivery.headers["webhook-id"] for delivery in receiver.deliveries()}
        assert live.batch_count > STATEMENTS_MIN / STRIDE
        assert (live.batch_count if size == SMALL_COUNT else 0) == len(events)


def test_a_thread_that_dies(
    server: Server, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that is ended at any point, also by something that is no Exception, is run again."""
    deaths = Deaths()
    with run_worker(server, monkeypatch, deaths) as live:
        add_webhook(live, receiver)
        for size in (SMALL_COUNT, LARGE_COUNT):
            deaths.points.clear()
            live.check(live.submit(size))
    assert set(POINTS) == deaths.points
    assert 2 == len({delivery.headers["webhook-id"] for delivery in receiver.deliveries()})


def test_living_workers_are_not_taken_over_after_an_outage(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While writes are refused, every lease ends; those who live can renew theirs afterwards."""
    monkeypatch.setattr("batchway.limits.lease_seconds", LEASE_SECONDS)
    monkeypatch.setattr("batchway.limits.lease_lapse_seconds", LAPSE_SECONDS)
    with open_worker(server, monkeypatch) as live:
        database = live.runner.parts.database
        renew_lease(database, OTHER)
        live.submit(SMALL_COUNT)
        live.execute(
            f"UPDATE {live.runner.engine_table} SET status = 'PENDING', executor_id = '{OTHER}'"
        )
        with live.run():
            with open_outage(database.engine) as outage:
                renew_lease(database, OTHER, LEASE_SECONDS)
                outage.begin(SQLITE_ERRORS[0])
                wait_until(lambda: not find_live(database), "the leases have ended")
                outage.end()
            wait_until(lambda: find_live(database), "this worker has renewed its lease")
            renew_lease(database, OTHER)

            name = live.runner.parts.worker
            wait_until(lambda: is_caretaker(database, name), "it does a round")
            assert 1 == live.count_hand_overs(f"'PENDING') AND executor_id IN ('{OTHER}'")


def renew_lease(
    database: Database, worker: str, seconds: float = leases.LASTS_MAX / SECOND
) -> None:
    """Renew the lease of a worker, and let the next round show who is the caretaker."""
    with database.write() as connection:
        leases.renew(connection, worker, is_ready=True, seconds=seconds)
        run(connection, "DELETE FROM leases WHERE name = 'caretaker' -- no account: a lease")


def find_live(database: Database) -> set[str]:
    """Return the workers whose leases have not ended."""
    with database.read() as connection:
        return leases.find_live(connection) - {"caretaker"}


def is_caretaker(database: Database, worker: str) -> bool:
    """Return whether a worker is the caretaker."""
    with database.read() as connection:
        holders = run(connection, "SELECT holder FROM leases WHERE name = 'caretaker'")
        return worker in set(holders.scalars())


def test_what_runs_is_not_lost() -> None:
    """A hand-over is lost if it did not run at several looks in a row; it is not run afterwards."""
    running = RunningHandOvers()
    for _ in range(limits.lost_looks_min):
        with running.run("runs"):
            assert [] == running.give_up_lost(["runs"])
    for _ in range(limits.lost_looks_min - 1):
        assert [] == running.give_up_lost(["lost", "ended"])
    with running.run("ended") as may_run:
        assert may_run
        assert ["lost"] == running.give_up_lost(["lost", "ended"])

    with running.run("lost") as may_run:
        assert not may_run


class Outage:
    """Refuses every write and commit from the one with a number on, counted in threads of steps."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: int | None = None
        self._refusals: int | None = None
        self._make_error = SQLITE_ERRORS[0]

    def arm(self, number: int, make_error: Callable[[], DBAPIError]) -> None:
        """Let the outage begin at the write with this number from now on."""
        with self._lock:
            self._left, self._refusals, self._make_error = number, None, make_error

    def begin(self, make_error: Callable[[], DBAPIError]) -> None:
        """Refuse all writes from now on."""
        with self._lock:
            self._refusals, self._make_error = 0, make_error

    def end(self) -> bool:
        """Allow all writes; return whether the outage had begun."""
        with self._lock:
            has_begun = self._refusals is not None
            self._left = self._refusals = None
            return has_begun

    @property
    def is_over(self) -> bool:
        """Return whether enough was refused."""
        return self._refusals is not None and self._refusals >= REFUSALS_MIN

    def hit(self) -> None:
        """Refuse a write, or count it."""
        with self._lock:
            if self._refusals is None and self._left is not None:
                self._left -= threading.current_thread().name.startswith(STEP_THREADS)
                if self._left == 0:
                    self._refusals = 0
            if self._refusals is not None:
                self._refusals += 1
                raise self._make_error()


def wait_until_over(outage: Outage, live: LiveWorker, batch: Batch) -> None:
    """Wait until writes were refused for a while, or no statement was left that could be."""
    wait_until(
        lambda: outage.is_over or (live.is_finished(batch) and live.is_idle()), "it is over", 60
    )


@contextmanager
def open_outage(engine: Engine) -> Iterator[Outage]:
    """Let an outage that is not armed watch the statements of an engine, ours and those of DBOS."""
    outage = Outage()

    def watch(statement: str, _values: object) -> None:
        if _WRITE.search(statement):
            outage.hit()

    def before_execute(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        watch(statement, ())

    def before_commit(_connection: object) -> None:
        outage.hit()

    event.listen(engine, "before_cursor_execute", before_execute)
    event.listen(engine, "commit", before_commit)
    try:
        with watch_statements(watch):
            yield outage
    finally:
        event.remove(engine, "before_cursor_execute", before_execute)
        event.remove(engine, "commit", before_commit)


class Deaths:
    """Raises an error at each fault point, the first time that it is reached."""

    def __init__(self) -> None:
        self.points: set[Event] = set()
        self._lock = threading.Lock()
        self._errors = cycle([MemoryError, SystemExit, KeyboardInterrupt])

    def observe(self, event: Event, fields: Mapping[str, Field]) -> None:
        """Raise the error once."""
        del fields
        with self._lock:
            is_first = event in POINTS and event not in self.points
            self.points.update({event} & set(POINTS))
        if is_first:
            raise next(self._errors)
