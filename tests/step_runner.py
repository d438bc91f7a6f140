"""Runs the steps of batches in the process of the tests, without the engine, with a fixed clock."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, inspect, text

from batchway.app import App, open_app
from batchway.cli.api_keys import ensure_key
from batchway.contract.links import Links
from batchway.contract.request import Caller, Request
from batchway.contract.response import Response, encode_body
from batchway.kit.clock import SECOND, Microseconds
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.submit import IncomingBatch, submit_batch
from batchway.model.account import Identity
from batchway.model.batch import Batch
from batchway.model.operation import Operation as StoredOperation
from batchway.model.result import Result as TargetResult
from batchway.settings import load_settings
from batchway.store import accounts, batches, chunks
from batchway.store.database import Database
from batchway.targets.base import Plan, PlannedTarget
from batchway.targets.table import ROOT, Mount, TargetTable
from tests.batch_bodies import read_batch
from tests.faults.workloads import add_list
from tests.scenario import (
    KEY,
    SECRET_KEY,
    Operation,
    Result,
    Server,
    add_member,
    read_archive,
)

BASE = "http://127.0.0.1:8080"
AUDIENCE = "audience"  # the name of the built-in target
LARGE = 6_000  # operations: two chunks
DAY: Microseconds = 24 * 60 * 60 * SECOND

Snapshot = dict[str, list[str]]


@dataclass
class FixedClock:
    """Shows `now`, which only the test changes."""

    now: Microseconds = 1_795_435_200 * SECOND  # 2026-11-23T12:00:00+00:00

    def __call__(self) -> Microseconds:
        """Return the time."""
        return self.now


@dataclass
class StepRunner:
    """Submits and runs batches of one account in one database.

    No worker runs: a test calls the functions of `tests.steps` with `parts`.
    """

    app: App
    clock: FixedClock
    identity: Identity
    parts: Parts = field(init=False)
    list_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.parts = self.app.parts
        self.list_id = self.call("POST", "/lists", add_list("Readers")["body"])["id"]

    def set_limits(self, **values: Any) -> None:
        """Change limits of the app. An ASGI app that was made before keeps the old limits."""
        self.parts = replace(self.parts, limits=replace(self.parts.limits, **values))
        self.app = replace(self.app, parts=self.parts)

    def call(self, method: str, path: str, body: str = "") -> Any:
        """Answer one call that is not part of a batch, and return the body."""
        caller = Caller(self.identity.account.id, "", self.clock(), Links(BASE))
        request = Request(method, path, {}, body.encode())
        return json.loads(encode_body(get_audience(self.parts).answer_single(caller, request)))

    def count_members(self) -> int:
        """Return how many members the list has."""
        return int(self.call("GET", f"/lists/{self.list_id}/members")["total_items"])

    def make_additions(self, count: int) -> list[Operation]:
        """Return operations that each add one member."""
        return [
            add_member(self.list_id, f"{number}@example.com", str(number))
            for number in range(count)
        ]

    def submit(self, operations: Sequence[Operation]) -> Batch:
        """Store a new batch and its first hand-over. No step runs."""
        body = json.dumps({"operations": list(operations)}).encode()
        with IncomingBatch.collect(
            self.parts.targets, self.parts.limits, read_batch(body)
        ) as incoming:
            return submit_batch(self.parts, self.identity, BASE, incoming)

    @property
    def engine_table(self) -> str:
        """The name of the engine's table of hand-overs."""
        return name_engine_table(self.parts.database, "workflow_status")

    def load_batch(self, batch: Batch) -> Batch | None:
        """Return the batch as it is stored now, or None if its row is gone."""
        with self.parts.database.read() as connection:
            return batches.get(connection, batch.id)

    def get_status(self, batch: Batch) -> str:
        """Return the status of a stored batch."""
        found = self.load_batch(batch)
        assert found
        return found.status

    def get_waiting_chunks(self, batch: Batch) -> list[int]:
        """Return the numbers of the chunks that are not done."""
        with self.parts.database.read() as connection:
            return [chunk.number for chunk in chunks.find_waiting(connection, batch)]

    def read_results(self, batch: Batch) -> list[Result]:
        """Return the results in the archive of a batch."""
        with self.parts.archive.open(batch.public_id) as file:
            return read_archive(file.read())

    def take_snapshot(self) -> Snapshot:
        """Return the rows of all tables, also those of the engine, and the keys of all archives."""
        with self.parts.database.read() as connection:
            found = dict(_tables(connection))
        return found | {"archives": sorted(self.parts.archive.list_keys())}

    def run_twice(self, step: Callable[[], object]) -> None:
        """Run a step twice, and check that only the first run changes something."""
        before = self.take_snapshot()
        step()
        once = self.take_snapshot()
        assert before != once
        step()
        assert once == self.take_snapshot()

    def check_no_effect(self, *steps: Callable[[], object]) -> None:
        """Run steps, and check that they change nothing."""
        before = self.take_snapshot()
        for step in steps:
            step()
            assert before == self.take_snapshot()

    def make_interrupted_parts(
        self, interrupt: Callable[[Sequence[StoredOperation]], object]
    ) -> Parts:
        """Return parts whose built-in target calls `interrupt` before it plans operations."""
        return replace_audience(self.parts, InterruptedTarget(get_audience(self.parts), interrupt))


def name_engine_table(database: Database, table: str) -> str:
    """Return the name of a table of the engine in an SQL statement."""
    return table if database.is_sqlite else f"dbos.{table}"


def get_audience(parts: Parts) -> PlannedTarget:
    """Return the built-in target."""
    target = parts.targets.by_name[AUDIENCE].target
    assert isinstance(target, PlannedTarget)
    return target


def replace_audience(parts: Parts, target: PlannedTarget) -> Parts:
    """Return parts that use `target` instead of the built-in target."""
    return replace(parts, targets=TargetTable([Mount(ROOT, AUDIENCE, target)]))


@dataclass(frozen=True)
class InterruptedTarget(PlannedTarget):
    """Calls `interrupt` with the operations, then passes them to `target`."""

    target: PlannedTarget
    interrupt: Callable[[Sequence[StoredOperation]], object]

    def plan(self, caller: Caller, operations: Sequence[StoredOperation]) -> Plan:
        """Interrupt, then call the target."""
        self.interrupt(operations)
        return self.target.plan(caller, operations)

    def answer_within(
        self, connection: Connection, caller: Caller, operations: Sequence[StoredOperation]
    ) -> Sequence[TargetResult]:
        """Interrupt, then call the target."""
        self.interrupt(operations)
        return self.target.answer_within(connection, caller, operations)

    def answer_page(
        self, caller: Caller, operation: StoredOperation, continuation: str
    ) -> TargetResult:
        """Call the target."""
        return self.target.answer_page(caller, operation, continuation)

    def check(
        self, caller: Caller, operations: Sequence[StoredOperation]
    ) -> Sequence[TargetResult]:
        """Call the target."""
        return self.target.check(caller, operations)

    def answer_single(self, caller: Caller, request: Request) -> Response:
        """Call the target."""
        return self.target.answer_single(caller, request)


@contextmanager
def open_step_runner(server: Server, more_targets: Sequence[Mount] = ()) -> Iterator[StepRunner]:
    """Open the data folder of a server that is not running, with an account and a key."""
    settings = load_settings(
        data_dir=server.folder / "data", database_url=server.database_url, secret_key=SECRET_KEY
    )
    clock = FixedClock()
    app = open_app(settings, clock, more_targets)
    try:
        ensure_key(app.database, KEY)
        with app.database.read() as connection:
            identity = accounts.identify(connection, KEY)
        assert identity
        yield StepRunner(app, clock, identity)
    finally:
        app.close()


def _tables(connection: Connection) -> Iterator[tuple[str, list[str]]]:
    inspector = inspect(connection)
    schemas = [name for name in inspector.get_schema_names() if name != "information_schema"]
    for schema in schemas:
        for table in inspector.get_table_names(schema):
            rows = connection.execute(text(f'SELECT * FROM "{schema}"."{table}"'))
            yield f"{schema}.{table}", sorted(map(repr, rows))
