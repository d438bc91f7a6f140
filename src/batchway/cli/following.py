"""Follows a batch until it is finished, with the server's event stream or else by polling."""

from collections.abc import Callable, Iterator
from time import sleep

import msgspec

from batchway.cli.connection import Connection, Sleep, quote_segment
from batchway.cli.server_sent_events import MEDIA_TYPE, Event, read_events
from batchway.cli.terminal import CommandError, printable
from batchway.model.batch import Status
from batchway.surfaces.mailchimp.bodies.batches import BatchBody, BatchProgress

POLL_SECONDS_MIN = 0.1
POLL_SECONDS_MAX = 2.0
POLL_GROWTH = 1.5
assert POLL_SECONDS_MIN < POLL_SECONDS_MAX
assert POLL_GROWTH > 1

OnProgress = Callable[[BatchProgress], None]


class BatchDeleted(CommandError):
    """The batch that was followed has been deleted."""


def build_batch_path(batch_id: str) -> str:
    """Return the path of a batch."""
    return f"/batches/{quote_segment(batch_id)}"


def find_batch(connection: Connection, batch_id: str) -> BatchBody:
    """Return a batch as it is now."""
    return connection.get(build_batch_path(batch_id), BatchBody)


def is_finished(batch: BatchBody | BatchProgress) -> bool:
    """Whether the batch is finished, and will not change any more."""
    return batch.status == Status.FINISHED


def follow_batch(
    connection: Connection, batch_id: str, on_progress: OnProgress, wait: Sleep = sleep
) -> BatchProgress:
    """Report the progress of a batch now and at each change; return it when it is finished.

    The server streams the changes. If it has no stream, or the stream breaks, this polls instead.
    """
    try:
        while (last := _follow_stream(connection, batch_id, on_progress)) is not None:
            if is_finished(last):
                return last
            wait(POLL_SECONDS_MAX)  # the server has ended the stream, so request another one
    except BatchDeleted:
        raise
    except CommandError:
        pass  # if it is not only the stream that fails, polling reports the error
    for progress in poll_batch(connection, batch_id, wait):
        on_progress(progress)
    return progress


def poll_batch(
    connection: Connection, batch_id: str, wait: Sleep = sleep
) -> Iterator[BatchProgress]:
    """Yield the progress of a batch repeatedly, with growing pauses, until it is finished."""
    seconds = POLL_SECONDS_MIN
    path = build_batch_path(batch_id)
    while True:
        progress = connection.get(path, BatchProgress)
        yield progress
        if is_finished(progress):
            return
        wait(seconds)
        seconds = min(seconds * POLL_GROWTH, POLL_SECONDS_MAX)


def _follow_stream(
    connection: Connection, batch_id: str, on_progress: OnProgress
) -> BatchProgress | None:
    """Report the progress in the stream. Returns the last one, or None if the stream has none."""

    def read(lines: Iterator[bytes]) -> BatchProgress | None:
        last = None
        for event in read_events(lines):
            if event.name == "deleted":
                message = f"Batch {printable(batch_id)} was deleted."
                raise BatchDeleted(message, "What it has done stays done.")
            if event.name in {"progress", "finished"}:
                last = _decode_progress(event)
                on_progress(last)
                if is_finished(last):
                    break
        return last

    return connection.stream(f"{build_batch_path(batch_id)}/events", MEDIA_TYPE, read, waits=())


def _decode_progress(event: Event) -> BatchProgress:
    try:
        return msgspec.json.decode(event.data, type=BatchProgress)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"An event of the server cannot be read: {error}"
        raise CommandError(message) from None
