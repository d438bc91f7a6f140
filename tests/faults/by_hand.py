"""The steps of batches, run by hand: no engine, no other process, a clock that stands still."""

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
from batchway.targets.base import Plan, PlannedTarget
from batchway.targets.table import ROOT, Mount, TargetTable
from tests.faults.mixture import add_list
from tests.reading import read_batch
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
DAY: Microseconds = 24 * 60 * 60 * SECOND

Snapshot = dict[str, list[str]]


@dataclass
class StillClock:
    """It is always the same moment, until the test says otherwise."""

    now: Microseconds = 1_795_435_200 * SECOND  # 2026-11-23T12:00:00+00:00

    def __call__(self) -> Microseconds:
        """The moment."""
        return self.now


@dataclass
class ByHand:
    """One account's batches in one database."""

    app: App
    clock: StillClock
    identity: Identity
    parts: Parts = field(init=False)
    list_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.parts = self.app.parts
        self.list_id = self.call("POST", "/lists", add_list("By hand")["body"])["id"]

    def limit(self, **values: Any) -> None:
        """Give the app other limits. A client that was made before keeps those it had."""
        self.parts = replace(self.parts, limits=replace(self.parts.limits, **values))
        self.app = replace(self.app, parts=self.parts)

    def call(self, method: str, path: str, body: str = "") -> Any:
        """One call that came alone."""
        caller = Caller(self.identity.account.id, "", self.clock(), Links(BASE))
        request = Request(method, path, {}, body.encode())
        return json.loads(encode_body(audience(self.parts).answer_single(caller, request)))

    def member_count(self) -> int:
        """How many members the list has."""
        return int(self.call("GET", f"/lists/{self.list_id}/members")["total_items"])

    def additions(self, count: int) -> list[Operation]:
        """Operations that add a member each."""
        return [
            add_member(self.list_id, f"{number}@example.com", str(number))
            for number in range(count)
        ]

    def submit(self, operations: Sequence[Operation]) -> Batch:
        """A new batch; its first hand-over is written, but nobody runs it."""
        body = json.dumps({"operations": list(operations)}).encode()
        with IncomingBatch.collect(
            self.parts.targets, self.parts.limits, read_batch(body)
        ) as incoming:
            return submit_batch(self.parts, self.identity, BASE, incoming)

    def batch(self, batch: Batch) -> Batch | None:
        """The batch as it is now, if its rows are still there."""
        with self.parts.database.read() as connection:
            return batches.get(connection, batch.id)

    def status(self, batch: Batch) -> str:
        """The status of a batch that is there."""
        found = self.batch(batch)
        assert found
        return found.status

    def waiting(self, batch: Batch) -> list[int]:
        """The numbers of the chunks that are to be executed."""
        with self.parts.database.read() as connection:
            return [chunk.number for chunk in chunks.find_waiting(connection, batch)]

    def results(self, batch: Batch) -> list[Result]:
        """What the archive holds."""
        with self.parts.archive.open(batch.public_id) as file:
            return read_archive(file.read())

    def snapshot(self) -> Snapshot:
        """Every row of every table, the engine's tables included, and every archive."""
        with self.parts.database.read() as connection:
            found = dict(_tables(connection))
        return found | {"archives": sorted(self.parts.archive.keys())}

    def twice(self, step: Callable[[], object]) -> None:
        """Run a step twice: the first time it does something, the second time nothing."""
        before = self.snapshot()
        step()
        once = self.snapshot()
        assert before != once
        step()
        assert once == self.snapshot()

    def idle(self, *steps: Callable[[], object]) -> None:
        """Run steps that have nothing to do."""
        before = self.snapshot()
        for step in steps:
            step()
            assert before == self.snapshot()

    def interrupted(self, interrupt: Callable[[Sequence[StoredOperation]], object]) -> Parts:
        """The same parts, with something that happens while a chunk is worked out."""
        return with_audience(self.parts, Interrupted(audience(self.parts), interrupt))


def audience(parts: Parts) -> PlannedTarget:
    """The built-in target."""
    target = parts.targets.by_name[AUDIENCE].target
    assert isinstance(target, PlannedTarget)
    return target


def with_audience(parts: Parts, target: PlannedTarget) -> Parts:
    """The same parts, with another target in the place of the built-in one."""
    return replace(parts, targets=TargetTable([Mount(ROOT, AUDIENCE, target)]))


@dataclass(frozen=True)
class Interrupted(PlannedTarget):
    """A target that calls `interrupt` with the operations each time before it plans a set."""

    target: PlannedTarget
    interrupt: Callable[[Sequence[StoredOperation]], object]

    def plan(self, caller: Caller, operations: Sequence[StoredOperation]) -> Plan:
        """As the target behind it."""
        self.interrupt(operations)
        return self.target.plan(caller, operations)

    def answer_within(
        self, connection: Connection, caller: Caller, operations: Sequence[StoredOperation]
    ) -> Sequence[TargetResult]:
        """As the target behind it."""
        self.interrupt(operations)
        return self.target.answer_within(connection, caller, operations)

    def answer_page(
        self, caller: Caller, operation: StoredOperation, continuation: str
    ) -> TargetResult:
        """As the target behind it."""
        return self.target.answer_page(caller, operation, continuation)

    def check(
        self, caller: Caller, operations: Sequence[StoredOperation]
    ) -> Sequence[TargetResult]:
        """As the target behind it."""
        return self.target.check(caller, operations)

    def answer_single(self, caller: Caller, request: Request) -> Response:
        """As the target behind it."""
        return self.target.answer_single(caller, request)


@contextmanager
def opened_by_hand(server: Server, more_targets: Sequence[Mount] = ()) -> Iterator[ByHand]:
    """The data of a server that does not run, with a key."""
    settings = load_settings(
        data_dir=server.folder / "data", database_url=server.database_url, secret_key=SECRET_KEY
    )
    clock = StillClock()
    app = open_app(settings, clock, more_targets)
    try:
        ensure_key(app.database, KEY)
        with app.database.read() as connection:
            identity = accounts.identify(connection, KEY)
        assert identity
        yield ByHand(app, clock, identity)
    finally:
        app.close()


def _tables(connection: Connection) -> Iterator[tuple[str, list[str]]]:
    inspector = inspect(connection)
    schemas = [name for name in inspector.get_schema_names() if name != "information_schema"]
    for schema in schemas:
        for table in inspector.get_table_names(schema):
            rows = connection.execute(text(f'SELECT * FROM "{schema}"."{table}"'))
            yield f"{schema}.{table}", sorted(map(repr, rows))
