"""The limits that an operator can set, by the setting `limits`; all others are constants."""

from collections.abc import Mapping

from batchway import limits

SETTABLE = (
    "requests_per_key_max",
    "request_seconds_max",
    "batch_request_seconds_max",
    "request_body_bytes_max",
    "call_body_bytes_max",
    "operations_per_batch_max",
    "pending_batches_per_account_max",
    "running_batches_per_account_max",
    "free_bytes_min",
    "result_days",
    "result_link_seconds",
    "idempotency_key_seconds",
    "event_streams_per_key_max",
    "batch_webhooks_per_account_max",
    "undelivered_events_per_account_max",
    "delivery_seconds_max",
    "webhook_failing_days_max",
)
_SET_MAX = 1 << 40
_MOST = {"operations_per_batch_max": 1 << 28}  # positions that have a file name in the archive


def values() -> dict[str, float]:
    """The limits in force that an operator can set."""
    return {name: getattr(limits, name) for name in SETTABLE}


def put_in_force(new: Mapping[str, float]) -> None:
    """Put other values into force for this process; raises ValueError for what cannot be set."""
    check(new)
    for name, value in new.items():
        setattr(limits, name, type(getattr(limits, name))(value))


def check(new: Mapping[str, float]) -> None:
    """Raise ValueError, with what to do, unless `put_in_force` would take the values."""
    for name, value in new.items():
        if name not in SETTABLE:
            message = f"{name} is no limit that can be set. These can: {', '.join(SETTABLE)}"
            raise ValueError(message)
        most = _MOST.get(name, _SET_MAX)
        if not 0 < value <= most:
            message = f"{name} must be greater than 0 and at most {most}, not {value}"
            raise ValueError(message)
        if isinstance(getattr(limits, name), int) and value != int(value):
            message = f"{name} must be a whole number, not {value}"
            raise ValueError(message)
