"""`batchway webhooks`: the batch webhooks of the account."""

from typing import Annotated

import msgspec
import typer

from batchway.cli import deliveries, listen
from batchway.cli.connection import Connection
from batchway.cli.options import (
    COUNT_DEFAULT,
    DEFAULT_URL,
    CountOption,
    KeyOption,
    OffsetOption,
    UrlOption,
    WebhookArgument,
)
from batchway.cli.refusals import advice
from batchway.cli.terminal import print_page, print_text, printable
from batchway.cli.webhook_calls import CONFLICT, create_webhook, url_advice, webhook_path
from batchway.surfaces.mailchimp.bodies.batch_webhooks import (
    BatchWebhookBody,
    BatchWebhookChanges,
    BatchWebhookList,
    NewBatchWebhook,
)

LIST_EXAMPLES = "Example:\n\n  batchway webhooks list"
CREATE_EXAMPLES = """Examples:

  batchway webhooks create https://crm.example.com/batch-finished

  batchway webhooks create https://crm.example.com/batch-finished --disabled --no-signing"""
UPDATE_EXAMPLES = """Examples:

  batchway webhooks update 0f3a9c21d4 --enable

  batchway webhooks update 0f3a9c21d4 --new-url https://crm.example.com/hook --signing"""
DELETE_EXAMPLES = "Example:\n\n  batchway webhooks delete 0f3a9c21d4"
ROTATE_EXAMPLES = """Examples:

  batchway webhooks rotate-secret 0f3a9c21d4

  batchway webhooks rotate-secret 0f3a9c21d4 --force"""

EnabledOption = Annotated[
    bool | None,
    typer.Option(
        "--enable/--disable",
        envvar="BATCHWAY_WEBHOOK_ENABLED",
        help="Send events to it; with --disable, send none and drop the pending ones.",
        show_default="unchanged",
    ),
]
SigningOption = Annotated[
    bool | None,
    typer.Option(
        "--signing/--no-signing",
        envvar="BATCHWAY_WEBHOOK_SIGNING",
        help="Sign its events; with --no-signing, do not sign them.",
        show_default="unchanged",
    ),
]


def register(app: typer.Typer) -> None:
    """Add `batchway webhooks`."""
    webhooks = typer.Typer(
        no_args_is_help=True, help="Manage batch webhooks, and see what was sent to them."
    )
    webhooks.command("list", epilog=LIST_EXAMPLES)(list_command)
    webhooks.command("create", epilog=CREATE_EXAMPLES)(create_command)
    webhooks.command("update", epilog=UPDATE_EXAMPLES)(update_command)
    webhooks.command("delete", epilog=DELETE_EXAMPLES)(delete_command)
    deliveries.register(webhooks)
    webhooks.command("rotate-secret", epilog=ROTATE_EXAMPLES)(rotate_command)
    listen.register(webhooks)
    app.add_typer(webhooks, name="webhooks")


def list_command(
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = "",
    count: CountOption = COUNT_DEFAULT,
    offset: OffsetOption = 0,
) -> None:
    """List the batch webhooks of the account."""
    with Connection(url, key) as connection:
        page = connection.get(
            "/batch-webhooks", BatchWebhookList, {"count": count, "offset": offset}
        )
    rows = [
        (
            each.id,
            each.url,
            _format_state(each),
            _format_signing(each),
        )
        for each in page.webhooks
    ]
    print_page(("id", "url", "state", "events"), rows, offset, page.total_items)


def create_command(
    webhook_url: Annotated[
        str,
        typer.Argument(
            metavar="URL", help="URL that events are sent to. It must answer GET with 200."
        ),
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
            "--disabled",
            envvar="BATCHWAY_WEBHOOK_DISABLED",
            help="Create it disabled: no events are sent until it is enabled.",
        ),
    ] = False,
) -> None:
    """Send a webhook to a URL when a batch finishes."""
    with Connection(url, key) as connection, url_advice(webhook_url):
        wanted = NewBatchWebhook(webhook_url, not disabled, not no_signing)
        webhook = create_webhook(connection, wanted)
    print_text(f"Batch webhook {webhook.id} was created: {printable(webhook.url)}")
    _print_secret(webhook)
    print_text(f"Send a test event: batchway webhooks test {webhook.id}")


def update_command(
    webhook_id: WebhookArgument,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = "",
    new_url: Annotated[
        str,
        typer.Option(
            envvar="BATCHWAY_WEBHOOK_NEW_URL",
            metavar="URL",
            help="New URL that events are sent to. It must answer GET with 200.",
            show_default="unchanged",
        ),
    ] = "",
    enabled: EnabledOption = None,
    signing: SigningOption = None,
) -> None:
    """Change a batch webhook."""
    changes = BatchWebhookChanges(
        url=new_url or msgspec.UNSET,
        enabled=msgspec.UNSET if enabled is None else enabled,
        signing_enabled=msgspec.UNSET if signing is None else signing,
    )
    if changes == BatchWebhookChanges():
        message = (
            "Nothing to change. Use --new-url, --enable, --disable, --signing or --no-signing."
        )
        raise typer.BadParameter(message)
    with Connection(url, key) as connection, url_advice(new_url):
        webhook = connection.patch(
            webhook_path(webhook_id), msgspec.json.encode(changes), BatchWebhookBody
        )
    print_text(
        f"Batch webhook {webhook.id} is {_format_state(webhook)}, "
        f"its events are {_format_signing(webhook)}: {printable(webhook.url)}"
    )
    _print_secret(webhook)


def delete_command(
    webhook_id: WebhookArgument, url: UrlOption = DEFAULT_URL, key: KeyOption = ""
) -> None:
    """Delete a batch webhook, with its deliveries."""
    with Connection(url, key) as connection:
        connection.delete(webhook_path(webhook_id))
    print_text(f"Batch webhook {printable(webhook_id)} was deleted.")


def rotate_command(
    webhook_id: WebhookArgument,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = "",
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            envvar="BATCHWAY_WEBHOOK_FORCE",
            help="Rotate again within the 24 hours; the older of the two secrets stops signing.",
        ),
    ] = False,
) -> None:
    """Create a new signing secret. For 24 hours, events are signed with the old one as well."""
    params = {"force": "true"} if force else None
    next_step = "If no receiver needs the older secret, run the command again with --force"
    with Connection(url, key) as connection, advice({CONFLICT: next_step}):
        path = f"{webhook_path(webhook_id)}/actions/rotate-secret"
        _print_secret(connection.post(path, b"", BatchWebhookBody, params=params))


def _print_secret(webhook: BatchWebhookBody) -> None:
    if webhook.signing_secret:
        print_text(f"Signing secret: {webhook.signing_secret}   (shown only this once, so keep it)")


def _format_state(webhook: BatchWebhookBody) -> str:
    return "enabled" if webhook.enabled else "disabled"


def _format_signing(webhook: BatchWebhookBody) -> str:
    return "signed" if webhook.signing_enabled else "not signed"
