"""A body that is sent piece by piece while it is produced."""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"

_ZERO_WEIGHT = re.compile(r"q=0(\.0*)?")


@dataclass(frozen=True)
class Stream:
    """The pieces of a body, produced one by one as they are sent, and its media type."""

    media_type: str
    pieces: Iterator[bytes] | AsyncIterator[bytes]


def accepts(header: str, media_type: str) -> bool:
    """Whether an `Accept` header names a media type with a weight (`q`) above 0."""
    return media_type in read_accepted(header)


def read_accepted(header: str) -> list[str]:
    """Return what an `Accept…` header names with a weight (`q`) above 0, in lower case."""
    accepted = []
    for each in header.lower().split(","):
        name, *parameters = ("".join(part.split()) for part in each.split(";"))
        if not any(_ZERO_WEIGHT.fullmatch(parameter) for parameter in parameters):
            accepted.append(name)
    return accepted
