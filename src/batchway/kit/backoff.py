"""How long to wait before trying again."""

import random
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"[0-9]+", re.ASCII)

_system_random = random.SystemRandom()


def add_jitter(seconds: float, spread: float, source: random.Random = _system_random) -> float:
    """Lengthen or shorten `seconds` at random by up to the fraction `spread` (0 to 1).

    Attempts that failed at the same time are then not repeated at the same time.
    """
    return seconds * source.uniform(1 - spread, 1 + spread)


def clamp_retry_after(
    header: str | None, planned_seconds: float, seconds_max: float, now_seconds: float
) -> float:
    """Return the seconds to wait: the planned ones, or more if `Retry-After` requests more.

    The header contains seconds or a date; one that cannot be parsed is ignored. It never shortens
    the planned wait, and never lengthens it beyond `seconds_max`. `now_seconds` counts from the
    epoch.
    """
    requested = _parse_retry_after((header or "").strip(), now_seconds)
    return max(planned_seconds, min(requested, seconds_max))


def _parse_retry_after(text: str, now_seconds: float) -> float:
    """Return the requested seconds; zero or less if the text requests no wait."""
    if _SECONDS.fullmatch(text):
        return float(text)  # a thousand digits give infinity, not an error
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    return _convert_to_utc(moment).timestamp() - now_seconds


def _convert_to_utc(moment: datetime) -> datetime:
    """Read a date without a zone as UTC, because HTTP dates are always UTC."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
