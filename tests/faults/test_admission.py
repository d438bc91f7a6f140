"""The number of batches of an account that run at once is limited; others are held."""

from batchway import limits
from batchway.lifecycle.delete import delete_batch
from batchway.lifecycle.sweep import sweep
from batchway.limits import Limits
from batchway.model.batch import Batch
from batchway.store import batches as store
from tests.faults.recording_engine import RecordingEngine
from tests.scenario import PING
from tests.step_runner import StepRunner
from tests.steps import run, split

LARGE = Limits.small_batch_operations_max + 1
RUNNING = Limits.running_batches_per_account_max


def test_one_more_than_may_run_is_held(runner: StepRunner) -> None:
    """A batch above the limit stays pending, and begins when another batch has ended."""
    held = _hold_batch(runner)

    runner.check_no_effect(lambda: split(runner.parts, held.id))
    assert "pending" == runner.get_status(held)
    assert delete_batch(runner.parts, held.account_id, _find_running(runner).public_id)
    split(runner.parts, held.id)

    assert "started" == runner.get_status(held)


def test_each_end_hands_one_held_batch_over(runner: StepRunner) -> None:
    """When a batch ends, the oldest held batch is handed over, once."""
    first = _hold_batch(runner)
    second = runner.submit([PING] * LARGE)
    split(runner.parts, second.id)

    assert [True, True] == [_is_held(runner, first), _is_held(runner, second)]
    assert delete_batch(runner.parts, first.account_id, _find_running(runner).public_id)
    assert [False, True] == [_is_held(runner, first), _is_held(runner, second)]
    assert delete_batch(runner.parts, first.account_id, _find_running(runner).public_id)
    assert [False, False] == [_is_held(runner, first), _is_held(runner, second)]


def test_a_batch_that_nobody_turned_away_is_not_handed_over_again(runner: StepRunner) -> None:
    """The end of a batch does not hand over a pending batch that is not held."""
    ends, waits = runner.submit([PING]), runner.submit([PING])
    before = runner.load_batch(waits)
    run(runner.parts, ends.id)

    assert "finished" == runner.get_status(ends)
    assert before == runner.load_batch(waits)


def test_the_sweep_leaves_held_batches_alone_while_there_is_no_room(runner: StepRunner) -> None:
    """The sweep hands over a held batch only when the account may run another one."""
    held = _hold_batch(runner)
    engine = RecordingEngine()
    runner.clock.now += int(2 * limits.overdue_seconds * 1_000_000)

    sweep(runner.parts, engine)
    keys = {name.key for name in engine.names}
    assert held.id not in keys
    assert RUNNING == len(keys)
    assert delete_batch(runner.parts, held.account_id, _find_running(runner).public_id)
    sweep(runner.parts, engine)
    assert held.id in {name.key for name in engine.names}


def _hold_batch(runner: StepRunner) -> Batch:
    """Start as many batches as may run and one more, and return that one."""
    batches = [runner.submit([PING] * LARGE) for _ in range(RUNNING + 1)]
    for batch in batches:
        split(runner.parts, batch.id)
    assert RUNNING == sum(runner.get_status(batch) == "started" for batch in batches)
    return batches[-1]


def _find_running(runner: StepRunner) -> Batch:
    """Return a batch that runs."""
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
