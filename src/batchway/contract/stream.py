"""A body that is sent piece by piece, and does not end soon."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"


@dataclass(frozen=True)
class Stream:
    """The pieces of a body, made as they are asked for, and their media type."""

    media_type: str
    pieces: Iterator[bytes] | AsyncIterator[bytes]
