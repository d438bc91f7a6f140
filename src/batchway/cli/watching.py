"""Shows the progress of a batch until it is finished, for `watch` and for the option `--watch`."""

from batchway.cli.connection import Connection
from batchway.cli.following import follow_batch
from batchway.cli.progress import Pace, open_display
from batchway.cli.terminal import print_note, print_text, printable
from batchway.surfaces.mailchimp.bodies.batches import BatchBody, BatchProgress


def watch_accepted(
    connection: Connection, batch: BatchBody, pace: Pace, *, follow: bool, quiet: bool
) -> None:
    """Follow a new batch if `follow` is set. Otherwise say how to follow it."""
    if quiet:
        print_text(batch.id)
    if follow:
        watch_with_advice(connection, batch.id, pace)
    elif not quiet:
        print_text(f"Follow it: batchway batches watch {batch.id}")


def watch_with_advice(connection: Connection, batch_id: str, pace: Pace | None = None) -> None:
    """Follow a batch. If operations errored, say how to find out why."""
    batch = watch_batch(connection, batch_id, pace)
    if batch.errored_operations:
        print_text(f"See why operations errored: batchway batches errors {batch.id}")


def watch_batch(connection: Connection, batch_id: str, pace: Pace | None = None) -> BatchProgress:
    """Show the progress of a batch until it is finished, and return the last progress."""

    def show_progress(progress: BatchProgress) -> None:
        nonlocal pace
        pace = pace or Pace.start(progress.finished_operations)
        show(progress, pace)

    try:
        with open_display() as show:
            return follow_batch(connection, batch_id, show_progress)
    except KeyboardInterrupt:
        name = printable(batch_id)
        print_note(
            f"Batch {name} continues on the server. Follow it: batchway batches watch {name}"
        )
        raise
