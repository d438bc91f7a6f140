"""Time: UTC epoch microseconds inside, ISO 8601 with a numeric zone outside.

`system_clock` is the only place that asks the operating system for the wall clock.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

Microseconds = int
Clock = Callable[[], Microseconds]

SECOND: Microseconds = 1_000_000


def system_clock() -> Microseconds:
    """Now, in microseconds since the epoch."""
    return time.time_ns() // 1_000


def iso(moment: Microseconds | None) -> str:
    """`2021-11-23T22:51:56+00:00`; the empty string when there is no moment."""
    return "" if moment is None else _iso(moment // SECOND)


@lru_cache(maxsize=1024)  # the calls of a chunk share their moment
def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat()


def parse_iso(text: str) -> Microseconds | None:
    """The moment that an ISO 8601 text names, or None when it names none.

    `Z`, fractions, a missing zone (read as UTC) and a bare date are accepted.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return int(moment.timestamp() * SECOND)
    except (OverflowError, OSError):
        return None
