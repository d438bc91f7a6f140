"""A poisonous operation, which ends each process that executes it, does not stop its batch."""

from collections.abc import Callable, Sequence

import pytest

from batchway.audience.members.body import MemberRenderer
from batchway.audience.members.member import Member
from batchway.limits import Limits
from batchway.model.batch import Batch
from batchway.model.operation import Operation
from batchway.observers.base import Event
from tests.faults.batch_monitor import BatchMonitor
from tests.scenario import GIVE_UP_SECONDS, Server, add_member, check_invariants
from tests.step_runner import LARGE, StepRunner
from tests.steps import execute, finalize, run, split

POISON = "13"  # the operation id of the one that is at fault
SMALL = 20


class Poisoned(Exception):
    """Ends the step as the death of its process would: nothing is stored."""


def test_one_poisonous_operation_in_a_large_batch(runner: StepRunner) -> None:
    """The chunk is halved until the poisonous operation is alone and gets a 500."""
    batch = runner.submit(runner.make_additions(LARGE))
    parts = runner.make_interrupted_parts(poison)
    split(parts, batch.id)
    steps = 0

    while waiting := runner.get_waiting_chunks(batch):
        for number in waiting:
            steps += 1
            run_until_poisoned(lambda number=number: execute(parts, batch.id, number))  # type: ignore[misc]
    finalize(parts, batch.id)

    assert steps < compute_steps_max(LARGE)
    check_only_poison_failed(runner, batch)


def test_result_that_cannot_be_rendered(
    runner: StepRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result that cannot be rendered becomes a 500; the others are not affected."""
    batch = runner.submit(runner.make_additions(SMALL))
    render = MemberRenderer.render

    def fail_for_one(renderer: MemberRenderer, member: Member, *, plain: bool) -> bytes:
        if member.email_address.startswith(f"{POISON}@"):
            raise Poisoned
        return render(renderer, member, plain=plain)

    monkeypatch.setattr(MemberRenderer, "render", fail_for_one)
    run(runner.parts, batch.id)

    statuses = {result.operation_id: result.status_code for result in runner.read_results(batch)}
    assert SMALL == len(statuses)
    assert [POISON] == [name for name, status in statuses.items() if status == 500]
    assert {200, 500} == set(statuses.values())


def test_one_poisonous_operation_in_a_small_batch(runner: StepRunner) -> None:
    """In a batch of one chunk, too, only the poisonous operation gets a 500."""
    batch = runner.submit(runner.make_additions(SMALL))
    parts = runner.make_interrupted_parts(poison)
    runs = 0

    while runner.get_status(batch) != "finished":
        runs += 1
        assert runs < compute_steps_max(SMALL)
        run_until_poisoned(lambda: run(parts, batch.id))

    check_only_poison_failed(runner, batch)


def test_an_operation_that_kills(server: Server) -> None:
    """A worker that an operation kills is restarted until the operation has its 500."""
    check_all_killed(server, 1, GIVE_UP_SECONDS)


@pytest.mark.long
def test_operations_that_kill(server: Server) -> None:
    """A batch in which each operation kills finishes like any other."""
    check_all_killed(server, 3, 3 * GIVE_UP_SECONDS)


def check_all_killed(server: Server, count: int, seconds: float) -> None:
    """Check that each operation gets a 500, and that the server works afterwards."""
    server.start(BATCHWAY_FAULT=Event.EXECUTE_BEFORE_ANSWER).wait_until_ready()
    list_id = server.new_list()
    operations = [add_member(list_id, f"{number}@example.com") for number in range(count)]

    batch_id = server.submit(operations)
    server.wait_until_finished(batch_id, seconds)

    results = check_invariants(server, batch_id, operations)
    assert [500] * count == [result.status_code for result in results]
    assert [] == server.get_members(list_id)
    assert 0 == server.stop()
    server.start()
    monitor = BatchMonitor(server, server.submit(operations))
    monitor.wait_until_finished()
    assert count == len(server.get_members(list_id))


def poison(operations: Sequence[Operation]) -> None:
    """End the step if the poisonous operation is among these."""
    if any(operation.operation_id == POISON for operation in operations):
        raise Poisoned


def run_until_poisoned(step: Callable[[], None]) -> None:
    """Run a step, and ignore its death, as an engine that restarts it would."""
    try:
        step()
    except Poisoned:
        return


def compute_steps_max(operation_count: int) -> int:
    """Return more steps than are needed to find one operation by halving."""
    return (Limits.chunk_attempts_max + 2) * (operation_count.bit_length() + 2)


def check_only_poison_failed(runner: StepRunner, batch: Batch) -> None:
    """Check that one operation has a 500, in its place, and the others were added."""
    results = runner.read_results(batch)
    found = runner.load_batch(batch)
    assert found

    assert [POISON] == [result.operation_id for result in results if result.status_code != 200]
    assert [500] == [result.status_code for result in results if result.operation_id == POISON]
    assert list(range(len(results))) == [int(result.operation_id or "") for result in results]
    assert (len(results), 1) == (found.finished_operations, found.errored_operations)
    assert len(results) - 1 == runner.count_members()
