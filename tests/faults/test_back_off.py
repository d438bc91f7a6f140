"""How long a step that failed waits: it depends on its failures in a row, and on nothing else."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from batchway import limits
from batchway.engine.worker import Worker
from batchway.kit.clock import system_clock
from batchway.model.step import Step, StepName
from tests.faults.by_hand import ByHand, opened_by_hand
from tests.scenario import Server, until

FAILURES = 3
MANY = 9  # hand-overs of a step that went well


@pytest.fixture
def hand(server: Server) -> Iterator[ByHand]:
    """The engine's books, on each database in turn."""
    with opened_by_hand(server) as opened:
        yield opened


def test_waits_grow_with_failures_in_a_row(hand: ByHand) -> None:
    """A step that was handed over many times, and fails for the first time, waits shortly."""
    hand.clock.now = system_clock()
    batch = hand.submit(hand.additions(1))
    with hand.parts.database.write() as connection:
        for _ in range(MANY):
            hand.parts.hand_over(connection, Step.RUN, batch.id)
        connection.execute(text(f"DELETE FROM {books(hand)}"))
        hand.app.hand_overs.write(connection, StepName(Step.RUN, batch.id))
        hand.app.hand_overs.write(connection, StepName(Step.SPLIT, batch.id), 0, FAILURES)
    steps = dict.fromkeys((Step.RUN, Step.SPLIT), fail)
    worker = Worker("worker", hand.parts.database, hand.app.hand_overs, steps)

    worker.start(tidy=do_nothing, sweep=do_nothing)
    try:
        waits = until(lambda: found_waits(hand), "both steps have failed")
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


def found_waits(hand: ByHand) -> dict[str, float] | None:
    """How many seconds each step waits; None until both have failed."""
    statement = f"SELECT workflow_uuid, delay_until_epoch_ms, created_at FROM {books(hand)}"
    with hand.parts.database.read() as connection:
        rows = connection.execute(text(f"{statement} WHERE status = 'DELAYED'")).all()
    waits = {row[0].split("/")[1]: (row[1] - row[2]) / 1_000 for row in rows}
    return waits if len(waits) == 2 else None


def books(hand: ByHand) -> str:
    """The engine's table."""
    return "workflow_status" if hand.parts.database.is_sqlite else "dbos.workflow_status"
