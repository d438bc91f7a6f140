"""How long to wait before trying again."""

import random
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"[0-9]+", re.ASCII)

_system_random = random.SystemRandom()


def jittered(seconds: float, spread: float, chance: random.Random = _system_random) -> float:
    """`seconds`, longer or shorter by up to the part `spread` (0 to 1) of it.

    Those that failed together do not come back together.
    """
    return seconds * chance.uniform(1 - spread, 1 + spread)


def clamped_retry_after(
    header: str | None, planned_seconds: float, most_seconds: float, now_seconds: float
) -> float:
    """The wait: as planned, or longer if `Retry-After` asks for it, by up to `most_seconds`.

    The header holds seconds or a date; it never shortens a wait, and nonsense is ignored. What was
    planned stays, even beyond `most_seconds`. `now_seconds` are since the epoch.
    """
    asked = _asked_seconds((header or "").strip(), now_seconds)
    return max(planned_seconds, min(asked, most_seconds))


def _asked_seconds(text: str, now_seconds: float) -> float:
    """Zero or less if the text asks for nothing."""
    if _SECONDS.fullmatch(text):
        return float(text)  # infinite, and no error, for a thousand digits
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    return _in_utc(moment).timestamp() - now_seconds


def _in_utc(moment: datetime) -> datetime:
    """Dates of HTTP are UTC, whether they say so or not."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
