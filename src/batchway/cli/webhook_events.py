"""Formats the events of batch webhooks as text, and verifies their signatures."""

from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl

from batchway.cli.terminal import printable
from batchway.cli.webhook_receiver import Event
from batchway.kit.clock import SECOND, format_plain
from batchway.kit.webhook_signatures import verify

FIELDS_MAX = 1_000


def format_event(event: Event, secret: str) -> str:
    """Format an event as lines of text, which also say whether it was signed with the secret."""
    now_seconds = event.received_at / SECOND
    is_genuine = bool(secret) and verify(secret, event.headers, event.body, now_seconds)
    signature = "signature verified" if is_genuine else "SIGNATURE WRONG"
    name = printable(event.headers.get("webhook-id", "without an id"))
    head = f"{format_plain(event.received_at)} UTC  event {name}  {signature}"
    fields = _parse_form(event.body)
    if "type" not in fields:
        return f"{head}\n  {len(event.body)} bytes that are not an event of a batch"
    shown = {key: printable(value) for key, value in fields.items()}
    return "\n".join([head, *(f"  {line}" for line in _format_fields(shown))])


def _format_fields(fields: Mapping[str, str]) -> Iterator[str]:
    def get_data(name: str) -> str:
        return fields.get(f"data[{name}]", "")

    yield f"{fields['type']}, fired at {fields.get('fired_at', '')} UTC"
    yield (
        f"batch {get_data('id')} {get_data('status')}: {get_data('finished_operations')} of "
        f"{get_data('total_operations')} operations, {get_data('errored_operations')} errored"
    )
    if get_data("response_body_url"):
        yield get_data("response_body_url")


def _parse_form(body: bytes) -> dict[str, str]:
    """Return the fields of a form. There are none if the body is not a form."""
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict"
        )
    except ValueError:  # not UTF-8, or too many fields
        return {}
    return dict(pairs)
