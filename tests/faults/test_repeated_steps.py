"""Every step may run twice, too late, or never: the database shows what is left to do."""

from collections.abc import Iterable, Sequence
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
from tests.faults.batch_monitor import BatchMonitor
from tests.scenario import Server, read_archive
from tests.step_runner import DAY, LARGE, StepRunner, open_step_runner
from tests.steps import execute, finalize, run, run_steps, split

SMALL = 20

OF_BATCHES = ("batches", "batch_inputs", "chunks", "segments", "segment_data")


# --- Steps that run twice -------------------------------------------------------------------------


def test_steps_of_a_large_batch_twice(runner: StepRunner) -> None:
    """A second run of split, execute and finalize changes no row and no archive."""
    batch = runner.submit(runner.make_additions(LARGE))

    runner.run_twice(lambda: split(runner.parts, batch.id))
    assert [0, 1] == runner.get_waiting_chunks(batch)
    runner.run_twice(lambda: execute(runner.parts, batch.id, 1))
    runner.run_twice(lambda: execute(runner.parts, batch.id, 0))
    assert "finalizing" == runner.get_status(batch)
    runner.run_twice(lambda: finalize(runner.parts, batch.id))

    assert [str(number) for number in range(LARGE)] == [
        result.operation_id for result in runner.read_results(batch)
    ]


def test_a_chain_runs_what_follows_at_once(runner: StepRunner) -> None:
    """A chain runs the first chunk after the split, and finalize after the last chunk."""
    batch = runner.submit(runner.make_additions(LARGE))

    runner.run_twice(lambda: run_steps(runner.parts, Step.SPLIT, batch.id))
    assert [1] == runner.get_waiting_chunks(batch)
    runner.run_twice(lambda: run_steps(runner.parts, Step.EXECUTE, batch.id, 1))
    assert "finished" == runner.get_status(batch)

    assert {"split/0": "ENQUEUED", "execute/1": "ENQUEUED"} == get_hand_over_states(runner)


def test_run_twice(runner: StepRunner) -> None:
    """The first run finishes a small batch; a second run changes nothing."""
    batch = runner.submit(runner.make_additions(SMALL))

    runner.run_twice(lambda: run(runner.parts, batch.id))

    assert SMALL == len(runner.read_results(batch))


def test_delete_and_sweep_twice(runner: StepRunner) -> None:
    """A batch is deleted once; a second delete and a second sweep change nothing."""
    batch = runner.submit(runner.make_additions(SMALL))
    run(runner.parts, batch.id)
    answers: list[bool] = []

    runner.run_twice(lambda: answers.append(delete_batch_as_owner(runner, batch)))
    runner.run_twice(lambda: sweep(runner.parts, find_none_lost))

    assert [True, False] == answers
    check_nothing_left(runner)


# --- Steps that run too early or too late ---------------------------------------------------------


def test_steps_that_come_too_early_or_too_late(runner: StepRunner) -> None:
    """A step that does not fit the status of its batch changes nothing."""
    batch = runner.submit(runner.make_additions(LARGE))
    splits, executes, finalizes = (
        partial(split, runner.parts, batch.id),
        partial(execute, runner.parts, batch.id, 0),
        partial(finalize, runner.parts, batch.id),
    )

    runner.check_no_effect(executes, finalizes)
    splits()
    runner.check_no_effect(splits, finalizes)
    executes()
    runner.check_no_effect(splits, executes, finalizes)
    execute(runner.parts, batch.id, 1)
    runner.check_no_effect(splits, executes)
    finalizes()
    runner.check_no_effect(splits, executes, finalizes, partial(run, runner.parts, batch.id))


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_steps_of_a_deleted_batch(runner: StepRunner, size: int) -> None:
    """Steps that were handed over before the batch was deleted change nothing."""
    batch = runner.submit(runner.make_additions(size))
    split(runner.parts, batch.id)
    delete_batch_as_owner(runner, batch)

    runner.check_no_effect(
        lambda: split(runner.parts, batch.id),
        lambda: execute(runner.parts, batch.id, 0),
        lambda: finalize(runner.parts, batch.id),
        lambda: run(runner.parts, batch.id),
    )
    sweep(runner.parts, find_none_lost)
    runner.check_no_effect(
        lambda: execute(runner.parts, batch.id, 0),
        lambda: run(runner.parts, batch.id),
    )

    check_nothing_left(runner)


def test_a_chunk_is_executed_by_two_workers(runner: StepRunner) -> None:
    """If two workers execute a chunk, the one that commits last stores nothing."""
    batch = runner.submit(runner.make_additions(LARGE))
    split(runner.parts, batch.id)
    other_worker = runner.make_interrupted_parts(lambda _: execute(runner.parts, batch.id, 0))

    execute(other_worker, batch.id, 0)
    execute(runner.parts, batch.id, 1)
    finalize(runner.parts, batch.id)

    found = runner.load_batch(batch)
    assert found
    assert (LARGE, 0) == (found.finished_operations, found.errored_operations)
    assert LARGE == len(runner.read_results(batch)) == runner.count_members()


def test_a_batch_is_deleted_while_a_chunk_is_executed(runner: StepRunner) -> None:
    """If the batch is deleted, no operation of the chunk takes effect."""
    batch = runner.submit(runner.make_additions(LARGE))
    split(runner.parts, batch.id)

    execute(
        runner.make_interrupted_parts(lambda _: delete_batch_as_owner(runner, batch)), batch.id, 0
    )

    found = runner.load_batch(batch)
    assert found
    assert 0 == found.finished_operations == runner.count_members()
    sweep(runner.parts, find_none_lost)
    check_nothing_left(runner)


def test_a_batch_is_deleted_and_swept_while_its_archive_is_written(runner: StepRunner) -> None:
    """An archive that is written after the sweep is removed by its writer."""
    batch = runner.submit(runner.make_additions(LARGE))
    split(runner.parts, batch.id)
    for number in runner.get_waiting_chunks(batch):
        execute(runner.parts, batch.id, number)
    late = LateArchive(runner, batch)

    finalize(replace(runner.parts, archive=late), batch.id)

    assert late.was_written
    check_nothing_left(runner)


# --- Steps that were lost -------------------------------------------------------------------------


def test_lost_hand_overs_are_driven_again(server: Server) -> None:
    """Batches in every status finish after the engine has lost all hand-overs."""
    with open_step_runner(server) as runner:
        runner.clock.now = system_clock()  # the server's
        sizes = (SMALL, LARGE, LARGE, LARGE, LARGE)
        waiting = [runner.submit(runner.make_additions(size)) for size in sizes]
        _, _, preprocessing, started, finalizing = waiting
        with runner.parts.database.write() as connection:
            batches.begin(connection, preprocessing, 10, "dead-worker", runner.clock())
        for batch in (started, finalizing):
            split(runner.parts, batch.id)
            execute(runner.parts, batch.id, 0)
        execute(runner.parts, finalizing.id, 1)
        statuses = [runner.get_status(batch) for batch in waiting]
        assert 10 == forget_hand_overs(runner)

    assert ["pending", "pending", "preprocessing", "started", "finalizing"] == statuses
    server.start().wait_until_ready()
    for batch in waiting:
        monitor = BatchMonitor(server, batch.public_id)
        monitor.wait_until_finished()
        archive = server.folder / "data" / "archives" / f"{batch.public_id}.tar.gz"
        assert batch.total_operations == len(read_archive(archive.read_bytes()))


def test_the_sweep_leaves_alone_what_is_under_way(runner: StepRunner) -> None:
    """The sweep does not hand over steps that the engine still has."""
    runner.submit(runner.make_additions(SMALL))
    runner.clock.now += 30 * DAY  # a batch that is not finished does not expire

    runner.check_no_effect(lambda: sweep(runner.parts, find_none_lost))


# --- Expiry ---------------------------------------------------------------------------------------


def test_expired_batches_leave_nothing(runner: StepRunner) -> None:
    """Seven days after its POST, and not before, a batch leaves neither rows nor an archive."""
    for _ in range(2):
        run(runner.parts, runner.submit(runner.make_additions(SMALL)).id)
    runner.clock.now += Limits.result_days * DAY - 1
    runner.check_no_effect(lambda: sweep(runner.parts, find_none_lost))

    runner.clock.now += 1
    runner.run_twice(lambda: sweep(runner.parts, find_none_lost))

    check_nothing_left(runner)


def test_an_archive_without_a_batch_is_dropped(runner: StepRunner) -> None:
    """An archive whose batch is gone is removed by the housekeeping."""
    batch = runner.submit(runner.make_additions(SMALL))
    run(runner.parts, batch.id)
    runner.parts.archive.write("0123456789", [b"orphan"])

    join_installation(runner.parts.database, runner.parts.archive, [b"key"])

    runner.run_twice(lambda: do_housekeeping(runner.parts))

    assert [batch.public_id] == list(runner.parts.archive.list_keys())


# --- Helpers --------------------------------------------------------------------------------------


class LateArchive(DiskArchive):
    """An archive store in which the batch is deleted and swept before an archive is written."""

    def __init__(self, runner: StepRunner, batch: Batch) -> None:
        super().__init__(runner.app.settings.archive_folder)
        self._runner = runner
        self._batch = batch
        self.was_written = False

    def write(self, key: str, parts: Iterable[bytes]) -> int:
        """Delete and sweep the batch, then write the archive."""
        held = list(parts)
        delete_batch_as_owner(self._runner, self._batch)
        sweep(self._runner.parts, find_none_lost)
        self.was_written = True
        return super().write(key, held)


def find_none_lost(_written: Sequence[WrittenHandOver]) -> list[StepName]:
    """Answer the sweep as an engine that has lost no hand-over."""
    return []


def delete_batch_as_owner(runner: StepRunner, batch: Batch) -> bool:
    """Delete a batch, as its owner does."""
    return delete_batch(runner.parts, batch.account_id, batch.public_id)


def check_nothing_left(runner: StepRunner) -> None:
    """Check that no batch has left a row or an archive."""
    left = runner.take_snapshot()

    assert [] == left["archives"]
    for name in OF_BATCHES:
        [table] = [table for table in left if table.endswith(f".{name}")]
        assert [] == left[table], name


def forget_hand_overs(runner: StepRunner) -> int:
    """Delete all hand-overs of the engine, and return their number."""
    with runner.parts.database.write() as connection:
        return int(connection.execute(text(f"DELETE FROM {runner.engine_table}")).rowcount)


def get_hand_over_states(runner: StepRunner) -> dict[str, str]:
    """Return the state of each hand-over by its step and number."""
    with runner.parts.database.read() as connection:
        found = connection.execute(text(f"SELECT workflow_uuid, status FROM {runner.engine_table}"))
        return {name.split("/", 1)[1].rpartition("/")[0]: status for name, status in found}
