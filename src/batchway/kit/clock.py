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
_ISO_CHARACTERS_MAX = 64  # more than any time has, so that a megabyte of text is never parsed
_LOST_PLUS = re.compile(r"(:\d\d(?:\.\d+)?) (\d\d:?\d\d)$")


def system_clock() -> Microseconds:
    """Return the current time in microseconds since the epoch."""
    return time.time_ns() // 1_000


def compute_seconds(start: Microseconds, end: Microseconds) -> float:
    """Return the seconds from `start` to `end`, rounded to milliseconds."""
    return round((end - start) / SECOND, 3)


def format_iso(moment: Microseconds | None) -> str:
    """Format a moment like `2021-11-23T22:51:56+00:00`, and None as an empty string."""
    return "" if moment is None else _format_seconds(moment // SECOND)


def format_plain(moment: Microseconds | None) -> str:
    """Format a moment like `2021-11-23 22:51:56`, without its zone, and None as an empty string."""
    return format_iso(moment).removesuffix("+00:00").replace("T", " ")


@lru_cache(maxsize=1024)  # all operations of a chunk have the same moment
def _format_seconds(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat()


def parse_iso(text: str) -> Microseconds | None:
    """Return the moment of an ISO 8601 text, or None if the text is not one.

    Accepted are `Z`, fractions of a second, a missing zone (read as UTC), a date without a time,
    a zone whose `+` became a space (as it does in a URL), and the years 1 to 9998.
    """
    if len(text) > _ISO_CHARACTERS_MAX:
        return None
    try:
        moment = datetime.fromisoformat(_LOST_PLUS.sub(r"\1+\2", text.strip()))
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    microseconds = (moment - _EPOCH) // _MICROSECOND
    return microseconds if _YEAR_1 <= microseconds < _YEAR_9999 else None
