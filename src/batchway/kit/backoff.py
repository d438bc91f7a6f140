"""How long to wait before trying again."""

import random
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"[0-9]+", re.ASCII)

_system_random = random.SystemRandom()


def add_jitter(seconds: float, spread: float, source: random.Random = _system_random) -> float:
    """`seconds`, made longer or shorter at random by up to the fraction `spread` (0 to 1).

    Attempts that failed at the same time are then not repeated at the same time.
    """
    return seconds * source.uniform(1 - spread, 1 + spread)


def clamp_retry_after(
    header: str | None, planned_seconds: float, seconds_max: float, now_seconds: float
) -> float:
    """The seconds to wait: the planned ones, or more if `Retry-After` asks for more.

    The header holds seconds or a date. It never shortens a wait and never asks for more than
    `seconds_max`; a header that cannot be read is ignored. A planned wait beyond `seconds_max`
    stays as it is. `now_seconds` counts from the epoch.
    """
    requested = _parse_retry_after((header or "").strip(), now_seconds)
    return max(planned_seconds, min(requested, seconds_max))


def _parse_retry_after(text: str, now_seconds: float) -> float:
    """The requested seconds; zero or less if the text requests no wait."""
    if _SECONDS.fullmatch(text):
        return float(text)  # a thousand digits give infinity, not an error
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    return _as_utc(moment).timestamp() - now_seconds


def _as_utc(moment: datetime) -> datetime:
    """HTTP dates are always UTC, also when they name no zone."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
