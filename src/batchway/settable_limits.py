"""Which limits an operator can set with the setting `limits`, and which others clients can see."""

from collections.abc import Mapping
from dataclasses import fields, replace

from batchway import limits
from batchway.limits import Limits

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
    "downloads_per_key_max",
    "connections_max",
    "connections_per_address_max",
    "head_seconds_max",
    "body_seconds_max",
    "reader_seconds_max",
)
CONSTANT = (
    "request_line_bytes_max",
    "header_bytes_max",
    "request_headers_max",
    "operation_bytes_max",
    "operation_path_characters_max",
    "operation_params_bytes_max",
    "operation_id_characters_max",
    "body_tokens_max",
    "path_segments_max",
    "unstreamed_body_bytes_max",
    "idempotency_key_characters_max",
    "check_seconds_max",
    "page_count_max",
    "page_bytes_max",
    "error_groups_max",
    "error_samples_max",
    "results_file_bytes_max",
    "download_seconds_max",
    "event_stream_seconds_max",
    "account_url_checks_at_once_max",
    "delivery_answer_shown_characters_max",
    "retry_after_seconds_max",
    "webhook_recovered_max",
    "webhook_secret_overlap_hours",
    "lists_per_account_max",
    "field_text_characters_max",
    "members_per_subscribe_call_max",
    "merge_fields_per_list_max",
    "merge_text_characters_max",
    "merge_choices_max",
    "merge_display_order_max",
    "tags_shown_per_member_max",
    "tag_name_characters_max",
    "tags_per_call_max",
    "language_characters_max",
    "ip_address_characters_max",
    "email_address_characters_max",
)
_VALUE_MAX = 1 << 40
_VALUES_MAX = {
    "operations_per_batch_max": 1 << 28
}  # positions that have a file name in the archive


def list_client_limits(in_force: Limits) -> dict[str, float]:
    """Return the limits that clients can see, the settable ones first."""
    varying = {field.name for field in fields(Limits)}
    return {
        name: getattr(in_force if name in varying else limits, name)
        for name in (*SETTABLE, *CONSTANT)
    }


def replace_limits(values: Mapping[str, float]) -> Limits:
    """Return the default limits with these values replaced; raises ValueError for a wrong value."""
    for name, value in values.items():
        _check(name, value)
    return replace(
        Limits(), **{name: type(getattr(Limits, name))(value) for name, value in values.items()}
    )


def _check(name: str, value: float) -> None:
    if name not in SETTABLE:
        message = f"{name} is no limit that can be set. These can: {', '.join(SETTABLE)}"
        raise ValueError(message)
    most = _VALUES_MAX.get(name, _VALUE_MAX)
    if not 0 < value <= most:
        message = f"{name} must be greater than 0 and at most {most}, not {value}"
        raise ValueError(message)
    if isinstance(getattr(Limits, name), int) and value != int(value):
        message = f"{name} must be a whole number, not {value}"
        raise ValueError(message)
