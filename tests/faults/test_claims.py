"""Claims of steps: two live workers never run the same step, and no claim blocks a step forever.

Also what depends on claims: results that are committed in any order, and chunks that wait.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import cast

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from batchway import limits
from batchway.engine.hand_overs import HandOvers
from batchway.formats.base import Entry
from batchway.kit.clock import SECOND
from batchway.lifecycle.cancel import cancel_batch
from batchway.lifecycle.chain import Chain
from batchway.lifecycle.delete import delete_batch
from batchway.lifecycle.idle_claims import release_idle_claims
from batchway.lifecycle.pack import pack_results
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.record import NotRunning, postpone, record_results
from batchway.lifecycle.running_steps import RunningSteps
from batchway.lifecycle.steps import run_chain
from batchway.lifecycle.submit import IncomingBatch, submit_batch
from batchway.lifecycle.sweep import sweep
from batchway.lifecycle.work import Work, load_work
from batchway.limits import Limits
from batchway.model.batch import Batch, Chunk
from batchway.model.operation import Operation
from batchway.model.positions import Positions
from batchway.model.result import Result
from batchway.model.step import Step, StepName, WrittenHandOver
from batchway.results import Filter
from batchway.store import chunks, leases
from batchway.store.database import Database
from tests.faults.recording_engine import RecordingEngine
from tests.scenario import Server
from tests.step_runner import BASE, LARGE, StepRunner, open_step_runner
from tests.steps import execute, finalize, run_steps, split

SMALL = 20


@pytest.fixture
def runner(server: Server) -> Iterator[StepRunner]:
    """A step runner whose worker has a lease, on each database in turn."""
    with open_step_runner(server) as opened:
        prolong_lease(opened, opened.parts)
        yield opened


# --- Two workers ---------------------------------------------------------------------------------


def test_a_slow_chunk_is_run_once_by_two_living_workers(runner: StepRunner) -> None:
    """A second worker neither begins a chunk nor asks for it while the first one lives."""
    batch = runner.submit(runner.make_additions(LARGE))
    other = make_other_worker(runner)
    begun: list[int] = []

    def be_slow(operations: Sequence[object]) -> None:
        begun.append(len(operations))
        runner.clock.now += 60 * SECOND
        prolong_lease(runner, runner.parts)
        execute(other, batch.id, 0)
        sweep(other, find_all_lost)

    split(runner.parts, batch.id)
    execute(runner.make_interrupted_parts(be_slow), batch.id, 0)

    assert [5_000] == begun
    assert [1] == runner.get_waiting_chunks(batch)
    execute(other, batch.id, 1)
    finalize(other, batch.id)
    assert LARGE == len(runner.read_results(batch)) == runner.count_members()


def test_a_worker_that_was_taken_for_dead_changes_nothing(runner: StepRunner) -> None:
    """A worker whose lease has ended cannot commit a chunk that another worker has run."""
    batch = runner.submit(runner.make_additions(LARGE))
    other = make_other_worker(runner)

    def sleep(_operations: Sequence[object]) -> None:
        runner.clock.now += int((limits.lease_seconds + 1) * SECOND)
        prolong_lease(runner, other)
        execute(other, batch.id, 0)

    split(runner.parts, batch.id)
    execute(runner.make_interrupted_parts(sleep), batch.id, 0)
    execute(other, batch.id, 1)
    finalize(other, batch.id)

    assert LARGE == len(runner.read_results(batch)) == runner.count_members()


def test_the_archive_is_written_by_one_living_worker(runner: StepRunner) -> None:
    """Finalize is claimed with the last chunk; for another worker it has no effect."""
    batch = runner.submit(runner.make_additions(SMALL))
    steps = run_until(runner.parts, Step.RUN, batch, Step.FINALIZE)
    other = make_other_worker(runner)

    runner.check_no_effect(lambda: finalize(other, batch.id))
    assert "finalizing" == runner.get_status(batch)
    for _ in steps:
        pass
    assert "finished" == runner.get_status(batch)


@pytest.mark.parametrize(("size", "step"), [(SMALL, Step.RUN), (LARGE, Step.SPLIT)])
def test_a_chain_that_dies_is_handed_over_at_once(
    runner: StepRunner, size: int, step: Step
) -> None:
    """The sweep hands over the steps of a dead worker without waiting until they are overdue."""
    other = make_other_worker(runner)
    batch = runner.submit(runner.make_additions(size))
    with suppress(Died):
        run_steps(runner.make_interrupted_parts(die), step, batch.id)
    engine = RecordingEngine()

    sweep(other, engine)
    assert [] == engine.names
    with runner.parts.database.write() as connection:
        leases.release(connection, runner.parts.worker)
    sweep(other, engine)

    [name] = engine.names
    assert StepName(Step.RUN if step is Step.RUN else Step.EXECUTE, batch.id) == name
    run_steps(other, *name)
    assert 0 not in runner.get_waiting_chunks(batch)


def test_a_claim_whose_release_failed(runner: StepRunner) -> None:
    """If a step and the release of its claim fail, the worker releases the idle claim later."""
    batch = runner.submit(runner.make_additions(LARGE))
    split(runner.parts, batch.id)
    other = make_other_worker(runner)

    def fail(_operations: Sequence[object]) -> None:
        release_idle_claims(runner.parts)  # it runs: its claim is not idle
        raise OperationalError("lost", None, OSError())

    with suppress(OperationalError):
        execute(runner.make_interrupted_parts(fail), batch.id, 0)
    runner.check_no_effect(lambda: execute(other, batch.id, 0))

    release_idle_claims(runner.parts)
    execute(other, batch.id, 0)

    assert [1] == runner.get_waiting_chunks(batch)


def test_a_process_runs_a_step_once(runner: StepRunner) -> None:
    """A second hand-over of a step that runs in the same process has no effect."""
    batch = runner.submit(runner.make_additions(LARGE))
    split(runner.parts, batch.id)
    begun: list[int] = []

    def begin_again(operations: Sequence[object]) -> None:
        begun.append(len(operations))
        execute(runner.make_interrupted_parts(begin_again), batch.id, 0)

    execute(runner.make_interrupted_parts(begin_again), batch.id, 0)

    assert [5_000] == begun


# --- Halved chunks --------------------------------------------------------------------------------


def test_a_chunk_is_halved_whole_or_not_at_all(runner: StepRunner) -> None:
    """A chunk that cannot be halved keeps all of its operations."""
    batch = runner.submit(runner.make_additions(LARGE))
    split(runner.parts, batch.id)
    with runner.parts.database.write() as connection:
        for _ in range(Limits.chunk_attempts_max):
            chunks.claim(connection, batch, 0, runner.parts.worker)

    def delete() -> None:
        assert delete_batch(runner.parts, batch.account_id, batch.public_id)

    database = InterruptedDatabase(runner.parts.database, delete)
    execute(replace(runner.parts, database=cast(Database, database)), batch.id, 0)

    assert [5_000, 1_000] == [len(chunk.positions) for chunk in get_waiting_chunks(runner, batch)]


# --- Results in any order ------------------------------------------------------------------------


@pytest.mark.parametrize("format_name", ["per-operation", "per-batch"])
def test_results_that_are_committed_in_any_order(runner: StepRunner, format_name: str) -> None:
    """Each slice can be read once it is committed; the chunk keeps the other operations."""
    parts = replace(runner.parts, format_name=format_name)
    batch = submit_to(parts, runner)
    claimed = claim_first_chunk(parts, batch)
    slices = [[7, 3, 5], [0, 19], [4, 6, 8, 9, 10], [1]]
    seen: list[int] = []

    for slice_positions in slices:
        commit_slice(parts, claimed, Positions.collect(slice_positions))
        seen = sorted([*seen, *slice_positions])
        check_results(parts, batch, seen)
    left = Positions.collect(set(range(SMALL)) - set(seen))
    assert [left] == [chunk.positions for chunk in get_waiting_chunks(runner, batch)]

    commit_slice(parts, claimed, left)
    run_steps(parts, Step.FINALIZE, batch.id)
    check_results(parts, batch, range(SMALL))
    ids = [int(result.operation_id or "") for result in runner.read_results(batch)]
    assert list(range(SMALL)) == sorted(ids)


def test_a_slice_of_a_lost_claim(runner: StepRunner) -> None:
    """A slice is not stored if another worker has claimed the chunk meanwhile."""
    batch = runner.submit(runner.make_additions(SMALL))
    work = load_work(runner.parts, claim_first_chunk(runner.parts, batch))
    assert work
    runner.clock.now += int((limits.lease_seconds + 1) * SECOND)
    claim_first_chunk(make_other_worker(runner), batch)

    before = runner.take_snapshot()
    with pytest.raises(NotRunning):
        commit_work(runner.parts, work, Positions.collect([3]))
    assert before == runner.take_snapshot()


def test_a_chunk_goes_on_with_what_is_left(runner: StepRunner) -> None:
    """A worker that takes over a chunk executes only the operations without a result."""
    batch = runner.submit(runner.make_additions(SMALL))
    commit_slice(runner.parts, claim_first_chunk(runner.parts, batch), Positions.collect([2, 5, 6]))
    executed: list[str | None] = []

    def note(operations: Sequence[Operation]) -> None:
        executed.extend(operation.operation_id for operation in operations)

    run_steps(runner.make_interrupted_parts(note), Step.EXECUTE, batch.id, 0)

    assert [str(number) for number in range(SMALL) if number not in (2, 5, 6)] == executed
    assert "finished" == runner.get_status(batch)
    assert SMALL == len(runner.read_results(batch))


# --- Chunks that wait ----------------------------------------------------------------------------


def test_a_postponed_chunk_waits_without_a_thread(runner: StepRunner) -> None:
    """Postponed operations become a chunk with a reason, which is not claimed before its time."""
    batch = runner.submit(runner.make_additions(SMALL))
    claimed = claim_first_chunk(runner.parts, batch)
    commit_slice(runner.parts, claimed, Positions.collect([0]), postponed=Positions.collect([3, 8]))

    runner.check_no_effect(
        lambda: execute(runner.parts, batch.id, 1), lambda: sweep(runner.parts, find_all_lost)
    )
    assert "The receiver is busy." == get_reason(runner, batch)
    runner.clock.now += 60 * SECOND
    execute(runner.parts, batch.id, 1)

    assert [0] == runner.get_waiting_chunks(batch)
    assert get_reason(runner, batch) is None
    run_steps(runner.parts, Step.RUN, batch.id)
    assert SMALL == len(runner.read_results(batch))


def test_the_sweep_knows_when_a_postponed_chunk_is_due(runner: StepRunner) -> None:
    """A postponed chunk whose hand-over was lost is handed over after its time, not before."""
    batch = runner.submit(runner.make_additions(SMALL))
    claimed = claim_first_chunk(runner.parts, batch)
    commit_slice(runner.parts, claimed, Positions.collect([0]), postponed=Positions.collect([3, 8]))
    engine = RecordingEngine()

    runner.clock.now += 59 * SECOND
    prolong_lease(runner, runner.parts)
    sweep(runner.parts, engine)
    assert [] == engine.names
    runner.clock.now += int((1 + limits.overdue_seconds) * SECOND) + 1
    sweep(runner.parts, engine)

    assert [StepName(Step.RUN, batch.id)] == engine.names


def test_cancelling_does_not_wait_for_postponed_chunks(runner: StepRunner) -> None:
    """In a cancelled batch, postponed operations are recorded as cancelled at once."""
    batch = runner.submit(runner.make_additions(SMALL))
    claimed = claim_first_chunk(runner.parts, batch)
    commit_slice(runner.parts, claimed, Positions.collect([0]), postponed=Positions.collect([3, 8]))

    cancel_batch(runner.parts, batch.account_id, batch.public_id)
    run_steps(runner.parts, Step.RUN, batch.id)

    statuses = [result.status_code for result in runner.read_results(batch)]
    assert [204, *[499] * (SMALL - 1)] == statuses


# --- Helpers --------------------------------------------------------------------------------------


@dataclass
class InterruptedDatabase:
    """A database that calls `interrupt` before its second write transaction."""

    database: Database
    interrupt: Callable[[], None]
    write_count: int = 0

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a write transaction."""
        self.write_count += 1
        if self.write_count == 2:
            self.interrupt()
        with self.database.write() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a read transaction."""
        with self.database.read() as connection:
            yield connection


def make_other_worker(runner: StepRunner) -> Parts:
    """Return parts for another worker process, which has a lease."""
    name = "other-worker"
    parts = replace(
        runner.parts,
        worker=name,
        hand_over=HandOvers(runner.parts.database, name),
        running=RunningSteps(),
    )
    prolong_lease(runner, parts)
    return parts


def prolong_lease(runner: StepRunner, parts: Parts) -> None:
    """Renew the lease of a worker."""
    with runner.parts.database.write() as connection:
        leases.renew(connection, parts.worker, is_ready=True, seconds=limits.lease_seconds)


def find_all_lost(written: Sequence[WrittenHandOver]) -> list[StepName]:
    """Answer the sweep as an engine that has lost every hand-over."""
    return [hand_over.name for hand_over in written]


class Died(Exception):
    """Ends a step as the death of its process would: nothing is handed over."""


def die(_operations: Sequence[object]) -> None:
    """Die while a chunk is executed."""
    raise Died


def run_until(parts: Parts, step: Step, batch: Batch, last: Step) -> Iterator[StepName]:
    """Run a chain until it has claimed a step of this kind."""
    chain = run_chain(parts, StepName(step, batch.id))
    next(name for name in chain if name.step is last)
    return chain


def get_waiting_chunks(runner: StepRunner, batch: Batch) -> list[Chunk]:
    """Return the chunks that are not done."""
    with runner.parts.database.read() as connection:
        return chunks.find_waiting(connection, batch)


def get_reason(runner: StepRunner, batch: Batch) -> str | None:
    """Return why a chunk of the batch waits."""
    with runner.parts.database.read() as connection:
        return chunks.find_reason(connection, batch)


def submit_to(parts: Parts, runner: StepRunner) -> Batch:
    """Submit a small batch with these parts."""
    pings = [Operation("GET", "/ping", {}, None, str(n)) for n in range(SMALL)]
    with IncomingBatch.collect(parts.targets, parts.limits, pings) as some:
        return submit_batch(parts, runner.identity, BASE, some)


def claim_first_chunk(parts: Parts, batch: Batch) -> StepName:
    """Split the batch if it is not split yet, and claim its first chunk."""
    split(parts, batch.id)
    name = StepName(Step.EXECUTE, batch.id, 0)
    with parts.database.write() as connection:
        assert chunks.claim(connection, batch, 0, parts.worker)
    return name


def commit_slice(
    parts: Parts, name: StepName, positions: Positions, postponed: Positions | None = None
) -> None:
    """Record a 204 for these operations of a claimed chunk, and postpone others."""
    work = load_work(parts, name)
    assert work
    commit_work(parts, work, positions, postponed)


def commit_work(
    parts: Parts, work: Work, positions: Positions, postponed: Positions | None = None
) -> None:
    """Record a 204 for these operations of a loaded chunk, and postpone others."""
    by_position = dict(zip(work.chunk.positions, work.operations, strict=True))
    done = Result.from_bytes(204, b"{}")
    entries = [Entry(position, 0, by_position[position], done) for position in positions]
    packed = pack_results(parts, work.batch, entries)
    remaining = work.chunk.positions.remove(positions)
    name = StepName(Step.EXECUTE, work.batch.id, work.chunk.number)
    with parts.database.write() as connection:
        if postponed:
            remaining = remaining.remove(postponed)
            postpone(parts, connection, work, postponed, 60, "The receiver is busy.")
        recorded = record_results(parts, connection, work, packed, remaining)
        Chain(parts, name, ends_at=0).follow(connection, work.batch, [], recorded.chunks_left)


def check_results(parts: Parts, batch: Batch, positions: Sequence[int]) -> None:
    """Check that these results, and no others, are found by each way of reading them."""
    results = parts.read_results(batch, Filter())
    assert list(positions) == [result.position for result in results.iterate()]
    page, total = results.read_page(3, 1, 10**9)
    assert (list(positions)[1:4], len(positions)) == ([result.position for result in page], total)
    for position in range(SMALL):
        found = results.find(position, 0)
        assert found
        assert str(position) == found[0].operation_id
        assert (position in positions) == (found[1] is not None)
