"""Time: UTC epoch microseconds inside, ISO 8601 with a numeric zone outside.

Only `system_clock` reads the wall clock of the operating system.
"""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

Microseconds = int
Clock = Callable[[], Microseconds]

SECOND: Microseconds = 1_000_000
DAY: Microseconds = 24 * 60 * 60 * SECOND

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_YEAR_1 = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_YEAR_9999 = (datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LOST_PLUS = re.compile(r"(:\d\d(?:\.\d+)?) (\d\d:?\d\d)$")


def system_clock() -> Microseconds:
    """Now, in microseconds since the epoch."""
    return time.time_ns() // 1_000


def compute_seconds(start: Microseconds, end: Microseconds) -> float:
    """The seconds from one moment to another, in whole milliseconds."""
    return round((end - start) / SECOND, 3)


def format_iso(moment: Microseconds | None) -> str:
    """`2021-11-23T22:51:56+00:00`; the empty string when there is no moment."""
    return "" if moment is None else _format_seconds(moment // SECOND)


@lru_cache(maxsize=1024)  # the operations of a chunk share their moment
def _format_seconds(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat()


def parse_iso(text: str) -> Microseconds | None:
    """The moment of an ISO 8601 text, or None if the text is not one.

    `Z`, fractions, a missing zone (read as UTC), a bare date and a zone whose `+` has become a
    space (as it does in a URL) are accepted; the years are 1 to 9998.
    """
    try:
        moment = datetime.fromisoformat(_LOST_PLUS.sub(r"\1+\2", text.strip()))
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    microseconds = (moment - _EPOCH) // _MICROSECOND
    return microseconds if _YEAR_1 <= microseconds < _YEAR_9999 else None
