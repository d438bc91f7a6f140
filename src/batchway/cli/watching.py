"""Follows a batch until it is finished: a bar on a terminal, a line for each change elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, sleep

import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from batchway.cli.connection import Connection, Sleep, as_segment
from batchway.cli.terminal import OUT, printable, say, warn

POLL_SECONDS_MIN = 0.1
POLL_SECONDS_MAX = 2.0
POLL_GROWTH = 1.5
assert POLL_SECONDS_MIN < POLL_SECONDS_MAX
assert POLL_GROWTH > 1


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


Show = Callable[[Batch, Pace], None]


def find_batch(connection: Connection, batch_id: str) -> Batch:
    """The batch as it is now."""
    return connection.get(f"/batches/{as_segment(batch_id)}", Batch)


def poll(connection: Connection, batch_id: str, wait: Sleep = sleep) -> Iterator[Batch]:
    """The batch now and again, ever less often, ending with the finished one."""
    seconds = POLL_SECONDS_MIN
    while True:
        batch = find_batch(connection, batch_id)
        yield batch
        if batch.is_finished:
            return
        wait(seconds)
        seconds = min(seconds * POLL_GROWTH, POLL_SECONDS_MAX)


def watch(connection: Connection, batch_id: str, pace: Pace | None = None) -> Batch:
    """Show a batch's progress until it is finished, and return it."""
    try:
        with _bar_display() if OUT.is_terminal else _line_display() as show:
            for batch in poll(connection, batch_id):
                pace = pace or Pace.of(batch)
                show(batch, pace)
    except KeyboardInterrupt:
        name = printable(batch_id)
        warn(f"Batch {name} goes on at the server. Follow it: batchway batches watch {name}")
        raise
    return batch


def line(batch: Batch, pace: Pace) -> str:
    """A batch's progress in words."""
    return (
        f"{batch.status}: {batch.finished_operations} of {batch.total_operations} operations, "
        f"{batch.errored_operations} errored, {pace.per_second(batch)} per second"
    )


@contextmanager
def _line_display() -> Iterator[Show]:
    """A line for each change."""
    last = ""

    def show(batch: Batch, pace: Pace) -> None:
        nonlocal last
        state = f"{batch.status} {batch.finished_operations} {batch.errored_operations}"
        if state != last:
            say(line(batch, pace))
        last = state

    yield show


@contextmanager
def _bar_display() -> Iterator[Show]:
    """One bar that moves."""
    columns = (
        TextColumn("{task.description:<13}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[errored]} errored  {task.fields[pace]}/s"),
    )
    with Progress(*columns, console=OUT) as progress:
        task = progress.add_task("", total=None, errored=0, pace=0)

        def show(batch: Batch, pace: Pace) -> None:
            progress.update(
                task,
                description=printable(batch.status),
                total=batch.total_operations,
                completed=batch.finished_operations,
                errored=batch.errored_operations,
                pace=pace.per_second(batch),
            )

        yield show
