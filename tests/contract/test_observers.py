"""Runs the observer suite for each observer, and tests the events of the steps."""

import re
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from batchway.observers.base import FAULT_POINTS, Event, Field, Observer, Observers
from batchway.observers.faults import FaultObserver
from batchway.observers.log import LogObserver
from batchway.store import batches
from tests.contract.observers_suite import ObserverSuite
from tests.step_runner import StepRunner
from tests.steps import execute, finalize, split

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "log-events.md"
FACTS = [event for event in Event if not event.is_fault_point]


class TestLogObserver(ObserverSuite):
    """Writes facts to the log."""

    @pytest.fixture
    def observer(self) -> Observer:
        """The observer."""
        return LogObserver()

    def test_facts_are_written_with_their_fields(self, observer: Observer) -> None:
        """Each fact is a log line of level info; a fault point is not logged."""
        with capture_logs() as lines:
            for event in Event:
                observer.observe(event, {"batch": "0fa66de115"})

        written = [(line["event"], line["log_level"], line["batch"]) for line in lines]
        assert [(event, "info", "0fa66de115") for event in FACTS] == written


class TestFaultObserver(ObserverSuite):
    """Sends a signal to the process at one event."""

    @pytest.fixture
    def observer(self) -> Observer:
        """An observer of an event that no step has."""
        return FaultObserver("elsewhere", "", signal.SIGKILL)

    def test_signal_is_sent_at_its_event_only(self) -> None:
        """No other event sends a signal."""
        observer = FaultObserver(Event.CHUNK_DONE, "", signal.SIGUSR1)

        with count_signals() as signals:
            for event in Event:
                observer.observe(event, {})

        assert [signal.SIGUSR1] == signals

    def test_one_process_of_several_is_struck(self, tmp_path: Path) -> None:
        """Only the process that creates the file gets the signal."""
        once = str(tmp_path / "struck")
        observers = [FaultObserver(Event.CHUNK_DONE, once, signal.SIGUSR1) for _ in range(2)]

        with count_signals() as signals:
            for observer in observers:
                observer.observe(Event.CHUNK_DONE, {})

        assert [signal.SIGUSR1] == signals

    def test_there_is_none_in_production(self) -> None:
        """Without the variable no observer is created; with it, its point and signal are used."""
        variables = {"BATCHWAY_FAULT": "execute.before_commit", "BATCHWAY_FAULT_SIGNAL": "SIGSTOP"}

        assert FaultObserver.from_environment({"BATCHWAY_FAULT": ""}) is None
        assert FaultObserver(
            Event.EXECUTE_BEFORE_COMMIT, "", signal.SIGSTOP
        ) == FaultObserver.from_environment(variables)


# --- The events ----------------------------------------------------------------------------------


@dataclass
class Recorder:
    """Records facts, and the status of the batch that other connections see at each of them."""

    runner: StepRunner
    facts: list[tuple[Event, Mapping[str, Field]]] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)

    def observe(self, event: Event, fields: Mapping[str, Field]) -> None:
        """Record a fact."""
        if not event.is_fault_point:
            self.facts.append((event, fields))
            with self.runner.parts.database.read() as connection:
                [batch], _ = batches.find_page(connection, self.runner.identity.account.id, 1, 0, 0)
            self.statuses.append(batch.status)


def test_facts_are_reported_after_their_commit(runner: StepRunner) -> None:
    """An event reports committed changes; a second run reports nothing."""
    recorder = Recorder(runner)
    runner.parts = replace(runner.parts, observe=Observers([recorder]))
    operations = [*runner.make_additions(3), {"method": "GET", "path": "/nowhere"}]

    batch = runner.submit(operations)
    for _ in range(2):
        split(runner.parts, batch.id)
        execute(runner.parts, batch.id, 0)
        runner.clock.now += 2_500_000
        finalize(runner.parts, batch.id)

    named = {"batch": batch.public_id, "operations": 4}
    accepted, done, finished = recorder.facts
    assert (Event.BATCH_ACCEPTED, named) == accepted
    assert (Event.CHUNK_DONE, named | {"chunk": 0, "errored": 1, "seconds": 0.0}) == done
    size = runner.parts.archive.get_size(batch.public_id)
    report = named | {"errored": 1, "archive_bytes": size, "seconds": 2.5}
    assert (Event.BATCH_FINISHED, report) == finished
    assert ["pending", "finalizing", "finished"] == recorder.statuses


def test_the_reference_lists_every_fact() -> None:
    """The reference has a line for each event of the log, in the order of the code."""
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)

    assert FACTS == rows
    assert len(Event) == len(FACTS) + len(FAULT_POINTS)


def test_the_reference_lists_the_fields(runner: StepRunner) -> None:
    """The fields of each event of a batch are those in the reference."""
    recorder = Recorder(runner)
    runner.parts = replace(runner.parts, observe=Observers([recorder]))

    batch = runner.submit(runner.make_additions(3))
    split(runner.parts, batch.id)
    execute(runner.parts, batch.id, 0)
    finalize(runner.parts, batch.id)

    listed = dict(re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|$", PAGE.read_text(), re.MULTILINE))
    for event, fields in recorder.facts:
        assert re.findall(r"`(\w+)`", listed[event]) == list(fields)


@contextmanager
def count_signals() -> Iterator[list[int]]:
    """Record each SIGUSR1 within the block."""
    received: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: received.append(number))
    try:
        yield received
    finally:
        signal.signal(signal.SIGUSR1, before)
