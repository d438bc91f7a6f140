"""When a worker polls the queues."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event
from threading import enumerate as enumerate_threads

import pytest

from batchway.engine.configuration import prepare_engine
from batchway.engine.hand_over_watch import HandOverWatch
from batchway.engine.hand_overs import HandOvers
from batchway.engine.lanes import LANES
from batchway.engine.queue_polls import PollTimer
from batchway.kit.clock import system_clock
from batchway.model.step import Step, StepName
from batchway.store import accounts, batches
from batchway.store.database import Database, run
from tests.scenario import Server, wait_until
from tests.step_runner import name_engine_table, open_step_runner

FOREVER = 10_000.0  # seconds: a wait of this length fails the test by its time-out
LANE = replace(LANES[Step.RUN], poll_seconds=0.0)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database that has our tables and the engine's."""
    with closing(Database(database_url)) as opened:
        yield opened


@pytest.fixture
def watch(database_url: str) -> Iterator[HandOverWatch]:
    """A watch of another process."""
    with closing(Database(database_url)) as opened, closing(HandOverWatch(opened)) as found:
        yield found


class TestPollTimer:
    """What DBOS's loop waits for."""

    def test_woken(self) -> None:
        """It waits no longer, and does not end."""
        timer = PollTimer(LANE)
        timer.wake()
        assert not timer.wait(FOREVER)

    def test_wake_is_used_once(self) -> None:
        """The next wait takes its time."""
        timer = PollTimer(LANE)
        timer.wake()
        timer.wait(FOREVER)
        timer.wait(0)
        assert not timer.is_set()

    def test_kept_awake(self) -> None:
        """It polls more than once without waiting."""
        timer = PollTimer(LANE)
        timer.keep_awake()
        assert not any(timer.wait(FOREVER) for _ in range(10))

    def test_set(self) -> None:
        """It ends, and every wait says so."""
        timer = PollTimer(LANE)
        timer.set()
        assert [True, True] == [timer.wait(FOREVER), timer.wait(FOREVER)]


class TestHandOverWatch:
    """How a worker notices work."""

    @pytest.mark.parametrize("step", [Step.RUN, Step.SPLIT])
    def test_hand_over_is_noticed(
        self, database: Database, watch: HandOverWatch, step: Step
    ) -> None:
        """The queue of the step is named, and nothing is found a second time."""
        hand_over(database, step)
        assert {LANES[step].name} == watch.wait(Event(), FOREVER)
        assert set() == watch.wait(Event(), 0.1)

    def test_hand_over_after_others_were_deleted(
        self, database: Database, watch: HandOverWatch
    ) -> None:
        """The engine deletes old rows; a database may give their numbers to new ones."""
        hand_over(database, Step.RUN)
        watch.wait(Event(), FOREVER)
        with database.write() as connection:
            run(connection, f"DELETE FROM {name_engine_table(database, 'workflow_status')}")
        assert set() == watch.wait(Event(), 0.1)

        hand_over(database, Step.RUN)

        assert {LANES[Step.RUN].name} == watch.wait(Event(), FOREVER)

    def test_rolled_back_hand_over(self, database: Database, watch: HandOverWatch) -> None:
        """It never was."""
        with pytest.raises(RollBack):
            hand_over(database, Step.RUN, fails=True)
        assert set() == watch.wait(Event(), 0.1)

    def test_other_commits(self, database: Database, watch: HandOverWatch) -> None:
        """They wake nobody."""
        with database.write() as connection:
            accounts.create(connection, "Another", system_clock())
        assert set() == watch.wait(Event(), 0.1)

    def test_stopped(self, watch: HandOverWatch) -> None:
        """The wait ends when the worker does."""
        stop = Event()
        stop.set()
        assert set() == watch.wait(stop, FOREVER)


def test_loop_that_has_ended_is_started_again(database_url: str, tmp_path: Path) -> None:
    """The loop of a queue ends if the queue is not registered any more; later it takes work."""
    with open_step_runner(Server(tmp_path, database_url)) as runner:
        database, worker = runner.parts.database, runner.app.worker()
        runner.app.start(worker)
        try:
            wait_until(list_loops, "the loops have begun")
            with database.write() as connection:
                run(connection, f"DELETE FROM {name_engine_table(database, 'queues')}")
            wait_until(lambda: not list_loops(), "the loops have ended")
            prepare_engine(database)

            batch = runner.submit(runner.make_additions(1))

            wait_until(lambda: runner.get_status(batch) == "finished", "the batch is run")
        finally:
            worker.stop()


def list_loops() -> list[str]:
    """Return the names of the threads that poll queues."""
    names = (thread.name for thread in enumerate_threads())
    return [name for name in names if name.startswith("polls of")]


def hand_over(database: Database, step: Step, *, fails: bool = False) -> None:
    """Commit a new batch, and the hand-over of one of its steps; or fail and roll back."""
    hand_overs = HandOvers(database, "worker-of-tests")
    with closing(hand_overs), database.write() as connection:
        batch = batches.insert(
            connection,
            account_id=1,
            api_key_id=1,
            base_url="",
            client_address="",
            operation_count=1,
            format_name="per-operation",
            retry_of=None,
            target=None,
            now=system_clock(),
        )
        hand_overs.write(connection, StepName(step, batch.id))
        if fails:
            raise RollBack


class RollBack(Exception):
    """Ends a transaction without a commit."""
