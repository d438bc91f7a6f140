"""Shows the progress of a batch: as a bar on a terminal, and elsewhere as lines of text."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from time import monotonic

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from batchway.cli.terminal import OUT, print_text, printable
from batchway.kit.clock import format_plain, parse_iso
from batchway.surfaces.mailchimp.bodies.batches import BatchProgress

LINE_SECONDS_MIN = 2.0  # between two lines of the same status


@dataclass(frozen=True)
class Pace:
    """Measures operations per second since a moment when some were finished already."""

    began_seconds: float
    finished_operations: int = 0
    now: Callable[[], float] = monotonic

    @classmethod
    def start(cls, finished_operations: int = 0, now: Callable[[], float] = monotonic) -> "Pace":
        """Start to measure a batch that has finished so many operations."""
        return cls(now(), finished_operations, now)

    def measure(self, finished_operations: int) -> int:
        """Return the operations per second, rounded; 0 while none has finished since the start."""
        seconds = self.now() - self.began_seconds
        done = finished_operations - self.finished_operations
        return round(done / seconds) if seconds > 0 else 0


Show = Callable[[BatchProgress, Pace], None]


def open_display() -> AbstractContextManager[Show]:
    """Open the display that suits standard output."""
    return _open_bar_display() if OUT.is_terminal else open_line_display()


@contextmanager
def open_line_display(now: Callable[[], float] = monotonic) -> Iterator[Show]:
    """Print a line for each new status, and for other changes one every few seconds."""
    last_status, last_state, shown_at = "", "", 0.0

    def show(progress: BatchProgress, pace: Pace) -> None:
        nonlocal last_status, last_state, shown_at
        counts = f"{progress.finished_operations} {progress.errored_operations}"
        state = f"{progress.status} {counts} {progress.waiting_for}"
        is_due = now() - shown_at >= LINE_SECONDS_MIN
        if progress.status != last_status or (state != last_state and is_due):
            print_text(format_progress(progress, pace))
            last_status, last_state, shown_at = progress.status, state, now()

    yield show


@contextmanager
def _open_bar_display() -> Iterator[Show]:
    columns = (
        TextColumn("{task.description:<13}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[errored]} errored  {task.fields[pace]}/s{task.fields[outlook]}"),
    )
    with Progress(*columns, console=OUT) as bars:
        task = bars.add_task("", total=None, errored=0, pace=0, outlook="")

        def show(progress: BatchProgress, pace: Pace) -> None:
            bars.update(
                task,
                description=printable(progress.status),
                total=progress.total_operations,
                completed=progress.finished_operations,
                errored=progress.errored_operations,
                pace=_choose_rate(progress, pace),
                outlook=printable(_format_short_outlook(progress)),
            )

        yield show


def format_progress(progress: BatchProgress, pace: Pace) -> str:
    """Format the progress of a batch as one line of text."""
    return (
        f"{progress.status}: {progress.finished_operations} of {progress.total_operations} "
        f"operations, {progress.errored_operations} errored, {_choose_rate(progress, pace)} per "
        f"second{_format_outlook(progress)}"
    )


def _choose_rate(progress: BatchProgress, pace: Pace) -> int:
    """Return the rate that the server measured or, if there is none, that of `pace`."""
    measured = progress.operations_per_second
    return pace.measure(progress.finished_operations) if measured is None else round(measured)


def _format_outlook(progress: BatchProgress) -> str:
    """Format when the batch will end and what it waits for, as far as they are known."""
    end = _format_end(progress)
    text = f", estimated end {end} UTC" if end else ""
    return f"{text}. {progress.waiting_for}" if progress.waiting_for else text


def _format_short_outlook(progress: BatchProgress) -> str:
    """Format only one of the two, because there is little room beside a bar."""
    if end := _format_end(progress)[11:]:
        return f", ends {end} UTC"
    return f", {progress.waiting_for}" if progress.waiting_for else ""


def _format_end(progress: BatchProgress) -> str:
    return format_plain(parse_iso(progress.estimated_end))
