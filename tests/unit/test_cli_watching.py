"""How a batch is followed, and how its progress is shown."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from batchway.cli.connection import Connection
from batchway.cli.following import BatchDeleted, follow_batch, is_finished
from batchway.cli.progress import LINE_SECONDS_MIN, Pace, format_progress, open_line_display
from batchway.cli.refusals import Refusal
from batchway.cli.server_sent_events import EVENT_BYTES_MAX, Event, read_events
from batchway.cli.terminal import CommandError
from batchway.cli.watching import watch_with_advice
from batchway.surfaces.mailchimp.bodies.batches import BatchProgress
from tests.unit.test_cli_connection import HANG_UP, Answer, Stage, problem, staging

STREAM = {"Content-Type": "text/event-stream; charset=utf-8"}


def progress(finished_operations: int, **changes: Any) -> dict[str, Any]:
    """Return a batch of a hundred operations, as the API shows it."""
    return {
        "id": "b1",
        "status": "finished" if finished_operations == 100 else "started",
        "total_operations": 100,
        "finished_operations": finished_operations,
        "errored_operations": 0,
        **changes,
    }


def event(finished_operations: int, **changes: Any) -> bytes:
    """Return the same as an event of the stream."""
    batch = progress(finished_operations, **changes)
    name = b"finished" if batch["status"] == "finished" else b"progress"
    return b"event: %b\ndata: %b\n\n" % (name, json.dumps(batch).encode())


def polled(finished_operations: int) -> Answer:
    """Return the same as the answer to GET /batches/b1."""
    return Answer(200, json.dumps(progress(finished_operations)).encode())


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A server that gives the answers of the test."""
    with staging() as stage:
        yield stage


@pytest.fixture
def connection(stage: Stage) -> Iterator[Connection]:
    """A connection to that server that does not really wait."""
    with Connection(stage.url, "key", sleep=lambda _: None) as connection:
        yield connection


# --- The stream ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], []),
        ([b"data: 1", b""], [Event("message", b"1")]),
        ([b"event: a", b"data:1", b"data:  2", b""], [Event("a", b"1\n 2")]),
        ([b": still here", b"", b"event: a", b": x", b"data: 1", b""], [Event("a", b"1")]),
        ([b"event: a", b"", b"data: 1", b""], [Event("message", b"1")]),
        ([b"id: 7", b"retry: 5", b"nonsense", b"data: a: b", b""], [Event("message", b"a: b")]),
        ([b"data", b""], [Event("message", b"")]),
        ([b"event: a", b"data: cut short"], []),
    ],
)
def test_events_are_read_as_the_standard_says(lines: list[bytes], expected: list[Event]) -> None:
    """Comments, unknown fields and an event without its end are skipped."""
    assert expected == list(read_events(lines))


def test_an_endless_event_is_refused() -> None:
    """An event without an end does not fill the memory."""
    with pytest.raises(CommandError, match="longer than"):
        list(read_events([b"data: " + b"x" * EVENT_BYTES_MAX] * 2))


def test_a_batch_is_followed_by_its_events(stage: Stage, connection: Connection) -> None:
    """One request returns all progress, and ends when the batch is finished."""
    body = event(10, waiting_for="A worker.") + b": still here\n\n" + event(60) + event(100)
    stage.answers = [Answer(200, body, STREAM)]
    seen: list[BatchProgress] = []

    last = follow_batch(connection, "b1", seen.append)

    assert [10, 60, 100] == [batch.finished_operations for batch in seen]
    assert "A worker." == seen[0].waiting_for
    assert last is seen[-1]
    assert ["/3.0/batches/b1/events"] == [request.path for request in stage.received]
    assert "text/event-stream" == stage.received[0].headers["accept"]


@pytest.mark.parametrize(
    "no_stream",
    [
        problem(404),
        problem(405),
        problem(429),
        Answer(HANG_UP),
        Answer(200, b"{}", {"Content-Type": "application/json"}),
        Answer(200, b"event: progress\ndata: nonsense\n\n", STREAM),
        Answer(200, b"", STREAM),
        Answer(200, b": nothing\n\n", STREAM),
        Answer(200, event(5), STREAM | {"Content-Length": "100000"}),
    ],
)
def test_without_a_stream_the_batch_is_polled(
    stage: Stage, connection: Connection, no_stream: Answer
) -> None:
    """If the stream is missing, breaks or is invalid, polling replaces it."""
    stage.answers = [no_stream, polled(10), polled(100)]
    seen: list[BatchProgress] = []

    last = follow_batch(connection, "b1", seen.append, lambda _: None)

    assert [10, 100] == [batch.finished_operations for batch in seen][-2:]
    assert is_finished(last)
    assert ["/3.0/batches/b1/events", "/3.0/batches/b1", "/3.0/batches/b1"] == [
        request.path for request in stage.received
    ]


def test_a_stream_that_ends_early_is_requested_again(stage: Stage, connection: Connection) -> None:
    """A server ends its streams after a while, whether the batch is finished or not."""
    stage.answers = [Answer(200, event(10), STREAM), Answer(200, event(100), STREAM)]
    waits: list[float] = []

    last = follow_batch(connection, "b1", lambda _: None, waits.append)

    assert is_finished(last)
    assert ["/3.0/batches/b1/events"] * 2 == [request.path for request in stage.received]
    assert 1 == len(waits)


def test_a_deleted_batch_ends_the_following(stage: Stage, connection: Connection) -> None:
    """There is no polling, because a deleted batch does not return."""
    stage.answers = [Answer(200, event(10) + b"event: deleted\ndata: {}\n\n", STREAM)]

    with pytest.raises(BatchDeleted, match="Batch b1 was deleted"):
        follow_batch(connection, "b1", lambda _: None)

    assert 1 == len(stage.received)


def test_a_missing_batch_is_an_error(stage: Stage, connection: Connection) -> None:
    """If the batch is missing as well as the stream, the error says so."""
    stage.answers = [problem(404)]

    with pytest.raises(Refusal) as caught:
        follow_batch(connection, "b1", lambda _: None)

    assert "batchway batches list" in caught.value.next_step


@pytest.mark.parametrize(("errored", "expected"), [(3, "batchway batches errors b1\n"), (0, "")])
def test_errored_operations_have_a_next_step(
    stage: Stage,
    connection: Connection,
    capsys: pytest.CaptureFixture[str],
    errored: int,
    expected: str,
) -> None:
    """If operations errored, the command that shows the reasons is named."""
    stage.answers = [Answer(200, event(100, errored_operations=errored), STREAM)]

    watch_with_advice(connection, "b1")

    printed = capsys.readouterr().out
    assert printed.endswith(expected or " per second\n")
    assert bool(expected) == ("batches errors" in printed)


# --- Words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("finished_before", "seconds", "expected"),
    [(0, 2.0, 25), (40, 2.0, 5), (0, 0.0, 0), (50, 4.0, 0)],
)
def test_the_pace_counts_from_the_beginning_of_the_watching(
    finished_before: int, seconds: float, expected: int
) -> None:
    """Operations that ran before the watching began are not counted."""
    times = iter([10.0, 10.0 + seconds])
    pace = Pace.start(finished_before, lambda: next(times))

    assert expected == pace.measure(50)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, "25 per second"),
        ({"operations_per_second": 7.6}, "8 per second"),
        ({"operations_per_second": 0.0}, "0 per second"),
        (
            {"estimated_end": "2026-03-01T09:00:30+01:00"},
            "25 per second, estimated end 2026-03-01 08:00:30 UTC",
        ),
        ({"estimated_end": "soon"}, "25 per second"),
        ({"waiting_for": "A worker will begin it."}, "25 per second. A worker will begin it."),
    ],
)
def test_a_line_of_progress_says_what_is_known(known: dict[str, Any], expected: str) -> None:
    """A line has status, counters and rate, and the estimated end if it is known."""
    times = iter([10.0, 12.0])
    pace = Pace.start(now=lambda: next(times))
    shown = BatchProgress("b1", "started", 100, 50, 3, **known)

    assert f"started: 50 of 100 operations, 3 errored, {expected}" == format_progress(shown, pace)


def test_lines_come_for_each_status_and_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    """Frequent events make few lines, and unchanged progress is not repeated."""
    pause = LINE_SECONDS_MIN
    moments = [
        (0.0, "pending", 0),
        (0.1, "started", 10),
        (0.2, "started", 20),  # too soon
        (0.1 + pause, "started", 30),
        (0.2 + 2 * pause, "started", 30),  # nothing new
        (0.3 + 2 * pause, "started", 40),
        (0.4 + 2 * pause, "finished", 100),
    ]
    time = 0.0
    with open_line_display(lambda: time) as show:
        for at, status, finished in moments:
            time = at
            shown = BatchProgress("b1", status, 100, finished, 0, operations_per_second=1)
            show(shown, Pace.start())

    counts = [text.split()[1] for text in capsys.readouterr().out.splitlines()]
    assert ["0", "10", "30", "40", "100"] == counts
