"""Nothing waits for longer, and nothing that lives is taken for dead, if a clock moves."""

from collections.abc import Iterator

import pytest

from batchway import limits
from batchway.installation import join_installation
from batchway.kit.clock import DAY, SECOND, Microseconds
from batchway.lifecycle.chain import Chain
from batchway.lifecycle.sweep import sweep
from batchway.model.batch import Batch
from batchway.model.step import Step, StepName
from batchway.store import chunks, deliveries, leases
from tests.faults.delivery_runner import BROKEN, DeliveryRunner
from tests.faults.recording_engine import RecordingEngine
from tests.receiver import Receiver
from tests.scenario import Server
from tests.step_runner import LARGE, StepRunner, open_step_runner
from tests.steps import split

MOVES = [3 * SECOND, 60 * SECOND, DAY]
OVERDUE: Microseconds = int((limits.overdue_seconds + 1) * SECOND)
LEASE: Microseconds = int((limits.lease_seconds + 1) * SECOND)


@pytest.fixture
def runner(server: Server) -> Iterator[StepRunner]:
    """A step runner whose installation has seen the time, on each database in turn."""
    with open_step_runner(server) as opened:
        keys = opened.app.settings.get_secret_keys()
        join_installation(opened.app.database, opened.parts.archive, keys)
        sweep(opened.parts, RecordingEngine())
        yield opened


@pytest.mark.parametrize("back", MOVES)
def test_a_delivery_waits_as_long_as_before(
    runner: StepRunner, receiver: Receiver, back: Microseconds
) -> None:
    """If the clock goes back, the next attempt is made after the wait that was planned."""
    delivering = DeliveryRunner(runner)
    delivering.new_webhook(receiver)
    receiver.answer_posts(BROKEN)
    delivering.finish_batch()
    [key] = delivering.get_pending_keys()
    delivering.deliver(key)
    planned = delivering.get_next_attempt_at() - runner.clock.now

    move_clock(runner, -back)

    assert planned == delivering.get_next_attempt_at() - runner.clock.now
    runner.clock.now += planned
    with runner.parts.database.read() as connection:
        assert deliveries.get_due(connection, key)
    runner.clock.now += OVERDUE
    assert StepName(Step.DELIVER, key) in find_overdue(runner)


@pytest.mark.parametrize("back", MOVES)
def test_a_postponed_chunk_waits_as_long_as_before(runner: StepRunner, back: Microseconds) -> None:
    """If the clock goes back, a chunk that its target has postponed waits as long as planned."""
    batch = runner.submit(runner.make_additions(LARGE))
    split(runner.parts, batch.id)
    with runner.parts.database.write() as connection:
        [first, *_] = chunks.find_waiting(connection, batch)
        chunks.postpone(connection, batch, first, 60, "The receiver is busy.")

    move_clock(runner, -back)

    assert not can_claim(runner, batch)
    runner.clock.now += 60 * SECOND
    assert can_claim(runner, batch)


@pytest.mark.parametrize("back", MOVES)
def test_a_lost_step_is_noticed_as_soon_as_before(runner: StepRunner, back: Microseconds) -> None:
    """If the clock goes back, the sweep does not wait until a batch is unchanged again."""
    batch = runner.submit(runner.make_additions(1))

    move_clock(runner, -back)
    runner.clock.now += OVERDUE

    assert StepName(Step.RUN, batch.id) in find_overdue(runner)


@pytest.mark.parametrize("back", [60 * SECOND, DAY])
def test_a_dead_worker_is_dead_after_the_clock_went_back(
    runner: StepRunner, back: Microseconds
) -> None:
    """A lease that was written before the clock went back does not keep a dead worker alive."""
    with runner.parts.database.write() as connection:
        leases.renew(connection, "dead", is_ready=True, seconds=limits.lease_seconds)
        assert leases.take_caretaker(connection, "dead", limits.lease_seconds)

    move_clock(runner, -back)
    runner.clock.now += LEASE

    with runner.parts.database.write() as connection:
        assert set() == leases.find_live(connection)
        assert not leases.is_any_ready(connection)
        assert leases.take_caretaker(connection, "other", limits.lease_seconds)


def test_a_chain_gives_way_after_the_clock_went_back(runner: StepRunner) -> None:
    """A chain does not run its steps for a day longer."""
    chain = Chain.begin(runner.parts, StepName(Step.SPLIT, 1))
    assert not chain.is_over

    runner.clock.now -= DAY

    assert chain.is_over


def test_a_clock_that_goes_on_moves_nothing(runner: StepRunner) -> None:
    """The sweep changes no time of a step if the clock goes forward, or trembles."""
    batch = runner.submit(runner.make_additions(LARGE))
    split(runner.parts, batch.id)
    with runner.parts.database.write() as connection:
        [first, *_] = chunks.find_waiting(connection, batch)
        chunks.postpone(connection, batch, first, 60, "The receiver is busy.")

    move_clock(runner, 2 * SECOND)
    move_clock(runner, -1 * SECOND)
    runner.clock.now += 56 * SECOND

    assert not can_claim(runner, batch)


def move_clock(runner: StepRunner, by: Microseconds) -> None:
    """Move the database's clock, and let the caretaker do a round."""
    runner.clock.now += by
    sweep(runner.parts, RecordingEngine())


def find_overdue(runner: StepRunner) -> list[StepName]:
    """Return the steps that the sweep looks up in the engine."""
    engine = RecordingEngine()
    sweep(runner.parts, engine)
    return engine.names


def can_claim(runner: StepRunner, batch: Batch) -> bool:
    """Return whether the first chunk can be claimed now, without claiming it for good."""
    with runner.parts.database.write() as connection:
        claimed = chunks.claim(connection, batch, 0, runner.parts.worker)
        connection.rollback()
    return claimed is not None
