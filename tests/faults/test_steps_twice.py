"""Every step may run twice, too late, or not at all: the store knows what is left to do."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import text

from batchway.archives.disk import DiskArchive
from batchway.installation import join_installation
from batchway.kit.clock import system_clock
from batchway.lifecycle.delete import delete_batch
from batchway.lifecycle.housekeeping import do_housekeeping
from batchway.lifecycle.sweep import sweep
from batchway.limits import Limits
from batchway.model.batch import Batch
from batchway.model.step import Step, StepName, WrittenHandOver
from batchway.store import batches
from tests.faults.by_hand import DAY, ByHand, opened_by_hand
from tests.faults.watch import Watch
from tests.scenario import Server, read_archive
from tests.steps import execute, finalize, run, run_steps, split

LARGE = 6_000  # operations: two chunks
SMALL = 20

OF_BATCHES = ("batches", "batch_inputs", "chunks", "segments", "segment_data")


@pytest.fixture
def hand(server: Server) -> Iterator[ByHand]:
    """The steps, on each database in turn."""
    with opened_by_hand(server) as opened:
        yield opened


# --- Twice ---------------------------------------------------------------------------------------


def test_steps_of_a_large_batch_twice(hand: ByHand) -> None:
    """Split, both chunks and finalize: the second run changes no row and no archive."""
    batch = hand.submit(hand.additions(LARGE))

    hand.twice(lambda: split(hand.parts, batch.id))
    assert [0, 1] == hand.waiting(batch)
    hand.twice(lambda: execute(hand.parts, batch.id, 1))
    hand.twice(lambda: execute(hand.parts, batch.id, 0))
    assert "finalizing" == hand.status(batch)
    hand.twice(lambda: finalize(hand.parts, batch.id))

    assert [str(number) for number in range(LARGE)] == [
        result.operation_id for result in hand.results(batch)
    ]


def test_a_chain_runs_what_follows_at_once(hand: ByHand) -> None:
    """It runs the first chunk after the split, and finalize after the last; both unasked for."""
    batch = hand.submit(hand.additions(LARGE))

    hand.twice(lambda: run_steps(hand.parts, Step.SPLIT, batch.id))
    assert [1] == hand.waiting(batch)
    hand.twice(lambda: run_steps(hand.parts, Step.EXECUTE, batch.id, 1))
    assert "finished" == hand.status(batch)

    assert {"split/0": "ENQUEUED", "execute/1": "ENQUEUED"} == engine_books(hand)


def test_run_twice(hand: ByHand) -> None:
    """A small batch is finished by the first run; the second finds nothing to do."""
    batch = hand.submit(hand.additions(SMALL))

    hand.twice(lambda: run(hand.parts, batch.id))

    assert SMALL == len(hand.results(batch))


def test_cancel_and_sweep_twice(hand: ByHand) -> None:
    """A deleted batch is gone for its owner once, and for good."""
    batch = hand.submit(hand.additions(SMALL))
    run(hand.parts, batch.id)
    answers: list[bool] = []

    hand.twice(lambda: answers.append(cancel_it(hand, batch)))
    hand.twice(lambda: sweep(hand.parts, nothing_lost))

    assert [True, False] == answers
    assert_nothing_left(hand)


# --- At the wrong time ---------------------------------------------------------------------------


def test_steps_that_come_too_early_or_too_late(hand: ByHand) -> None:
    """A step that the status does not await changes nothing."""
    batch = hand.submit(hand.additions(LARGE))
    splits, executes, finalizes = (
        partial(split, hand.parts, batch.id),
        partial(execute, hand.parts, batch.id, 0),
        partial(finalize, hand.parts, batch.id),
    )

    hand.idle(executes, finalizes)
    splits()
    hand.idle(splits, finalizes)
    executes()
    hand.idle(splits, executes, finalizes)
    execute(hand.parts, batch.id, 1)
    hand.idle(splits, executes)
    finalizes()
    hand.idle(splits, executes, finalizes, partial(run, hand.parts, batch.id))


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_steps_of_a_deleted_batch(hand: ByHand, size: int) -> None:
    """What had been handed over before the batch was deleted does nothing any more."""
    batch = hand.submit(hand.additions(size))
    split(hand.parts, batch.id)
    cancel_it(hand, batch)

    hand.idle(
        lambda: split(hand.parts, batch.id),
        lambda: execute(hand.parts, batch.id, 0),
        lambda: finalize(hand.parts, batch.id),
        lambda: run(hand.parts, batch.id),
    )
    sweep(hand.parts, nothing_lost)
    hand.idle(
        lambda: execute(hand.parts, batch.id, 0),
        lambda: run(hand.parts, batch.id),
    )

    assert_nothing_left(hand)


def test_a_chunk_is_executed_by_two_workers(hand: ByHand) -> None:
    """The one that commits last finds the chunk done, and keeps nothing of its own."""
    batch = hand.submit(hand.additions(LARGE))
    split(hand.parts, batch.id)
    other_worker = hand.interrupted(lambda _: execute(hand.parts, batch.id, 0))

    execute(other_worker, batch.id, 0)
    execute(hand.parts, batch.id, 1)
    finalize(hand.parts, batch.id)

    found = hand.batch(batch)
    assert found
    assert (LARGE, 0) == (found.finished_operations, found.errored_operations)
    assert LARGE == len(hand.results(batch)) == hand.member_count()


def test_a_batch_is_deleted_while_a_chunk_is_worked_out(hand: ByHand) -> None:
    """The chunk comes too late: none of its operations takes effect."""
    batch = hand.submit(hand.additions(LARGE))
    split(hand.parts, batch.id)

    execute(hand.interrupted(lambda _: cancel_it(hand, batch)), batch.id, 0)

    found = hand.batch(batch)
    assert found
    assert 0 == found.finished_operations == hand.member_count()
    sweep(hand.parts, nothing_lost)
    assert_nothing_left(hand)


def test_a_batch_is_deleted_and_swept_while_its_archive_is_written(hand: ByHand) -> None:
    """The archive that comes after the sweep is removed by who wrote it."""
    batch = hand.submit(hand.additions(LARGE))
    split(hand.parts, batch.id)
    for number in hand.waiting(batch):
        execute(hand.parts, batch.id, number)
    late = LateArchive(hand, batch)

    finalize(replace(hand.parts, archive=late), batch.id)

    assert late.was_written
    assert_nothing_left(hand)


# --- Not at all ----------------------------------------------------------------------------------


def test_lost_hand_overs_are_driven_again(server: Server) -> None:
    """Batches in every status finish, though the engine has forgotten them all."""
    with opened_by_hand(server) as hand:
        hand.clock.now = system_clock()  # the server's
        sizes = (SMALL, LARGE, LARGE, LARGE, LARGE)
        waiting = [hand.submit(hand.additions(size)) for size in sizes]
        _, _, preprocessing, started, finalizing = waiting
        with hand.parts.database.write() as connection:
            batches.begin(connection, preprocessing, 10, "dead-worker", hand.clock())
        for batch in (started, finalizing):
            split(hand.parts, batch.id)
            execute(hand.parts, batch.id, 0)
        execute(hand.parts, finalizing.id, 1)
        statuses = [hand.status(batch) for batch in waiting]
        assert 10 == forget_hand_overs(hand)

    assert ["pending", "pending", "preprocessing", "started", "finalizing"] == statuses
    server.start().ready()
    for batch in waiting:
        watch = Watch(server, batch.public_id)
        watch.until_finished()
        archive = server.folder / "data" / "archives" / f"{batch.public_id}.tar.gz"
        assert batch.total_operations == len(read_archive(archive.read_bytes()))


def test_the_sweep_leaves_alone_what_is_under_way(hand: ByHand) -> None:
    """Batches that the engine still means to run are not handed over again."""
    hand.submit(hand.additions(SMALL))
    hand.clock.now += 30 * DAY  # a batch that is not finished does not expire

    hand.idle(lambda: sweep(hand.parts, nothing_lost))


# --- After seven days ----------------------------------------------------------------------------


def test_expired_batches_leave_nothing(hand: ByHand) -> None:
    """Seven days after the POST neither rows nor archive are left, and not a moment before."""
    for _ in range(2):
        run(hand.parts, hand.submit(hand.additions(SMALL)).id)
    hand.clock.now += Limits.result_days * DAY - 1
    hand.idle(lambda: sweep(hand.parts, nothing_lost))

    hand.clock.now += 1
    hand.twice(lambda: sweep(hand.parts, nothing_lost))

    assert_nothing_left(hand)


def test_an_archive_without_a_batch_is_dropped(hand: ByHand) -> None:
    """Its writer died between the file and the commit, and then the batch was deleted."""
    batch = hand.submit(hand.additions(SMALL))
    run(hand.parts, batch.id)
    hand.parts.archive.write("0123456789", [b"orphan"])

    join_installation(hand.parts.database, hand.parts.archive, [b"key"])

    hand.twice(lambda: do_housekeeping(hand.parts))

    assert [batch.public_id] == list(hand.parts.archive.keys())


# --- What the tests say --------------------------------------------------------------------------


class LateArchive(DiskArchive):
    """The batch is deleted, and the sweep has been, before its archive is there."""

    def __init__(self, hand: ByHand, batch: Batch) -> None:
        super().__init__(hand.app.settings.archive_folder)
        self._hand = hand
        self._batch = batch
        self.was_written = False

    def write(self, key: str, parts: Iterable[bytes]) -> int:
        """Write what was read before the batch was deleted."""
        held = list(parts)
        cancel_it(self._hand, self._batch)
        sweep(self._hand.parts, nothing_lost)
        self.was_written = True
        return super().write(key, held)


def nothing_lost(_written: Sequence[WrittenHandOver]) -> list[StepName]:
    """What the sweep gets from an engine that will run every step."""
    return []


def cancel_it(hand: ByHand, batch: Batch) -> bool:
    """Delete a batch, as its owner does."""
    return delete_batch(hand.parts, batch.account_id, batch.public_id)


def assert_nothing_left(hand: ByHand) -> None:
    """No batch has left a row or an archive."""
    left = hand.snapshot()

    assert [] == left["archives"]
    for name in OF_BATCHES:
        [table] = [table for table in left if table.endswith(f".{name}")]
        assert [] == left[table], name


def forget_hand_overs(hand: ByHand) -> int:
    """Empty the engine's books; how many hand-overs they held."""
    with hand.parts.database.write() as connection:
        return int(connection.execute(text(f"DELETE FROM {books(hand)}")).rowcount)


def engine_books(hand: ByHand) -> dict[str, str]:
    """The step and number of each hand-over, and its status."""
    with hand.parts.database.read() as connection:
        found = connection.execute(text(f"SELECT workflow_uuid, status FROM {books(hand)}"))
        return {name.split("/", 1)[1].rpartition("/")[0]: status for name, status in found}


def books(hand: ByHand) -> str:
    """The engine's table."""
    return "workflow_status" if hand.parts.database.is_sqlite else "dbos.workflow_status"
