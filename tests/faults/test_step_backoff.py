"""The wait of a failed step depends on the number of its failures in a row only."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from batchway import limits
from batchway.engine.worker import Worker
from batchway.kit.clock import system_clock
from batchway.model.step import Step, StepName
from tests.scenario import wait_until
from tests.step_runner import StepRunner

FAILURES = 3
MANY = 9  # hand-overs of a step that went well


def test_waits_grow_with_failures_in_a_row(runner: StepRunner) -> None:
    """A step that was handed over many times waits shortly after its first failure.

    It does not matter what has ended the step.
    """
    runner.clock.now = system_clock()
    batch = runner.submit(runner.make_additions(1))
    with runner.parts.database.write() as connection:
        for _ in range(MANY):
            runner.parts.hand_over(connection, Step.RUN, batch.id)
        connection.execute(text(f"DELETE FROM {runner.engine_table}"))
        runner.app.hand_overs.write(connection, StepName(Step.RUN, batch.id))
        runner.app.hand_overs.write(connection, StepName(Step.SPLIT, batch.id), 0, FAILURES)
    steps = {Step.RUN: fail, Step.SPLIT: end_thread}
    worker = Worker("worker", runner.parts.database, runner.app.hand_overs, steps)

    worker.start(tidy=do_nothing, sweep=do_nothing)
    try:
        waits = wait_until(lambda: find_waits(runner), "both steps have failed")
    finally:
        worker.stop()

    first, fourth = limits.hand_over_retry_seconds, limits.hand_over_retry_seconds * 8
    assert pytest.approx({"run": first, "split": fourth}, abs=1.5) == waits


class Failed(Exception):
    """Ends a step."""


def fail(_first: StepName) -> Iterator[StepName]:
    """Fail, as a step."""
    raise Failed


def end_thread(_first: StepName) -> Iterator[StepName]:
    """End the thread of the step, without an Exception."""
    raise SystemExit


def do_nothing() -> None:
    """Stand in for the periodic tasks of the worker."""


def find_waits(runner: StepRunner) -> dict[str, float] | None:
    """Return the seconds that each step waits, or None until both have failed."""
    statement = f"SELECT workflow_uuid, delay_until_epoch_ms, created_at FROM {runner.engine_table}"
    with runner.parts.database.read() as connection:
        rows = connection.execute(text(f"{statement} WHERE status = 'DELAYED'")).all()
    waits = {row[0].split("/")[1]: (row[1] - row[2]) / 1_000 for row in rows}
    return waits if len(waits) == 2 else None
