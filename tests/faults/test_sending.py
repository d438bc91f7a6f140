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
from tests.faults.by_hand import AUDIENCE, ByHand, opened_by_hand
from tests.faults.trap import Trap
from tests.scenario import Operation, Result, Server, until
from tests.scripted_target import PAUSE, Broken, ScriptedTarget, Sent, read_history
from tests.steps import run_steps

SEND_POINTS = [Event.SEND_BEFORE_COMMIT, Event.SEND_AFTER_COMMIT]


class Died(Exception):
    """Ends a step as the death of its process would."""


@pytest.fixture
def target() -> ScriptedTarget:
    """The target under /echo."""
    return ScriptedTarget()


@pytest.fixture
def hand(server: Server, target: ScriptedTarget) -> Iterator[ByHand]:
    """The steps, with the built-in audience and the scripted target, on each database in turn."""
    with opened_by_hand(server, [target.mount]) as opened:
        yield opened


# --- From the request to the archive -------------------------------------------------------------


@pytest.mark.parametrize("is_large", [False, True], ids=["small", "large"])
def test_a_batch_that_mixes_targets(hand: ByHand, target: ScriptedTarget, is_large: bool) -> None:
    """Each operation gets its result from its own target, in its own place."""
    scripts = ["ok", "fail", "silent", "unsent"]
    operations: list[Operation] = []
    for number, addition in enumerate(hand.additions(300 if is_large else 8)):
        operations += [addition, *send(scripts[number % 4])]
    operations.append({"method": "POST", "path": "/batches", "body": "{}"})

    batch = submit(hand, operations)
    finish(hand, batch)

    results = results_of(hand, batch)
    expected = [200, 200, 200, 422, 200, 504, 200, 503] * (len(operations) // 8)
    assert [*expected, 400] == status_codes(results)
    assert "urn:batchway:outcome-unknown" == results[5].response["type"]
    assert "urn:batchway:not-sent" == results[7].response["type"]
    assert len(operations) // 2 == hand.member_count()
    unsent = set(range(7, len(operations), 8))
    assert set(range(1, len(operations) - 1, 2)) - unsent == {each.position for each in target.sent}
    check_each_sent_once(target)


def test_each_operation_has_a_key_of_its_own(hand: ByHand, target: ScriptedTarget) -> None:
    """Equal operations are told apart, within a batch and between batches."""
    for _ in range(2):
        finish(hand, submit(hand, send("ok", "ok", "ok")))

    assert 6 == len(target.sent) == len({each.key for each in target.sent})


def test_postponed_operations_wait(hand: ByHand, target: ScriptedTarget) -> None:
    """All others are recorded meanwhile; the reason is shown; then they are sent, once."""
    batch = submit(hand, send("later", "ok", "later", "ok"))

    run_all(hand, batch)

    assert {1, 3} == {each.position for each in target.sent}
    with hand.parts.database.read() as connection:
        assert PAUSE == chunks.find_reason(connection, batch)
    hand.clock.now += 60 * SECOND
    finish(hand, batch)
    assert [200] * 4 == status_codes(results_of(hand, batch))
    check_each_sent_once(target)


# --- Death ---------------------------------------------------------------------------------------


@dataclass
class DiesEachSecondTime:
    """An observer that ends the step at each second visit of a point, from the first on."""

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
    hand: ByHand, target: ScriptedTarget, point: Event
) -> None:
    """After a death in each slice: under the same keys; what was committed is not sent again."""
    batch = submit(hand, send(*["ok"] * 7))
    observe = hand.parts.observe
    hand.parts = replace(hand.parts, observe=Observers([DiesEachSecondTime(point)]))

    for _ in range(10):
        with suppress(Died):
            run_all(hand, batch)
    hand.parts = replace(hand.parts, observe=observe)
    finish(hand, batch)

    results = results_of(hand, batch)
    assert [200] * 7 == status_codes(results)
    keys = {each.position: each.key for each in target.sent}
    assert [keys[position] for position in range(7)] == [each.response["key"] for each in results]
    assert len(keys) == len({(each.position, each.key) for each in target.sent})
    sent_twice = [each for each, count in Counter(target.sent).items() if count > 1]
    assert bool(sent_twice) == (point is Event.SEND_BEFORE_COMMIT)


def test_an_operation_that_breaks_each_attempt(hand: ByHand) -> None:
    """It is set apart, and nobody knows whether it was done; all others get their results."""
    batch = submit(hand, send("ok", "ok", "break", "ok", "ok"))

    for _ in range(5 * hand.parts.limits.chunk_attempts_max):
        with suppress(Broken):
            run_all(hand, batch)
    finish(hand, batch)

    assert [200, 200, 504, 200, 200] == status_codes(results_of(hand, batch))


@pytest.mark.parametrize("point", SEND_POINTS)
def test_a_process_dies_while_it_sends(server: Server, tmp_path: Path, point: Event) -> None:
    """Another one takes over: all operations get results, under the keys of the first."""
    history = tmp_path / "history"
    trap = Trap(point, tmp_path / "struck")
    variables = server.environment() | trap.laid()
    trap.set()
    with opened_by_hand(server, [ScriptedTarget().mount]) as hand:
        batch = submit(hand, [*hand.additions(3), *send(*["ok"] * 5)])
        with running_worker(history, variables) as first:
            assert -signal.SIGKILL == first.wait(60)
        with running_worker(history, variables):
            until(lambda: hand.status(batch) == "finished", "the batch finishes")
        results = results_of(hand, batch)

    sent = read_history(history)
    assert [200] * 8 == status_codes(results)
    assert {(each.position, each.key) for each in sent} == {
        (position, results[position].response["key"]) for position in range(3, 8)
    }
    assert (len(sent) > 5) == (point is Event.SEND_BEFORE_COMMIT)


# --- Cancelling and deleting ---------------------------------------------------------------------


def test_a_batch_that_is_cancelled_between_slices(hand: ByHand, target: ScriptedTarget) -> None:
    """What was sent is recorded, the slice under way included; the rest is not sent any more."""
    batch = submit(hand, send(*["ok"] * 7))

    def cancel_with_second_slice() -> None:
        if len(target.sent) == 2 * target.slice_count:
            cancel(hand, batch)

    target.before_slice = cancel_with_second_slice
    finish(hand, batch)

    assert [499] * 3 + [200] * 4 == status_codes(results_of(hand, batch))
    check_each_sent_once(target)


def test_postponing_in_a_batch_that_is_cancelled(hand: ByHand, target: ScriptedTarget) -> None:
    """Nothing waits any more: what was to wait is recorded as cancelled."""
    batch = submit(hand, send("ok", "later", "later"))
    target.before_slice = lambda: cancel(hand, batch)

    finish(hand, batch)

    assert [499] * 3 == status_codes(results_of(hand, batch))
    assert [] == target.sent


def test_a_batch_that_is_deleted_between_slices(hand: ByHand, target: ScriptedTarget) -> None:
    """Nothing more is sent, and the step ends."""
    batch = submit(hand, send(*["ok"] * 7))
    target.before_slice = lambda: delete_batch(hand.parts, batch.account_id, batch.public_id)

    run_all(hand, batch)
    sent = list(target.sent)
    run_all(hand, batch)

    assert target.slice_count == len(sent) == len(target.sent)


# --- The worker's time, and the configuration ----------------------------------------------------


def test_a_chunk_for_which_the_time_is_over(hand: ByHand, target: ScriptedTarget) -> None:
    """It is handed over with what is left, and goes on there."""
    batch = submit(hand, send(*["ok"] * 7))

    def pass_time() -> None:
        hand.clock.now += int(hand.parts.limits.step_seconds_max * SECOND)

    target.before_slice = pass_time
    finish(hand, batch)

    assert [200] * 7 == status_codes(results_of(hand, batch))
    check_each_sent_once(target)


def test_a_target_that_is_not_configured_any_more(hand: ByHand, target: ScriptedTarget) -> None:
    """Its operations are recorded as not sent, and name it; the batch ends like any other."""
    batch = submit(hand, [*hand.additions(1), *send("ok")])
    without = TargetTable([hand.parts.targets.by_name[AUDIENCE]])
    run_steps(hand.parts, Step.SPLIT, batch.id)
    hand.parts = replace(hand.parts, targets=without)
    finish(hand, batch)

    results = results_of(hand, batch)
    assert [200, 503] == status_codes(results)
    assert "'echo'" in results[1].response["detail"]
    assert [] == target.sent


# --- What the tests say --------------------------------------------------------------------------


def send(*scripts: str) -> list[Operation]:
    """Operations of the scripted target."""
    return [{"method": "POST", "path": f"/echo/{script}", "body": "{}"} for script in scripts]


def submit(hand: ByHand, operations: Sequence[Operation]) -> Batch:
    """A batch whose operation ids are their positions."""
    return hand.submit(
        [each | {"operation_id": str(position)} for position, each in enumerate(operations)]
    )


def run_all(hand: ByHand, batch: Batch) -> None:
    """Run what is handed over: first the split, then each chunk that waits."""
    found = hand.batch(batch)
    if found is None:
        return
    if found.status in ("pending", "preprocessing"):
        run_steps(hand.parts, choose_first_step(hand.parts, found.operation_count), batch.id)
    for name in _waiting_steps(hand.parts, batch):
        run_steps(hand.parts, *name)


def finish(hand: ByHand, batch: Batch) -> None:
    """Run all steps of a batch to its end."""
    for _ in range(20):
        run_all(hand, batch)
        if hand.status(batch) == "finalizing":
            run_steps(hand.parts, Step.FINALIZE, batch.id)
        if hand.status(batch) == "finished":
            return
    pytest.fail(f"The batch is still {hand.status(batch)}.")


def _waiting_steps(parts: Parts, batch: Batch) -> Sequence[tuple[Step, int, int]]:
    with parts.database.read() as connection:
        waiting = chunks.find_waiting(connection, batch)
    return [
        choose_chunk_step(parts.targets, batch.id, each.number, each.target) for each in waiting
    ]


def cancel(hand: ByHand, batch: Batch) -> None:
    """Cancel the batch, as its owner does."""
    assert cancel_batch(hand.parts, batch.account_id, batch.public_id)


def results_of(hand: ByHand, batch: Batch) -> list[Result]:
    """The results in the archive, in the order of operations."""
    return sorted(hand.results(batch), key=lambda result: int(result.operation_id or ""))


def status_codes(results: Sequence[Result]) -> list[int]:
    """The status code of each result, in the order of operations."""
    return [result.status_code for result in results]


@contextmanager
def running_worker(history: Path, variables: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process with the scripted target, killed at the end of the block."""
    command = [sys.executable, "-m", "tests.faults.sending_worker", str(history)]
    process = subprocess.Popen(command, env=variables, cwd=Path(__file__).parents[2])
    try:
        yield process
    finally:
        process.kill()
        process.wait(60)


def check_each_sent_once(target: ScriptedTarget) -> None:
    """No operation reached the receiver twice."""
    assert [] == [each for each, count in Counter[Sent](target.sent).items() if count > 1]
