"""Steps are claimed: two living workers never run the same one, and no claim holds a step up.

And what claims make possible: results that are committed in any order, and chunks that wait.
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
from tests.faults.by_hand import BASE, ByHand, opened_by_hand
from tests.scenario import Server
from tests.steps import execute, finalize, run_steps, split

LARGE = 6_000  # operations: two chunks
SMALL = 20


@pytest.fixture
def hand(server: Server) -> Iterator[ByHand]:
    """The steps of a worker that lives, on each database in turn."""
    with opened_by_hand(server) as opened:
        prolong_lease(opened, opened.parts)
        yield opened


# --- Two workers ---------------------------------------------------------------------------------


def test_a_slow_chunk_is_run_once_by_two_living_workers(hand: ByHand) -> None:
    """However long one worker takes, the other one neither begins the chunk nor asks for it."""
    batch = hand.submit(hand.additions(LARGE))
    other = other_worker(hand)
    begun: list[int] = []

    def be_slow(operations: Sequence[object]) -> None:
        begun.append(len(operations))
        hand.clock.now += 60 * SECOND
        prolong_lease(hand, hand.parts)
        execute(other, batch.id, 0)
        sweep(other, all_lost)

    split(hand.parts, batch.id)
    execute(hand.interrupted(be_slow), batch.id, 0)

    assert [5_000] == begun
    assert [1] == hand.waiting(batch)
    execute(other, batch.id, 1)
    finalize(other, batch.id)
    assert LARGE == len(hand.results(batch)) == hand.member_count()


def test_a_worker_that_was_taken_for_dead_changes_nothing(hand: ByHand) -> None:
    """Its lease has ended, another worker runs its chunk, and then it wakes up."""
    batch = hand.submit(hand.additions(LARGE))
    other = other_worker(hand)

    def sleep(_operations: Sequence[object]) -> None:
        hand.clock.now += int((limits.lease_seconds + 1) * SECOND)
        prolong_lease(hand, other)
        execute(other, batch.id, 0)

    split(hand.parts, batch.id)
    execute(hand.interrupted(sleep), batch.id, 0)
    execute(other, batch.id, 1)
    finalize(other, batch.id)

    assert LARGE == len(hand.results(batch)) == hand.member_count()


def test_the_archive_is_written_by_one_living_worker(hand: ByHand) -> None:
    """Finalize is claimed with the last chunk: another worker that is asked for it does nothing."""
    batch = hand.submit(hand.additions(SMALL))
    steps = run_until(hand.parts, Step.RUN, batch, Step.FINALIZE)
    other = other_worker(hand)

    hand.idle(lambda: finalize(other, batch.id))
    assert "finalizing" == hand.status(batch)
    for _ in steps:
        pass
    assert "finished" == hand.status(batch)


@pytest.mark.parametrize(("size", "step"), [(SMALL, Step.RUN), (LARGE, Step.SPLIT)])
def test_a_chain_that_dies_is_handed_over_at_once(hand: ByHand, size: int, step: Step) -> None:
    """The sweep finds what a dead worker has claimed, without waiting for the batch to be quiet."""
    other = other_worker(hand)
    batch = hand.submit(hand.additions(size))
    with suppress(Died):
        run_steps(hand.interrupted(die), step, batch.id)
    asked: list[StepName] = []

    def note(written: Sequence[WrittenHandOver]) -> list[StepName]:
        asked.extend(each.name for each in written)
        return []

    sweep(other, note)
    assert [] == asked
    with hand.parts.database.write() as connection:
        leases.release(connection, hand.parts.worker)
    sweep(other, note)

    [name] = asked
    assert StepName(Step.RUN if step is Step.RUN else Step.EXECUTE, batch.id) == name
    run_steps(other, *name)
    assert 0 not in hand.waiting(batch)


def test_a_claim_whose_release_failed(hand: ByHand) -> None:
    """A step raises, and so does its release; the worker finds the claim and hands it over."""
    batch = hand.submit(hand.additions(LARGE))
    split(hand.parts, batch.id)
    other = other_worker(hand)

    def fail(_operations: Sequence[object]) -> None:
        release_idle_claims(hand.parts)  # it runs: its claim is not idle
        raise OperationalError("lost", None, OSError())

    with suppress(OperationalError):
        execute(hand.interrupted(fail), batch.id, 0)
    hand.idle(lambda: execute(other, batch.id, 0))

    release_idle_claims(hand.parts)
    execute(other, batch.id, 0)

    assert [1] == hand.waiting(batch)


def test_a_process_runs_a_step_once(hand: ByHand) -> None:
    """A second hand-over of a step that comes to the same process finds it running."""
    batch = hand.submit(hand.additions(LARGE))
    split(hand.parts, batch.id)
    begun: list[int] = []

    def begin_again(operations: Sequence[object]) -> None:
        begun.append(len(operations))
        execute(hand.interrupted(begin_again), batch.id, 0)

    execute(hand.interrupted(begin_again), batch.id, 0)

    assert [5_000] == begun


# --- Whole or not at all -------------------------------------------------------------------------


def test_a_chunk_is_halved_whole_or_not_at_all(hand: ByHand) -> None:
    """If the batch has no room for the other half, the chunk keeps all of its operations."""
    batch = hand.submit(hand.additions(LARGE))
    split(hand.parts, batch.id)
    with hand.parts.database.write() as connection:
        for _ in range(Limits.chunk_attempts_max):
            chunks.claim(connection, batch, 0, hand.parts.worker)

    def delete() -> None:
        assert delete_batch(hand.parts, batch.account_id, batch.public_id)

    database = DeedBeforeSecondWrite(hand.parts.database, delete)
    execute(replace(hand.parts, database=cast(Database, database)), batch.id, 0)

    assert [5_000, 1_000] == [len(each.positions) for each in waiting_chunks(hand, batch)]


# --- Results in any order ------------------------------------------------------------------------


@pytest.mark.parametrize("format_name", ["per-operation", "per-batch"])
def test_results_that_are_committed_in_any_order(hand: ByHand, format_name: str) -> None:
    """Each slice is there for readers as soon as it is committed; the chunk keeps the others."""
    parts = replace(hand.parts, format_name=format_name)
    batch = submit_to(parts, hand)
    claimed = claim_first_chunk(parts, batch)
    slices = [[7, 3, 5], [0, 19], [4, 6, 8, 9, 10], [1]]
    seen: list[int] = []

    for slice_positions in slices:
        commit_slice(parts, claimed, Positions.collect(slice_positions))
        seen = sorted([*seen, *slice_positions])
        check_results(parts, batch, seen)
    left = Positions.collect(set(range(SMALL)) - set(seen))
    assert [left] == [each.positions for each in waiting_chunks(hand, batch)]

    commit_slice(parts, claimed, left)
    run_steps(parts, Step.FINALIZE, batch.id)
    check_results(parts, batch, range(SMALL))
    ids = [int(each.operation_id or "") for each in hand.results(batch)]
    assert list(range(SMALL)) == sorted(ids)


def test_a_slice_of_a_lost_claim(hand: ByHand) -> None:
    """Nothing of it is kept: another worker has claimed the chunk meanwhile."""
    batch = hand.submit(hand.additions(SMALL))
    work = load_work(hand.parts, claim_first_chunk(hand.parts, batch))
    assert work
    hand.clock.now += int((limits.lease_seconds + 1) * SECOND)
    claim_first_chunk(other_worker(hand), batch)

    before = hand.snapshot()
    with pytest.raises(NotRunning):
        commit_work(hand.parts, work, Positions.collect([3]))
    assert before == hand.snapshot()


def test_a_chunk_goes_on_with_what_is_left(hand: ByHand) -> None:
    """The worker that takes it over executes only the operations that have no result."""
    batch = hand.submit(hand.additions(SMALL))
    commit_slice(hand.parts, claim_first_chunk(hand.parts, batch), Positions.collect([2, 5, 6]))
    executed: list[str | None] = []

    def note(operations: Sequence[Operation]) -> None:
        executed.extend(each.operation_id for each in operations)

    run_steps(hand.interrupted(note), Step.EXECUTE, batch.id, 0)

    assert [str(each) for each in range(SMALL) if each not in (2, 5, 6)] == executed
    assert "finished" == hand.status(batch)
    assert SMALL == len(hand.results(batch))


# --- Chunks that wait ----------------------------------------------------------------------------


def test_a_postponed_chunk_waits_without_a_thread(hand: ByHand) -> None:
    """It is a chunk of its own with a reason; nobody claims it, or asks for it, before its time."""
    batch = hand.submit(hand.additions(SMALL))
    claimed = claim_first_chunk(hand.parts, batch)
    commit_slice(hand.parts, claimed, Positions.collect([0]), postponed=Positions.collect([3, 8]))

    hand.idle(lambda: execute(hand.parts, batch.id, 1), lambda: sweep(hand.parts, all_lost))
    assert "The receiver is busy." == reason(hand, batch)
    hand.clock.now += 60 * SECOND
    execute(hand.parts, batch.id, 1)

    assert [0] == hand.waiting(batch)
    assert reason(hand, batch) is None
    run_steps(hand.parts, Step.RUN, batch.id)
    assert SMALL == len(hand.results(batch))


def test_the_sweep_knows_when_a_postponed_chunk_is_due(hand: ByHand) -> None:
    """If its delayed hand-over is lost, it is handed over again after its time, not before."""
    batch = hand.submit(hand.additions(SMALL))
    claimed = claim_first_chunk(hand.parts, batch)
    commit_slice(hand.parts, claimed, Positions.collect([0]), postponed=Positions.collect([3, 8]))
    asked: list[WrittenHandOver] = []

    def note(written: Sequence[WrittenHandOver]) -> list[StepName]:
        asked.extend(written)
        return []

    hand.clock.now += 59 * SECOND
    prolong_lease(hand, hand.parts)
    sweep(hand.parts, note)
    assert [] == asked
    hand.clock.now += int((1 + limits.overdue_seconds) * SECOND) + 1
    sweep(hand.parts, note)

    assert [StepName(Step.RUN, batch.id)] == [each.name for each in asked]


def test_cancelling_does_not_wait_for_postponed_chunks(hand: ByHand) -> None:
    """They are due at once, to be recorded as cancelled."""
    batch = hand.submit(hand.additions(SMALL))
    claimed = claim_first_chunk(hand.parts, batch)
    commit_slice(hand.parts, claimed, Positions.collect([0]), postponed=Positions.collect([3, 8]))

    cancel_batch(hand.parts, batch.account_id, batch.public_id)
    run_steps(hand.parts, Step.RUN, batch.id)

    statuses = [each.status_code for each in hand.results(batch)]
    assert [204, *[499] * (SMALL - 1)] == statuses


# --- What the tests say --------------------------------------------------------------------------


@dataclass
class DeedBeforeSecondWrite:
    """A database on which something happens between the first and the second transaction."""

    database: Database
    deed: Callable[[], None]
    write_count: int = 0

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """As the database; the second transaction is preceded by the deed."""
        self.write_count += 1
        if self.write_count == 2:
            self.deed()
        with self.database.write() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """As the database."""
        with self.database.read() as connection:
            yield connection


def other_worker(hand: ByHand) -> Parts:
    """The same parts in the process of another worker, which lives."""
    name = "other-worker"
    parts = replace(
        hand.parts,
        worker=name,
        hand_over=HandOvers(hand.parts.database, name),
        running=RunningSteps(),
    )
    prolong_lease(hand, parts)
    return parts


def prolong_lease(hand: ByHand, parts: Parts) -> None:
    """A worker shows that it is alive."""
    with hand.parts.database.write() as connection:
        leases.renew(connection, parts.worker, is_ready=True, seconds=limits.lease_seconds)


def all_lost(written: Sequence[WrittenHandOver]) -> list[StepName]:
    """What the sweep gets from an engine that has forgotten everything."""
    return [each.name for each in written]


class Died(Exception):
    """Ends a process where it stands: nothing is handed over."""


def die(_operations: Sequence[object]) -> None:
    """Something that happens while a chunk is worked out."""
    raise Died


def run_until(parts: Parts, step: Step, batch: Batch, last: Step) -> Iterator[StepName]:
    """Run a chain until it has claimed a step of this kind."""
    chain = run_chain(parts, StepName(step, batch.id))
    next(name for name in chain if name.step is last)
    return chain


def waiting_chunks(hand: ByHand, batch: Batch) -> list[Chunk]:
    """The chunks that are not done."""
    with hand.parts.database.read() as connection:
        return chunks.find_waiting(connection, batch)


def reason(hand: ByHand, batch: Batch) -> str | None:
    """Why a chunk of the batch waits."""
    with hand.parts.database.read() as connection:
        return chunks.find_reason(connection, batch)


def submit_to(parts: Parts, hand: ByHand) -> Batch:
    """A small batch with these parts."""
    pings = [Operation("GET", "/ping", {}, None, str(n)) for n in range(SMALL)]
    with IncomingBatch.collect(parts.targets, parts.limits, pings) as some:
        return submit_batch(parts, hand.identity, BASE, some)


def claim_first_chunk(parts: Parts, batch: Batch) -> StepName:
    """Split the batch if that is to be done, and claim its first chunk."""
    split(parts, batch.id)
    name = StepName(Step.EXECUTE, batch.id, 0)
    with parts.database.write() as connection:
        assert chunks.claim(connection, batch, 0, parts.worker)
    return name


def commit_slice(
    parts: Parts, name: StepName, positions: Positions, postponed: Positions | None = None
) -> None:
    """Record a 204 for each of these operations of a claimed chunk, and postpone others."""
    work = load_work(parts, name)
    assert work
    commit_work(parts, work, positions, postponed)


def commit_work(
    parts: Parts, work: Work, positions: Positions, postponed: Positions | None = None
) -> None:
    """The same, for a chunk that was loaded before."""
    by_position = dict(zip(work.chunk.positions, work.operations, strict=True))
    done = Result.from_bytes(204, b"{}")
    entries = [Entry(each, 0, by_position[each], done) for each in positions]
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
    """Readers find these results, and no others, however they ask."""
    results = parts.read_results(batch, Filter())
    assert list(positions) == [each.position for each in results.iterate()]
    page, total = results.read_page(3, 1, 10**9)
    assert (list(positions)[1:4], len(positions)) == ([each.position for each in page], total)
    for position in range(SMALL):
        found = results.find(position, 0)
        assert found
        assert str(position) == found[0].operation_id
        assert (position in positions) == (found[1] is not None)
