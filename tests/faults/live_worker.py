"""A worker in the process of the tests, with short waits, so that a test sees many faults."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from uuid import uuid4

import pytest
from sqlalchemy import text

from batchway.app import open_app
from batchway.cli.api_keys import ensure_key
from batchway.installation import join_installation
from batchway.kit.clock import Microseconds, system_clock
from batchway.model.batch import Batch
from batchway.observers.base import Observer, Observers
from batchway.settings import load_settings
from batchway.store import accounts
from tests.faults.delivery_runner import DeliveryRunner
from tests.faults.workloads import add_list
from tests.receiver import Receiver
from tests.scenario import KEY, NOWHERE, SECRET_KEY, Operation, Server, add_member, wait_until
from tests.scripted_target import ScriptedTarget
from tests.step_runner import FixedClock, StepRunner

LOOPBACK = "127.0.0.0/8"
SMALL_COUNT, LARGE_COUNT = 2, 5  # operations
LIMITS = {
    "small_batch_operations_max": SMALL_COUNT,
    "piece_operations_max": SMALL_COUNT,
    "chunk_operations_max": SMALL_COUNT,
    "sending_chunk_operations_max": SMALL_COUNT,
    "chunk_attempts_max": 100,  # no operation is at fault
}
SECONDS = {
    "sweep_seconds": 0.03,
    "lease_renewal_seconds": 0.03,
    "overdue_seconds": 0.05,
    "hand_over_retry_seconds": 0.01,
    "hand_over_retry_seconds_max": 0.02,
}


class RunningClock(FixedClock):
    """Shows the present time."""

    def __call__(self) -> Microseconds:
        """Return the time."""
        return system_clock()


@dataclass
class LiveWorker:
    """A worker, and what a test needs to give it work."""

    runner: StepRunner
    paged_list_id: str
    member_count: int = 0
    batch_count: int = 0

    @contextmanager
    def run(self) -> Iterator[None]:
        """Run the worker until the end of the block."""
        worker = self.runner.app.worker()
        self.runner.app.start(worker)
        try:
            yield
        finally:
            worker.stop()

    def join_installation(self) -> None:
        """Write the row that all processes share, as the first process does."""
        app = self.runner.app
        join_installation(app.database, app.parts.archive, app.settings.get_secret_keys())

    def submit(self, count: int) -> Batch:
        """Submit a batch that adds members, reads a page of them, sends and fails."""
        list_path = f"/lists/{self.runner.list_id}/members"
        paged_path = f"/lists/{self.paged_list_id}/members"
        operations: list[Operation] = [
            add_member(self.runner.list_id, f"{uuid4()}@example.com"),
            {"method": "GET", "path": paged_path},
            {"method": "POST", "path": "/echo/ok", "body": "{}"},
            add_member(self.runner.list_id, f"{uuid4()}@example.com"),
            NOWHERE,
        ][:count]
        self.member_count += sum(
            each["path"] == list_path and "body" in each for each in operations
        )
        self.batch_count += 1
        return self.runner.submit(
            [each | {"operation_id": str(number)} for number, each in enumerate(operations)]
        )

    def is_finished(self, batch: Batch) -> bool:
        """Return whether a batch is finished."""
        return self.runner.get_status(batch) == "finished"

    def is_idle(self) -> bool:
        """Return whether no hand-over is open: none waits, and none is shown as run."""
        return not self.count_hand_overs("'ENQUEUED', 'PENDING', 'DELAYED'")

    def execute(self, statement: str) -> None:
        """Execute a statement."""
        with self.runner.parts.database.write() as connection:
            connection.execute(text(statement))

    def count_hand_overs(self, states: str) -> int:
        """Return how many hand-overs the engine has in these states."""
        statement = f"SELECT count(*) FROM {self.runner.engine_table} WHERE status IN ({states})"
        with self.runner.parts.database.read() as connection:
            return int(connection.execute(text(statement)).scalar_one())

    def check(self, batch: Batch) -> None:
        """Wait until all is done, and check that each operation had its effect once."""
        wait_until(lambda: self.is_finished(batch), f"batch {batch.id} finishes", 60)
        wait_until(self.is_idle, "no hand-over is open", 60)
        results = [
            (str(result.operation_id), result.status_code)
            for result in self.runner.read_results(batch)
        ]
        expected = [("0", 200), ("1", 200), ("1", 200), ("2", 200), ("3", 200), ("4", 404)]
        assert expected[: batch.operation_count + 1] == results
        assert self.member_count == self.runner.count_members()


@contextmanager
def run_worker(
    server: Server, monkeypatch: pytest.MonkeyPatch, *observers: Observer
) -> Iterator[LiveWorker]:
    """Run a worker until the end of the block. A GET of a collection has a page for each row."""
    with open_worker(server, monkeypatch, *observers) as live, live.run():
        yield live


@contextmanager
def open_worker(
    server: Server, monkeypatch: pytest.MonkeyPatch, *observers: Observer
) -> Iterator[LiveWorker]:
    """Open a worker that does not run yet."""
    monkeypatch.setattr("batchway.limits.page_count_max", 1)
    for name, seconds in SECONDS.items():
        monkeypatch.setattr(f"batchway.limits.{name}", seconds)
    # How often the engine looks for hand-overs whose delay has ended.
    monkeypatch.setattr("dbos._workflow_commands._BACKGROUND_JOBS_INTERVAL_SEC", 0.02)
    settings = load_settings(
        data_dir=server.folder / "data",
        database_url=server.database_url,
        secret_key=SECRET_KEY,
        egress_allow=LOOPBACK,
    )
    app = open_app(settings, more_targets=[ScriptedTarget().mount])
    ensure_key(app.database, KEY)
    with app.database.read() as connection:
        identity = accounts.identify(connection, KEY)
    assert identity
    observe = Observers([*app.parts.observe.members, *observers])
    app = replace(app, parts=replace(app.parts, observe=observe))
    runner = StepRunner(app, RunningClock(), identity)
    runner.set_limits(**LIMITS)
    try:
        yield LiveWorker(runner, make_paged_list(runner))
    finally:
        app.close()


def make_paged_list(runner: StepRunner) -> str:
    """Create a list with two members, and return its id."""
    list_id = str(runner.call("POST", "/lists", add_list("Paged")["body"])["id"])
    for address in ("ann@example.com", "bob@example.com"):
        runner.call("POST", f"/lists/{list_id}/members", add_member(list_id, address)["body"])
    return list_id


def add_webhook(live: LiveWorker, receiver: Receiver) -> None:
    """Create a webhook."""
    DeliveryRunner(live.runner).new_webhook(receiver)
