"""How long a step that failed waits: it depends on its failures in a row, and on nothing else."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from batchway import limits
from batchway.engine.worker import Worker
from batchway.kit.clock import system_clock
from batchway.model.step import Step, StepName
from tests.scenario import Server, wait_until
from tests.step_runner import StepRunner, open_step_runner

FAILURES = 3
MANY = 9  # hand-overs of a step that went well


@pytest.fixture
def runner(server: Server) -> Iterator[StepRunner]:
    """The engine's books, on each database in turn."""
    with open_step_runner(server) as opened:
        yield opened


def test_waits_grow_with_failures_in_a_row(runner: StepRunner) -> None:
    """A step that was handed over many times, and fails for the first time, waits shortly."""
    runner.clock.now = system_clock()
    batch = runner.submit(runner.make_additions(1))
    with runner.parts.database.write() as connection:
        for _ in range(MANY):
            runner.parts.hand_over(connection, Step.RUN, batch.id)
        connection.execute(text(f"DELETE FROM {books(runner)}"))
        runner.app.hand_overs.write(connection, StepName(Step.RUN, batch.id))
        runner.app.hand_overs.write(connection, StepName(Step.SPLIT, batch.id), 0, FAILURES)
    steps = dict.fromkeys((Step.RUN, Step.SPLIT), fail)
    worker = Worker("worker", runner.parts.database, runner.app.hand_overs, steps)

    worker.start(tidy=do_nothing, sweep=do_nothing)
    try:
        waits = wait_until(lambda: found_waits(runner), "both steps have failed")
    finally:
        worker.stop()

    first, fourth = limits.hand_over_retry_seconds, limits.hand_over_retry_seconds * 8
    assert pytest.approx({"run": first, "split": fourth}, abs=1.5) == waits


class Failed(Exception):
    """Ends a step."""


def fail(_first: StepName) -> Iterator[StepName]:
    """A step that fails."""
    raise Failed


def do_nothing() -> None:
    """What this worker does now and then."""


def found_waits(runner: StepRunner) -> dict[str, float] | None:
    """How many seconds each step waits; None until both have failed."""
    statement = f"SELECT workflow_uuid, delay_until_epoch_ms, created_at FROM {books(runner)}"
    with runner.parts.database.read() as connection:
        rows = connection.execute(text(f"{statement} WHERE status = 'DELAYED'")).all()
    waits = {row[0].split("/")[1]: (row[1] - row[2]) / 1_000 for row in rows}
    return waits if len(waits) == 2 else None


def books(runner: StepRunner) -> str:
    """The engine's table."""
    return "workflow_status" if runner.parts.database.is_sqlite else "dbos.workflow_status"
