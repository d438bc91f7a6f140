"""The sweep asks few questions, whatever waits, and indexes answer them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, event

from batchway import limits
from batchway.kit.clock import SECOND
from batchway.lifecycle.sweep import sweep
from batchway.model.step import StepName, WrittenHandOver
from batchway.store import batches, waiting_steps
from tests.scenario import Server
from tests.step_runner import StepRunner, open_step_runner
from tests.steps import split

LARGE = 6_000  # operations: two chunks
# An index → what it is for.
FINDERS: dict[str, Callable[[Connection], object]] = {
    "batches_by_age": lambda connection: batches.find_expired(connection, 0, 100),
    "deliveries_due": lambda connection: waiting_steps.find_deliveries(
        connection, (0, 0), 100, quiet_seconds=5
    ),
    "batches_claimed": lambda connection: waiting_steps.find_claimed_batches(connection, "worker"),
    "chunks_claimed": lambda connection: waiting_steps.find_claimed_chunks(connection, "worker"),
}


@pytest.fixture
def runner(server: Server) -> Iterator[StepRunner]:
    """The steps, on each database in turn."""
    with open_step_runner(server) as opened:
        yield opened


def test_many_waiting_chunks_are_one_question(runner: StepRunner) -> None:
    """One statement and one question to the engine, whether one batch waits or three."""
    statement_counts = []
    for count in (1, 2, 3):
        split(runner.parts, runner.submit(runner.make_additions(LARGE)).id)
        runner.clock.now += int((limits.overdue_seconds + 1) * SECOND)
        questions: list[int] = []
        with noted_statements(runner) as statements:
            sweep(runner.parts, note_into(questions))
        assert [2 * count] == questions
        statement_counts.append(len(statements))

    assert 1 == len(set(statement_counts))


@pytest.mark.parametrize("index", FINDERS)
def test_an_index_answers_the_sweep(runner: StepRunner, index: str) -> None:
    """Batches that are finished, and deliveries that are over, are not read to find what waits."""
    with runner.parts.database.read() as connection:
        with noted_statements(runner) as statements:
            FINDERS[index](connection)
        [(statement, values)] = statements
        explain = "EXPLAIN QUERY PLAN"
        if not runner.parts.database.is_sqlite:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")  # the tables are empty
            explain = "EXPLAIN"
        plan = connection.exec_driver_sql(f"{explain} {statement}", values).all()

    assert index in str(plan)


def note_into(questions: list[int]) -> Callable[[Sequence[WrittenHandOver]], list[StepName]]:
    """An engine that has lost nothing; notes how many steps each question is about."""

    def find_lost(written: Sequence[WrittenHandOver]) -> list[StepName]:
        questions.append(len(written))
        return []

    return find_lost


@contextmanager
def noted_statements(runner: StepRunner) -> Iterator[list[tuple[str, Any]]]:
    """The statements that are executed within the block, with their values."""
    noted: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, values: Any, *_: object) -> None:
        noted.append((statement, values))

    event.listen(runner.parts.database.engine, "before_cursor_execute", note)
    try:
        yield noted
    finally:
        event.remove(runner.parts.database.engine, "before_cursor_execute", note)
