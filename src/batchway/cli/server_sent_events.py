"""Reads a stream of server-sent events."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from batchway.cli.terminal import CommandError

MEDIA_TYPE = "text/event-stream"
EVENT_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    name: str
    data: bytes


def read_events(lines: Iterable[bytes]) -> Iterator[Event]:
    """Yield the events of a stream. Comments and fields other than `event` and `data` are skipped.

    A carriage return alone does not end a line here, because Batchway does not send any.
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
