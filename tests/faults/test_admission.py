"""As many batches of an account run as may; those that were turned away begin when one ends."""

from collections.abc import Iterator, Sequence

import pytest

from batchway import limits
from batchway.lifecycle.delete import delete_batch
from batchway.lifecycle.sweep import sweep
from batchway.limits import Limits
from batchway.model.batch import Batch
from batchway.model.step import StepName, WrittenHandOver
from batchway.store import batches as store
from tests.scenario import Operation, Server
from tests.step_runner import StepRunner, open_step_runner
from tests.steps import run, split

LARGE = Limits.small_batch_operations_max + 1
RUNNING = Limits.running_batches_per_account_max
PING: Operation = {"method": "GET", "path": "/ping"}


@pytest.fixture
def runner(server: Server) -> Iterator[StepRunner]:
    """The steps, on each database in turn."""
    with open_step_runner(server) as opened:
        yield opened


def test_one_more_than_may_run_is_held(runner: StepRunner) -> None:
    """It stays pending, and begins once another batch is gone."""
    held = _fill(runner)

    runner.check_no_effect(lambda: split(runner.parts, held.id))
    assert "pending" == runner.get_status(held)
    assert delete_batch(runner.parts, held.account_id, _running(runner).public_id)
    split(runner.parts, held.id)

    assert "started" == runner.get_status(held)


def test_each_end_hands_one_held_batch_over(runner: StepRunner) -> None:
    """The oldest first, and each of them once."""
    first = _fill(runner)
    second = runner.submit([PING] * LARGE)
    split(runner.parts, second.id)

    assert [True, True] == [_is_held(runner, first), _is_held(runner, second)]
    assert delete_batch(runner.parts, first.account_id, _running(runner).public_id)
    assert [False, True] == [_is_held(runner, first), _is_held(runner, second)]
    assert delete_batch(runner.parts, first.account_id, _running(runner).public_id)
    assert [False, False] == [_is_held(runner, first), _is_held(runner, second)]


def test_a_batch_that_nobody_turned_away_is_not_handed_over_again(runner: StepRunner) -> None:
    """Its first hand-over is still under way."""
    ends, waits = runner.submit([PING]), runner.submit([PING])
    before = runner.load_batch(waits)
    run(runner.parts, ends.id)

    assert "finished" == runner.get_status(ends)
    assert before == runner.load_batch(waits)


def test_the_sweep_leaves_held_batches_alone_while_there_is_no_room(runner: StepRunner) -> None:
    """And hands them over when there is, should the hand-over have been lost."""
    held = _fill(runner)
    asked: list[int] = []
    runner.clock.now += int(2 * limits.overdue_seconds * 1_000_000)

    def note(written: Sequence[WrittenHandOver]) -> list[StepName]:
        asked.extend(each.name.key for each in written)
        return []

    sweep(runner.parts, note)
    assert held.id not in asked
    assert RUNNING == len(set(asked))
    assert delete_batch(runner.parts, held.account_id, _running(runner).public_id)
    sweep(runner.parts, note)
    assert held.id in asked


def _fill(runner: StepRunner) -> Batch:
    """Start as many batches as may run, and one more, which is answered."""
    batches = [runner.submit([PING] * LARGE) for _ in range(RUNNING + 1)]
    for batch in batches:
        split(runner.parts, batch.id)
    assert RUNNING == sum(runner.get_status(batch) == "started" for batch in batches)
    return batches[-1]


def _running(runner: StepRunner) -> Batch:
    """Some batch that runs."""
    numbers = range(1, RUNNING + 1)
    found = (_get(runner, number) for number in numbers)
    return next(batch for batch in found if batch is not None and batch.is_running)


def _get(runner: StepRunner, batch_id: int) -> Batch | None:
    with runner.parts.database.read() as connection:
        return store.get(connection, batch_id)


def _is_held(runner: StepRunner, batch: Batch) -> bool:
    now = runner.load_batch(batch)
    assert now
    return now.is_held
