"""Follows a batch until it is finished, and shows why operations failed.

A bar on a terminal, a line for each change elsewhere. The server tells of changes as they come;
where it does not, it is asked again and again.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Annotated

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars

from batchway.cli.connection import Connection, Sleep, as_segment
from batchway.cli.terminal import OUT, CommandError, printable, say, table, warn
from batchway.kit.clock import format_iso, parse_iso

EVENTS = "text/event-stream"
EVENT_BYTES_MAX = 1024 * 1024
LINE_SECONDS_MIN = 2.0  # between two lines that tell of nothing but numbers
POLL_SECONDS_MIN = 0.1
POLL_SECONDS_MAX = 2.0
POLL_GROWTH = 1.5
assert POLL_SECONDS_MIN < POLL_SECONDS_MAX
assert POLL_GROWTH > 1

WatchOption = Annotated[
    bool, typer.Option("--watch", envvar="BATCHWAY_WATCH", help="Follow it until finished.")
]


class Batch(msgspec.Struct, frozen=True):
    """A batch as the API shows it."""

    id: str
    status: str
    total_operations: int
    finished_operations: int
    errored_operations: int
    submitted_at: str = ""
    completed_at: str = ""
    response_body_url: str = ""

    @property
    def is_finished(self) -> bool:
        """Whether it will not change any more."""
        return self.status == "finished"


class Progress(Batch, frozen=True):
    """A batch and how it goes on, as far as the server tells."""

    operations_per_second: float | None = None
    estimated_end: str = ""
    waiting_for: str = ""


class Sample(msgspec.Struct, frozen=True):
    """One operation of a group of errors."""

    position: int
    operation_id: str | None
    path: str
    detail: str

    @property
    def name(self) -> str:
        """What its owner calls it, or else its place in the batch."""
        return f"number {self.position}" if self.operation_id is None else self.operation_id


class ErrorGroup(msgspec.Struct, frozen=True):
    """Operations that failed for one reason."""

    status_code: int
    title: str
    field: str
    message: str
    count: int
    samples: list[Sample]


class BatchErrors(msgspec.Struct, frozen=True):
    """Why operations of a batch failed, the most frequent reason first."""

    errored_operations: int
    groups: list[ErrorGroup]


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    name: str
    data: bytes


class BatchDeleted(CommandError):
    """The batch that was followed is gone."""


@dataclass(frozen=True)
class Pace:
    """Operations per second since a moment at which some were already finished."""

    began_seconds: float
    finished_operations: int = 0
    now: Callable[[], float] = monotonic

    @classmethod
    def since_now(cls, now: Callable[[], float] = monotonic) -> "Pace":
        """The pace of a batch that is about to be submitted."""
        return cls(now(), 0, now)

    @classmethod
    def of(cls, batch: Batch, now: Callable[[], float] = monotonic) -> "Pace":
        """The pace from now on of a batch that may have begun long ago."""
        return cls(now(), batch.finished_operations, now)

    def per_second(self, batch: Batch) -> int:
        """Rounded; 0 before anything was seen to finish."""
        seconds = self.now() - self.began_seconds
        done = batch.finished_operations - self.finished_operations
        return round(done / seconds) if seconds > 0 else 0


Take = Callable[[Progress], None]
Show = Callable[[Progress, Pace], None]


def find_batch(connection: Connection, batch_id: str) -> Batch:
    """The batch as it is now."""
    return connection.get(f"/batches/{as_segment(batch_id)}", Batch)


def tell_accepted(
    connection: Connection, batch: Batch, pace: Pace, *, follow: bool, quiet: bool
) -> None:
    """Follow a new batch, or say how to."""
    if quiet:
        say(batch.id)
    if follow:
        watch_and_tell(connection, batch.id, pace)
    elif not quiet:
        say(f"Follow it: batchway batches watch {batch.id}")


def watch_and_tell(connection: Connection, batch_id: str, pace: Pace | None = None) -> None:
    """Follow a batch; if operations errored, say how to find out why."""
    batch = watch(connection, batch_id, pace)
    if batch.errored_operations:
        say(f"See why operations errored: batchway batches errors {batch.id}")


def watch(connection: Connection, batch_id: str, pace: Pace | None = None) -> Batch:
    """Show a batch's progress until it is finished, and return it."""

    def take(progress: Progress) -> None:
        nonlocal pace
        pace = pace or Pace.of(progress)
        show(progress, pace)

    try:
        with _bar_display() if OUT.is_terminal else line_display() as show:
            return follow(connection, batch_id, take)
    except KeyboardInterrupt:
        name = printable(batch_id)
        warn(f"Batch {name} goes on at the server. Follow it: batchway batches watch {name}")
        raise


def follow(connection: Connection, batch_id: str, take: Take, wait: Sleep = sleep) -> Progress:
    """Pass on how the batch is, now and at each change, and return it when it is finished.

    By the server's stream of events; by asking again and again if there is none, or if it breaks.
    """
    try:
        while (last := _streamed(connection, batch_id, take)) is not None:
            if last.is_finished:
                return last
            wait(POLL_SECONDS_MAX)  # a stream ends after a while; then it is asked for again
    except BatchDeleted:
        raise
    except CommandError:
        pass  # if it was more than a missing stream, the polling tells
    for progress in poll(connection, batch_id, wait):
        take(progress)
    return progress


def poll(connection: Connection, batch_id: str, wait: Sleep = sleep) -> Iterator[Progress]:
    """The batch now and again, ever less often, ending with the finished one."""
    seconds = POLL_SECONDS_MIN
    path = f"/batches/{as_segment(batch_id)}"
    while True:
        batch = connection.get(path, Progress)
        yield batch
        if batch.is_finished:
            return
        wait(seconds)
        seconds = min(seconds * POLL_GROWTH, POLL_SECONDS_MAX)


def events(lines: Iterable[bytes]) -> Iterator[Event]:
    """The events of a stream: `event` and `data` count, comments and all else are passed over.

    A carriage return alone ends no line here: our servers write none.
    """
    name, data = "", list[bytes]()
    for line in lines:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            if data:
                yield Event(name or "message", b"\n".join(data))
            name, data = "", []
        elif field == b"event":
            name = value.decode(errors="replace")
        elif field == b"data":
            data.append(value)
            if sum(map(len, data)) > EVENT_BYTES_MAX:
                message = f"An event of the server is longer than {EVENT_BYTES_MAX} bytes."
                raise CommandError(message)


def line(progress: Progress, pace: Pace) -> str:
    """A batch's progress in words."""
    return (
        f"{progress.status}: {progress.finished_operations} of {progress.total_operations} "
        f"operations, {progress.errored_operations} errored, {_rate(progress, pace)} per second"
        f"{_outlook(progress)}"
    )


def show_groups(groups: Iterable[ErrorGroup]) -> None:
    """Print reasons with their numbers; nothing if there are none."""
    rows = [
        (
            each.count,
            each.status_code,
            each.title,
            each.field,
            each.message,
            ", ".join(sample.name for sample in each.samples),
            each.samples[0].path if each.samples else "",
        )
        for each in groups
    ]
    if rows:
        columns = ("count", "status code", "title", "field", "message", "operations", "such as")
        table(columns, rows)


def _streamed(connection: Connection, batch_id: str, take: Take) -> Progress | None:
    """Pass on what the stream tells; the last of it, or None if it told nothing."""

    def read(lines: Iterator[bytes]) -> Progress | None:
        last = None
        for event in events(lines):
            if event.name == "deleted":
                message = f"Batch {printable(batch_id)} was deleted."
                raise BatchDeleted(message, "What it has done stays done.")
            if event.name in {"progress", "finished"}:
                last = _progress(event)
                take(last)
                if last.is_finished:
                    break
        return last

    path = f"/batches/{as_segment(batch_id)}/events"
    return connection.stream(path, EVENTS, read, waits=())


def _progress(event: Event) -> Progress:
    try:
        return msgspec.json.decode(event.data, type=Progress)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"An event of the server cannot be read: {error}"
        raise CommandError(message) from None


def _rate(progress: Progress, pace: Pace) -> int:
    """As the server has measured it, or else as it was seen from here."""
    measured = progress.operations_per_second
    return pace.per_second(progress) if measured is None else round(measured)


def _outlook(progress: Progress) -> str:
    """When it will end, and what it waits for, each if that is known."""
    end = _end(progress)
    text = f", estimated end {end} UTC" if end else ""
    return f"{text}. {progress.waiting_for}" if progress.waiting_for else text


def _short_outlook(progress: Progress) -> str:
    """Beside a bar there is room for one of the two, and for the time alone."""
    if end := _end(progress)[11:]:
        return f", ends {end} UTC"
    return f", {progress.waiting_for}" if progress.waiting_for else ""


def _end(progress: Progress) -> str:
    return format_iso(parse_iso(progress.estimated_end))[:19].replace("T", " ")


@contextmanager
def line_display(now: Callable[[], float] = monotonic) -> Iterator[Show]:
    """A line for each new status; for other changes one now and then."""
    last_status, last_state, shown_at = "", "", 0.0

    def show(progress: Progress, pace: Pace) -> None:
        nonlocal last_status, last_state, shown_at
        counts = f"{progress.finished_operations} {progress.errored_operations}"
        state = f"{progress.status} {counts} {progress.waiting_for}"
        is_due = now() - shown_at >= LINE_SECONDS_MIN
        if progress.status != last_status or (state != last_state and is_due):
            say(line(progress, pace))
            last_status, last_state, shown_at = progress.status, state, now()

    yield show


@contextmanager
def _bar_display() -> Iterator[Show]:
    """One bar that moves."""
    columns = (
        TextColumn("{task.description:<13}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[errored]} errored  {task.fields[pace]}/s{task.fields[outlook]}"),
    )
    with Bars(*columns, console=OUT) as bars:
        task = bars.add_task("", total=None, errored=0, pace=0, outlook="")

        def show(progress: Progress, pace: Pace) -> None:
            bars.update(
                task,
                description=printable(progress.status),
                total=progress.total_operations,
                completed=progress.finished_operations,
                errored=progress.errored_operations,
                pace=_rate(progress, pace),
                outlook=printable(_short_outlook(progress)),
            )

        yield show
