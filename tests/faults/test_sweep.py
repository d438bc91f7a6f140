"""The sweep uses few statements, whatever waits, and each of them uses an index."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection

from batchway import limits
from batchway.kit.clock import SECOND
from batchway.lifecycle.sweep import sweep
from batchway.store import batches, waiting_steps
from tests.faults.recording_engine import RecordingEngine
from tests.statements import record_statements
from tests.step_runner import LARGE, StepRunner
from tests.steps import split

# An index → what it is for.
FINDERS: dict[str, Callable[[Connection], object]] = {
    "batches_by_age": lambda connection: batches.find_expired(connection, 0, 100),
    "deliveries_due": lambda connection: waiting_steps.find_deliveries(
        connection, (0, 0), 100, quiet_seconds=5
    ),
    "batches_claimed": lambda connection: waiting_steps.find_claimed_batches(connection, "worker"),
    "chunks_claimed": lambda connection: waiting_steps.find_claimed_chunks(connection, "worker"),
}


def test_many_waiting_chunks_are_one_question(runner: StepRunner) -> None:
    """The number of statements does not depend on the number of waiting batches."""
    statement_counts = []
    for count in (1, 2, 3):
        split(runner.parts, runner.submit(runner.make_additions(LARGE)).id)
        runner.clock.now += int((limits.overdue_seconds + 1) * SECOND)
        engine = RecordingEngine()
        with record_statements() as statements:
            sweep(runner.parts, engine)
        assert statements
        assert [2 * count] == [len(written) for written in engine.questions]
        statement_counts.append(len(statements))

    assert 1 == len(set(statement_counts))


@pytest.mark.parametrize("index", FINDERS)
def test_an_index_answers_the_sweep(runner: StepRunner, index: str) -> None:
    """The sweep does not read finished batches and ended deliveries."""
    with runner.parts.database.read() as connection:
        with record_statements() as statements:
            FINDERS[index](connection)
        [(statement, values)] = statements
        explain = "EXPLAIN QUERY PLAN"
        if not runner.parts.database.is_sqlite:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")  # the tables are empty
            explain = "EXPLAIN"
        plan = connection.exec_driver_sql(f"{explain} {statement}", values).all()

    assert index in str(plan)
