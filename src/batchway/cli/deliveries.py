"""`batchway webhooks deliveries`, `show`, `resend`, `recover` and `test`: deliveries of events."""

import re
from typing import Annotated

import msgspec
import typer

from batchway import limits
from batchway.cli.commands import add_command
from batchway.cli.options import PageOptions, ServerOptions, WebhookArgument
from batchway.cli.terminal import print_note, print_page, print_table, print_text, printable
from batchway.cli.webhook_calls import advise_on_enabling, build_webhook_path
from batchway.kit.clock import SECOND, Clock, Microseconds, format_iso, parse_iso, system_clock
from batchway.model.webhook import DeliveryState
from batchway.surfaces.mailchimp.bodies.batch_webhooks import (
    AttemptBody,
    DeliveryBody,
    DeliveryList,
    Recovered,
    Since,
)

UNIT_SECONDS = {"m": 60, "h": 60 * 60, "d": 24 * 60 * 60, "w": 7 * 24 * 60 * 60}


_AGO = re.compile(r"(?P<count>[0-9]{1,6})(?P<unit>[mhdw])")

DeliveryArgument = Annotated[
    str,
    typer.Argument(
        metavar="DELIVERY", help="Id of the delivery, from `batchway webhooks deliveries`."
    ),
]
StateOption = Annotated[
    DeliveryState | None,
    typer.Option(
        envvar="BATCHWAY_DELIVERY_STATE",
        metavar="STATE",
        help="Only deliveries that are pending, delivered or exhausted.",
        show_default="all",
    ),
]


def register(webhooks: typer.Typer) -> None:
    """Add the commands to those of `batchway webhooks`."""
    add_command(
        webhooks,
        "deliveries",
        deliveries_command,
        "batchway webhooks deliveries 0f3a9c21d4",
        "batchway webhooks deliveries 0f3a9c21d4 --state exhausted --count 100",
    )
    add_command(
        webhooks,
        "show",
        show_command,
        "batchway webhooks show 0f3a9c21d4 msg_2b7e151628aed2a6",
    )
    add_command(
        webhooks,
        "resend",
        resend_command,
        "batchway webhooks resend 0f3a9c21d4 msg_2b7e151628aed2a6",
    )
    add_command(
        webhooks,
        "recover",
        recover_command,
        "batchway webhooks recover 0f3a9c21d4 --since 2h",
        "batchway webhooks recover 0f3a9c21d4 --since 2026-03-01T08:00:00Z",
    )
    add_command(webhooks, "test", send_test_command, "batchway webhooks test 0f3a9c21d4")


def deliveries_command(
    *,
    webhook_id: WebhookArgument,
    server: ServerOptions,
    state: StateOption = None,
    page: PageOptions,
) -> None:
    """List the deliveries to a batch webhook, newest first, and say why it is disabled if it is."""
    params = {**page.params, **({} if state is None else {"state": state.value})}
    path = f"{build_webhook_path(webhook_id)}/deliveries"
    with server.connect() as connection:
        found = connection.get(path, DeliveryList, params)
    columns = (
        "id",
        "type",
        "batch",
        "state",
        "fired at",
        "attempts",
        "last answer",
        "next attempt",
    )
    print_page(columns, map(_build_row, found.deliveries), page.offset, found.total_items)
    if found.disabled_reason:
        print_note(
            f"The webhook was disabled: {found.disabled_reason}\n"
            f"Enable it again: batchway webhooks update {printable(webhook_id)} --enable"
        )
    elif found.failing_since:
        print_note(f"Nothing has been delivered since {found.failing_since}")


def show_command(
    webhook_id: WebhookArgument, delivery_id: DeliveryArgument, server: ServerOptions
) -> None:
    """Show a delivery with all its attempts."""
    with server.connect() as connection:
        found = connection.get(build_webhook_path(webhook_id, delivery_id), DeliveryBody)
    print_text(f"Delivery {found.id} is {found.state}: {found.type}, fired at {found.fired_at}")
    if found.batch_id:
        print_text(f"Batch: {found.batch_id}")
    if found.next_attempt_at:
        print_text(f"Next attempt at {found.next_attempt_at}")
    rows = [
        (each.number, each.attempted_at, each.duration_ms, _format_outcome(each), each.answer_start)
        for each in found.attempts
    ]
    if rows:
        print_table(
            ("attempt", "attempted at", "milliseconds", "answer", "beginning of the answer"), rows
        )


def resend_command(
    webhook_id: WebhookArgument, delivery_id: DeliveryArgument, server: ServerOptions
) -> None:
    """Send an event again, with the same id."""
    _send_event(server, webhook_id, f"{build_webhook_path(webhook_id, delivery_id)}/actions/resend")


def recover_command(
    webhook_id: WebhookArgument,
    since: Annotated[
        str,
        typer.Option(
            envvar="BATCHWAY_SINCE",
            metavar="WHEN",
            help="A date and time (ISO 8601, UTC without a zone), or how long ago: 30m, 2h, 3d.",
        ),
    ],
    server: ServerOptions,
) -> None:
    """Send all events again whose delivery was given up since a moment."""
    moment = parse_since(since)
    body = msgspec.json.encode(Since(format_iso(moment)))
    total = count = 0
    path = f"{build_webhook_path(webhook_id)}/actions/recover"
    with server.connect() as connection, advise_on_enabling(webhook_id):
        while not total or count >= limits.webhook_recovered_max:
            count = connection.post(path, body, Recovered).recovered
            total += count
            if not count:
                break
    print_text(f"{total} events since {format_iso(moment)} will be sent again.")


def send_test_command(webhook_id: WebhookArgument, server: ServerOptions) -> None:
    """Send a test event."""
    _send_event(server, webhook_id, f"{build_webhook_path(webhook_id)}/actions/test")


def parse_since(text: str, clock: Clock = system_clock) -> Microseconds:
    """Parse a moment in ISO 8601, or how long ago it was, such as `30m`, `2h`, `3d` or `1w`."""
    if found := _AGO.fullmatch(text.strip()):
        return clock() - int(found["count"]) * UNIT_SECONDS[found["unit"]] * SECOND
    moment = parse_iso(text)
    if moment is None:
        message = "must be a date and time such as 2026-03-01T08:00:00Z, or like 30m, 2h, 3d"
        raise typer.BadParameter(message, param_hint="--since")
    return moment


def _send_event(server: ServerOptions, webhook_id: str, path: str) -> None:
    """POST to the path of an action that sends one event, and say how to see the result."""
    with server.connect() as connection, advise_on_enabling(webhook_id):
        delivery = connection.post(path, b"", DeliveryBody)
    print_text(f"Event {delivery.id} will be sent.")
    print_text(f"See the result: batchway webhooks show {printable(webhook_id)} {delivery.id}")


def _build_row(delivery: DeliveryBody) -> tuple[object, ...]:
    return (
        delivery.id,
        delivery.type,
        delivery.batch_id,
        delivery.state,
        delivery.fired_at,
        delivery.attempt_count,
        _format_outcome(delivery.attempts[-1]) if delivery.attempts else "",
        delivery.next_attempt_at,
    )


def _format_outcome(attempt: AttemptBody) -> str:
    """Return the status code of the answer or, if there was none, the reason."""
    return attempt.reason if attempt.status_code is None else str(attempt.status_code)
