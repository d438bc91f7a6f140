"""`batchway webhooks`: who is told of finished batches, what was sent, and a receiver to try it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated

import msgspec
import typer

from batchway import limits
from batchway.cli.connection import Connection, advice
from batchway.cli.listening import (
    LISTEN_EXAMPLES,
    Webhook,
    create_webhook,
    listen_command,
    url_advice,
    webhook_path,
)
from batchway.cli.options import DEFAULT_URL, CountOption, KeyOption, OffsetOption, UrlOption
from batchway.cli.terminal import printable, say, show_rest, table, warn
from batchway.kit.clock import SECOND, Clock, Microseconds, format_iso, parse_iso, system_clock

COUNT_DEFAULT = 20
CONFLICT = 409
UNIT_SECONDS = {"m": 60, "h": 60 * 60, "d": 24 * 60 * 60, "w": 7 * 24 * 60 * 60}

LIST_EXAMPLES = "Example:\n\n  batchway webhooks list"
CREATE_EXAMPLES = """Examples:

  batchway webhooks create https://crm.example.com/batch-finished

  batchway webhooks create https://crm.example.com/batch-finished --disabled --no-signing"""
UPDATE_EXAMPLES = """Examples:

  batchway webhooks update 0f3a9c21d4 --enable

  batchway webhooks update 0f3a9c21d4 --new-url https://crm.example.com/hook --signing"""
DELETE_EXAMPLES = "Example:\n\n  batchway webhooks delete 0f3a9c21d4"
DELIVERIES_EXAMPLES = """Examples:

  batchway webhooks deliveries 0f3a9c21d4

  batchway webhooks deliveries 0f3a9c21d4 --state exhausted --count 100"""
SHOW_EXAMPLES = "Example:\n\n  batchway webhooks show 0f3a9c21d4 msg_2b7e151628aed2a6"
RESEND_EXAMPLES = "Example:\n\n  batchway webhooks resend 0f3a9c21d4 msg_2b7e151628aed2a6"
RECOVER_EXAMPLES = """Examples:

  batchway webhooks recover 0f3a9c21d4 --since 2h

  batchway webhooks recover 0f3a9c21d4 --since 2026-03-01T08:00:00Z"""
TEST_EXAMPLES = "Example:\n\n  batchway webhooks test 0f3a9c21d4"
ROTATE_EXAMPLES = """Examples:

  batchway webhooks rotate-secret 0f3a9c21d4

  batchway webhooks rotate-secret 0f3a9c21d4 --force"""

_AGO = re.compile(r"(?P<count>[0-9]{1,6})(?P<unit>[mhdw])")


class State(StrEnum):
    """How far a delivery has come."""

    PENDING = "pending"
    DELIVERED = "delivered"
    EXHAUSTED = "exhausted"


class Webhooks(msgspec.Struct, frozen=True):
    """A page of batch webhooks."""

    webhooks: list[Webhook]
    total_items: int


class Attempt(msgspec.Struct, frozen=True):
    """One request of a delivery, and what came of it."""

    number: int
    attempted_at: str
    duration_ms: int
    status_code: int | None
    reason: str = ""
    answer_start: str = ""

    @property
    def outcome(self) -> str:
        """The status code, or why there is none."""
        return self.reason if self.status_code is None else str(self.status_code)


class Delivery(msgspec.Struct, frozen=True):
    """One event for one batch webhook."""

    id: str
    type: str
    batch_id: str
    state: str
    fired_at: str
    attempt_count: int
    next_attempt_at: str
    attempts: list[Attempt] = []


class Deliveries(msgspec.Struct, frozen=True):
    """A page of deliveries, and how the webhook is."""

    deliveries: list[Delivery]
    total_items: int
    failing_since: str = ""
    disabled_reason: str = ""


class Recovered(msgspec.Struct, frozen=True):
    """How many deliveries are sent again."""

    recovered: int


IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the batch webhook.")]
DeliveryArgument = Annotated[
    str,
    typer.Argument(metavar="DELIVERY", help="Id of the delivery, as `webhooks deliveries` has it."),
]
EnabledOption = Annotated[
    bool | None,
    typer.Option(
        "--enable/--disable",
        envvar="BATCHWAY_WEBHOOK_ENABLED",
        help="Send events to it; --disable: send none, and drop those that are pending.",
        show_default="unchanged",
    ),
]
SigningOption = Annotated[
    bool | None,
    typer.Option(
        "--signing/--no-signing",
        envvar="BATCHWAY_WEBHOOK_SIGNING",
        help="Sign its events; --no-signing: do not.",
        show_default="unchanged",
    ),
]
StateOption = Annotated[
    State | None,
    typer.Option(
        envvar="BATCHWAY_DELIVERY_STATE",
        metavar="STATE",
        help="Only deliveries that are pending, delivered or exhausted.",
        show_default="all",
    ),
]


def register(app: typer.Typer) -> None:
    """Add `batchway webhooks`."""
    webhooks = typer.Typer(
        no_args_is_help=True, help="Choose who is told of finished batches; see what was sent."
    )
    webhooks.command("list", epilog=LIST_EXAMPLES)(list_command)
    webhooks.command("create", epilog=CREATE_EXAMPLES)(create_command)
    webhooks.command("update", epilog=UPDATE_EXAMPLES)(update_command)
    webhooks.command("delete", epilog=DELETE_EXAMPLES)(delete_command)
    webhooks.command("deliveries", epilog=DELIVERIES_EXAMPLES)(deliveries_command)
    webhooks.command("show", epilog=SHOW_EXAMPLES)(show_command)
    webhooks.command("resend", epilog=RESEND_EXAMPLES)(resend_command)
    webhooks.command("recover", epilog=RECOVER_EXAMPLES)(recover_command)
    webhooks.command("test", epilog=TEST_EXAMPLES)(send_test_command)
    webhooks.command("rotate-secret", epilog=ROTATE_EXAMPLES)(rotate_command)
    webhooks.command("listen", epilog=LISTEN_EXAMPLES)(listen_command)
    app.add_typer(webhooks, name="webhooks")


def list_command(
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = "",
    count: CountOption = COUNT_DEFAULT,
    offset: OffsetOption = 0,
) -> None:
    """Show the batch webhooks."""
    with Connection(url, key) as connection:
        page = connection.get("/batch-webhooks", Webhooks, {"count": count, "offset": offset})
    rows = [
        (
            each.id,
            each.url,
            "enabled" if each.enabled else "disabled",
            "signed" if each.signing_enabled else "not signed",
        )
        for each in page.webhooks
    ]
    table(("id", "url", "state", "events"), rows)
    show_rest(len(rows) + offset, page.total_items)


def create_command(
    webhook_url: Annotated[
        str, typer.Argument(metavar="URL", help="Where events are sent; must answer GET with 200.")
    ],
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = "",
    no_signing: Annotated[
        bool,
        typer.Option(
            "--no-signing", envvar="BATCHWAY_WEBHOOK_NO_SIGNING", help="Do not sign its events."
        ),
    ] = False,
    disabled: Annotated[
        bool,
        typer.Option(
            "--disabled", envvar="BATCHWAY_WEBHOOK_DISABLED", help="Send it nothing for now."
        ),
    ] = False,
) -> None:
    """Have a URL told of each finished batch."""
    with Connection(url, key) as connection, url_advice(webhook_url):
        webhook = create_webhook(
            connection, webhook_url, enabled=not disabled, signing_enabled=not no_signing
        )
    say(f"Batch webhook {webhook.id} was made: {printable(webhook.url)}")
    _show_secret(webhook)
    say(f"Try it: batchway webhooks test {webhook.id}")


def update_command(
    webhook_id: IdArgument,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = "",
    new_url: Annotated[
        str,
        typer.Option(
            envvar="BATCHWAY_WEBHOOK_NEW_URL",
            metavar="URL",
            help="Where events are sent from now on; must answer GET with 200.",
            show_default="unchanged",
        ),
    ] = "",
    enabled: EnabledOption = None,
    signing: SigningOption = None,
) -> None:
    """Change a batch webhook."""
    wanted = {"url": new_url or None, "enabled": enabled, "signing_enabled": signing}
    changes = {name: value for name, value in wanted.items() if value is not None}
    if not changes:
        message = (
            "Nothing to change: give --new-url, --enable, --disable, --signing or --no-signing."
        )
        raise typer.BadParameter(message)
    with Connection(url, key) as connection, url_advice(new_url):
        webhook = connection.patch(webhook_path(webhook_id), msgspec.json.encode(changes), Webhook)
    state = "enabled" if webhook.enabled else "disabled"
    signed = "signed" if webhook.signing_enabled else "not signed"
    say(f"Batch webhook {webhook.id} is {state}, its events are {signed}: {printable(webhook.url)}")
    _show_secret(webhook)


def delete_command(
    webhook_id: IdArgument, url: UrlOption = DEFAULT_URL, key: KeyOption = ""
) -> None:
    """Delete a batch webhook, with its log and what is pending."""
    with Connection(url, key) as connection:
        connection.delete(webhook_path(webhook_id))
    say(f"Batch webhook {printable(webhook_id)} was deleted.")


def deliveries_command(
    webhook_id: IdArgument,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = "",
    state: StateOption = None,
    count: CountOption = COUNT_DEFAULT,
    offset: OffsetOption = 0,
) -> None:
    """Show what was sent to a batch webhook, the newest first, and why it is disabled if it is."""
    params: dict[str, str | int] = {"count": count, "offset": offset}
    if state is not None:
        params["state"] = state.value
    with Connection(url, key) as connection:
        page = connection.get(f"{webhook_path(webhook_id)}/deliveries", Deliveries, params)
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
    table(columns, map(_row, page.deliveries))
    show_rest(len(page.deliveries) + offset, page.total_items)
    if page.disabled_reason:
        warn(
            f"The webhook was disabled: {page.disabled_reason}\n"
            f"Enable it again: batchway webhooks update {printable(webhook_id)} --enable"
        )
    elif page.failing_since:
        warn(f"Nothing has been delivered since {page.failing_since}")


def show_command(
    webhook_id: IdArgument,
    delivery_id: DeliveryArgument,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = "",
) -> None:
    """Show a delivery with all its attempts."""
    with Connection(url, key) as connection:
        found = connection.get(webhook_path(webhook_id, delivery_id), Delivery)
    say(f"Delivery {found.id} is {found.state}: {found.type}, fired at {found.fired_at}")
    if found.batch_id:
        say(f"Batch: {found.batch_id}")
    if found.next_attempt_at:
        say(f"Next attempt at {found.next_attempt_at}")
    rows = [
        (each.number, each.attempted_at, each.duration_ms, each.outcome, each.answer_start)
        for each in found.attempts
    ]
    if rows:
        table(("attempt", "attempted at", "milliseconds", "answer", "it began with"), rows)


def resend_command(
    webhook_id: IdArgument,
    delivery_id: DeliveryArgument,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = "",
) -> None:
    """Send an event once more, under the same id."""
    with Connection(url, key) as connection, _enabling_advice(webhook_id):
        path = f"{webhook_path(webhook_id, delivery_id)}/actions/resend"
        _show_pending(webhook_id, connection.post(path, b"", Delivery))


def recover_command(
    webhook_id: IdArgument,
    since: Annotated[
        str,
        typer.Option(
            envvar="BATCHWAY_SINCE",
            metavar="WHEN",
            help="A date and time (ISO 8601, UTC if it has no zone), or how long ago: 30m, 2h, 3d.",
        ),
    ],
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = "",
) -> None:
    """Send all events again that have been given up since a moment."""
    moment = parse_since(since)
    body = msgspec.json.encode({"since": format_iso(moment)})
    total = count = 0
    with Connection(url, key) as connection, _enabling_advice(webhook_id):
        while not total or count >= limits.webhook_recovered_max:
            path = f"{webhook_path(webhook_id)}/actions/recover"
            count = connection.post(path, body, Recovered).recovered
            total += count
            if not count:
                break
    say(f"{total} events since {format_iso(moment)} are sent again.")


def send_test_command(
    webhook_id: IdArgument, url: UrlOption = DEFAULT_URL, key: KeyOption = ""
) -> None:
    """Send a test event."""
    with Connection(url, key) as connection, _enabling_advice(webhook_id):
        path = f"{webhook_path(webhook_id)}/actions/test"
        _show_pending(webhook_id, connection.post(path, b"", Delivery))


def rotate_command(
    webhook_id: IdArgument,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = "",
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            envvar="BATCHWAY_WEBHOOK_FORCE",
            help="Rotate once more within the 24 hours; the secret before then signs no more.",
        ),
    ] = False,
) -> None:
    """Make a new signing secret; for 24 hours the old one goes on signing beside it."""
    params = {"force": "true"} if force else None
    next_step = "If nobody needs the older secret: the same command with --force"
    with Connection(url, key) as connection, advice({CONFLICT: next_step}):
        path = f"{webhook_path(webhook_id)}/actions/rotate-secret"
        _show_secret(connection.post(path, b"", Webhook, params=params))


def parse_since(text: str, clock: Clock = system_clock) -> Microseconds:
    """The moment that an ISO 8601 text names, or that is so long ago: `30m`, `2h`, `3d`, `1w`."""
    if found := _AGO.fullmatch(text.strip()):
        return clock() - int(found["count"]) * UNIT_SECONDS[found["unit"]] * SECOND
    moment = parse_iso(text)
    if moment is None:
        message = "must be a date and time such as 2026-03-01T08:00:00Z, or like 30m, 2h, 3d"
        raise typer.BadParameter(message, param_hint="--since")
    return moment


@contextmanager
def _enabling_advice(webhook_id: str) -> Iterator[None]:
    name = printable(webhook_id)
    next_step = (
        f"See how it is: batchway webhooks deliveries {name}\n"
        f"If it is disabled: batchway webhooks update {name} --enable"
    )
    with advice({CONFLICT: next_step}):
        yield


def _show_secret(webhook: Webhook) -> None:
    if webhook.signing_secret:
        say(f"Signing secret: {webhook.signing_secret}   (shown this once: keep it)")


def _show_pending(webhook_id: str, delivery: Delivery) -> None:
    say(f"Event {delivery.id} is on its way.")
    say(f"See what came of it: batchway webhooks show {printable(webhook_id)} {delivery.id}")


def _row(delivery: Delivery) -> tuple[object, ...]:
    return (
        delivery.id,
        delivery.type,
        delivery.batch_id,
        delivery.state,
        delivery.fired_at,
        delivery.attempt_count,
        delivery.attempts[-1].outcome if delivery.attempts else "",
        delivery.next_attempt_at,
    )
