"""Operations of a sending target: sent at least once under one key, recorded exactly once."""

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from batchway.kit.clock import SECOND
from batchway.lifecycle.admit import choose_first_step
from batchway.lifecycle.cancel import cancel_batch
from batchway.lifecycle.chain import choose_chunk_step
from batchway.lifecycle.delete import delete_batch
from batchway.lifecycle.parts import Parts
from batchway.model.batch import Batch
from batchway.model.step import Step
from batchway.observers.base import Event, Field, Observers
from batchway.store import chunks
from batchway.targets.table import TargetTable
from tests.faults.one_time_fault import OneTimeFault
from tests.scenario import Operation, Result, Server, wait_until
from tests.scripted_target import PAUSE, Broken, ScriptedTarget, Sent, read_history
from tests.step_runner import AUDIENCE, StepRunner, open_step_runner
from tests.steps import run_steps

SEND_POINTS = [Event.SEND_BEFORE_COMMIT, Event.SEND_AFTER_COMMIT]


class Died(Exception):
    """Ends a step as the death of its process would."""


@pytest.fixture
def target() -> ScriptedTarget:
    """The target under /echo."""
    return ScriptedTarget()


@pytest.fixture
def runner(server: Server, target: ScriptedTarget) -> Iterator[StepRunner]:
    """A step runner with the audience and the scripted target, on each database in turn."""
    with open_step_runner(server, [target.mount]) as opened:
        yield opened


# --- From the request to the archive -------------------------------------------------------------


@pytest.mark.parametrize("is_large", [False, True], ids=["small", "large"])
def test_a_batch_that_mixes_targets(
    runner: StepRunner, target: ScriptedTarget, is_large: bool
) -> None:
    """Each operation gets its result from its own target, at its own position."""
    scripts = ["ok", "fail", "silent", "unsent"]
    operations: list[Operation] = []
    for number, addition in enumerate(runner.make_additions(300 if is_large else 8)):
        operations += [addition, *send(scripts[number % 4])]
    operations.append({"method": "POST", "path": "/batches", "body": "{}"})

    batch = submit(runner, operations)
    finish(runner, batch)

    results = read_sorted_results(runner, batch)
    expected = [200, 200, 200, 422, 200, 504, 200, 503] * (len(operations) // 8)
    assert [*expected, 400] == get_status_codes(results)
    assert "urn:batchway:outcome-unknown" == results[5].response["type"]
    assert "urn:batchway:not-sent" == results[7].response["type"]
    assert len(operations) // 2 == runner.count_members()
    unsent = set(range(7, len(operations), 8))
    assert set(range(1, len(operations) - 1, 2)) - unsent == {
        sent_operation.position for sent_operation in target.sent
    }
    check_each_sent_once(target)


def test_each_operation_has_a_key_of_its_own(runner: StepRunner, target: ScriptedTarget) -> None:
    """Equal operations have different keys, within a batch and between batches."""
    for _ in range(2):
        finish(runner, submit(runner, send("ok", "ok", "ok")))

    assert 6 == len(target.sent) == len({sent_operation.key for sent_operation in target.sent})


def test_postponed_operations_wait(runner: StepRunner, target: ScriptedTarget) -> None:
    """Postponed operations show their reason and are sent once later; others do not wait."""
    batch = submit(runner, send("later", "ok", "later", "ok"))

    run_all(runner, batch)

    assert {1, 3} == {sent_operation.position for sent_operation in target.sent}
    with runner.parts.database.read() as connection:
        assert PAUSE == chunks.find_reason(connection, batch)
    runner.clock.now += 60 * SECOND
    finish(runner, batch)
    assert [200] * 4 == get_status_codes(read_sorted_results(runner, batch))
    check_each_sent_once(target)


# --- Deaths of a process --------------------------------------------------------------------------


@dataclass
class DiesEachSecondTime:
    """An observer that ends the step at the first, third, … visit of a fault point."""

    point: Event
    visits: int = 0

    def observe(self, event: Event, _fields: Mapping[str, Field]) -> None:
        """Count the visit."""
        if event is self.point:
            self.visits += 1
            if self.visits % 2:
                raise Died


@pytest.mark.parametrize("point", SEND_POINTS)
def test_what_was_not_committed_is_sent_again(
    runner: StepRunner, target: ScriptedTarget, point: Event
) -> None:
    """After a death, only uncommitted operations are sent again, under the same keys."""
    batch = submit(runner, send(*["ok"] * 7))
    observe = runner.parts.observe
    runner.parts = replace(runner.parts, observe=Observers([DiesEachSecondTime(point)]))

    for _ in range(10):
        with suppress(Died):
            run_all(runner, batch)
    runner.parts = replace(runner.parts, observe=observe)
    finish(runner, batch)

    results = read_sorted_results(runner, batch)
    assert [200] * 7 == get_status_codes(results)
    keys = {sent_operation.position: sent_operation.key for sent_operation in target.sent}
    assert [keys[position] for position in range(7)] == [
        result.response["key"] for result in results
    ]
    assert len(keys) == len(
        {(sent_operation.position, sent_operation.key) for sent_operation in target.sent}
    )
    sent_twice = [
        sent_operation for sent_operation, count in Counter(target.sent).items() if count > 1
    ]
    assert bool(sent_twice) == (point is Event.SEND_BEFORE_COMMIT)


def test_an_operation_that_breaks_each_attempt(runner: StepRunner) -> None:
    """An operation that breaks each attempt gets a 504; the others get their results."""
    batch = submit(runner, send("ok", "ok", "break", "ok", "ok"))

    for _ in range(5 * runner.parts.limits.chunk_attempts_max):
        with suppress(Broken):
            run_all(runner, batch)
    finish(runner, batch)

    assert [200, 200, 504, 200, 200] == get_status_codes(read_sorted_results(runner, batch))


@pytest.mark.parametrize("point", SEND_POINTS)
def test_a_process_dies_while_it_sends(server: Server, tmp_path: Path, point: Event) -> None:
    """Another process takes over, and sends the rest under the keys of the first process."""
    history = tmp_path / "history"
    fault = OneTimeFault(point, tmp_path / "struck")
    variables = server.environment() | fault.make_variables()
    fault.arm()
    with open_step_runner(server, [ScriptedTarget().mount]) as runner:
        batch = submit(runner, [*runner.make_additions(3), *send(*["ok"] * 5)])
        with running_worker(history, variables) as first:
            assert -signal.SIGKILL == first.wait(60)
        with running_worker(history, variables):
            wait_until(lambda: runner.get_status(batch) == "finished", "the batch finishes")
        results = read_sorted_results(runner, batch)

    sent = read_history(history)
    assert [200] * 8 == get_status_codes(results)
    assert {(sent_operation.position, sent_operation.key) for sent_operation in sent} == {
        (position, results[position].response["key"]) for position in range(3, 8)
    }
    assert (len(sent) > 5) == (point is Event.SEND_BEFORE_COMMIT)


# --- Cancelling and deleting ---------------------------------------------------------------------


def test_a_batch_that_is_cancelled_between_slices(
    runner: StepRunner, target: ScriptedTarget
) -> None:
    """Sent operations are recorded, also those of the current slice; the rest is not sent."""
    batch = submit(runner, send(*["ok"] * 7))

    def cancel_with_second_slice() -> None:
        if len(target.sent) == 2 * target.slice_count:
            cancel(runner, batch)

    target.before_slice = cancel_with_second_slice
    finish(runner, batch)

    assert [499] * 3 + [200] * 4 == get_status_codes(read_sorted_results(runner, batch))
    check_each_sent_once(target)


def test_postponing_in_a_batch_that_is_cancelled(
    runner: StepRunner, target: ScriptedTarget
) -> None:
    """Operations that would be postponed are recorded as cancelled."""
    batch = submit(runner, send("ok", "later", "later"))
    target.before_slice = lambda: cancel(runner, batch)

    finish(runner, batch)

    assert [499] * 3 == get_status_codes(read_sorted_results(runner, batch))
    assert [] == target.sent


def test_a_batch_that_is_deleted_between_slices(runner: StepRunner, target: ScriptedTarget) -> None:
    """Nothing more is sent, and the step ends."""
    batch = submit(runner, send(*["ok"] * 7))
    target.before_slice = lambda: delete_batch(runner.parts, batch.account_id, batch.public_id)

    run_all(runner, batch)
    sent = list(target.sent)
    run_all(runner, batch)

    assert target.slice_count == len(sent) == len(target.sent)


# --- The time of a chain, and removed targets -----------------------------------------------------


def test_a_chunk_for_which_the_time_is_over(runner: StepRunner, target: ScriptedTarget) -> None:
    """A chunk whose time is over is handed over and continues with the rest."""
    batch = submit(runner, send(*["ok"] * 7))

    def pass_time() -> None:
        runner.clock.now += int(runner.parts.limits.step_seconds_max * SECOND)

    target.before_slice = pass_time
    finish(runner, batch)

    assert [200] * 7 == get_status_codes(read_sorted_results(runner, batch))
    check_each_sent_once(target)


def test_a_target_that_is_not_configured_any_more(
    runner: StepRunner, target: ScriptedTarget
) -> None:
    """Operations of a removed target get a 503 that names it; the batch finishes."""
    batch = submit(runner, [*runner.make_additions(1), *send("ok")])
    without = TargetTable([runner.parts.targets.by_name[AUDIENCE]])
    run_steps(runner.parts, Step.SPLIT, batch.id)
    runner.parts = replace(runner.parts, targets=without)
    finish(runner, batch)

    results = read_sorted_results(runner, batch)
    assert [200, 503] == get_status_codes(results)
    assert "'echo'" in results[1].response["detail"]
    assert [] == target.sent


# --- Helpers --------------------------------------------------------------------------------------


def send(*scripts: str) -> list[Operation]:
    """Return operations of the scripted target."""
    return [{"method": "POST", "path": f"/echo/{script}", "body": "{}"} for script in scripts]


def submit(runner: StepRunner, operations: Sequence[Operation]) -> Batch:
    """Submit a batch whose operation ids are their positions."""
    return runner.submit(
        [
            operation | {"operation_id": str(position)}
            for position, operation in enumerate(operations)
        ]
    )


def run_all(runner: StepRunner, batch: Batch) -> None:
    """Run the steps that are handed over: first the split, then each waiting chunk."""
    found = runner.load_batch(batch)
    if found is None:
        return
    if found.status in ("pending", "preprocessing"):
        run_steps(runner.parts, choose_first_step(runner.parts, found.operation_count), batch.id)
    for name in _waiting_steps(runner.parts, batch):
        run_steps(runner.parts, *name)


def finish(runner: StepRunner, batch: Batch) -> None:
    """Run all steps of a batch."""
    for _ in range(20):
        run_all(runner, batch)
        if runner.get_status(batch) == "finalizing":
            run_steps(runner.parts, Step.FINALIZE, batch.id)
        if runner.get_status(batch) == "finished":
            return
    pytest.fail(f"The batch is still {runner.get_status(batch)}.")


def _waiting_steps(parts: Parts, batch: Batch) -> Sequence[tuple[Step, int, int]]:
    with parts.database.read() as connection:
        waiting = chunks.find_waiting(connection, batch)
    return [
        choose_chunk_step(parts.targets, batch.id, future.number, future.target)
        for future in waiting
    ]


def cancel(runner: StepRunner, batch: Batch) -> None:
    """Cancel the batch, as its owner does."""
    assert cancel_batch(runner.parts, batch.account_id, batch.public_id)


def read_sorted_results(runner: StepRunner, batch: Batch) -> list[Result]:
    """Return the results in the archive, in the order of the operations."""
    return sorted(runner.read_results(batch), key=lambda result: int(result.operation_id or ""))


def get_status_codes(results: Sequence[Result]) -> list[int]:
    """Return the status code of each result."""
    return [result.status_code for result in results]


@contextmanager
def running_worker(history: Path, variables: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker with the scripted target until the end of the block."""
    command = [sys.executable, "-m", "tests.faults.sending_worker", str(history)]
    process = subprocess.Popen(command, env=variables, cwd=Path(__file__).parents[2])
    try:
        yield process
    finally:
        process.kill()
        process.wait(60)


def check_each_sent_once(target: ScriptedTarget) -> None:
    """Check that no operation reached the receiver twice."""
    assert [] == [
        sent_operation for sent_operation, count in Counter[Sent](target.sent).items() if count > 1
    ]
