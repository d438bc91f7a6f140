"""`batchway webhooks`: the batch webhooks of the account."""

from http import HTTPStatus
from typing import Annotated

import msgspec
import typer

from batchway.cli import deliveries, listen
from batchway.cli.commands import add_command
from batchway.cli.options import PageOptions, ServerOptions, WebhookArgument
from batchway.cli.refusals import advise
from batchway.cli.terminal import print_page, print_text, printable
from batchway.cli.webhook_calls import advise_on_url, build_webhook_path, create_webhook
from batchway.surfaces.mailchimp.bodies.batch_webhooks import (
    BatchWebhookBody,
    BatchWebhookChanges,
    BatchWebhookList,
    NewBatchWebhook,
)

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
    add_command(webhooks, "list", list_command, "batchway webhooks list")
    add_command(
        webhooks,
        "create",
        create_command,
        "batchway webhooks create https://crm.example.com/batch-finished",
        "batchway webhooks create https://crm.example.com/batch-finished --disabled --no-signing",
    )
    add_command(
        webhooks,
        "update",
        update_command,
        "batchway webhooks update 0f3a9c21d4 --enable",
        "batchway webhooks update 0f3a9c21d4 --new-url https://crm.example.com/hook --signing",
    )
    add_command(webhooks, "delete", delete_command, "batchway webhooks delete 0f3a9c21d4")
    deliveries.register(webhooks)
    add_command(
        webhooks,
        "rotate-secret",
        rotate_command,
        "batchway webhooks rotate-secret 0f3a9c21d4",
        "batchway webhooks rotate-secret 0f3a9c21d4 --force",
    )
    listen.register(webhooks)
    app.add_typer(webhooks, name="webhooks")


def list_command(server: ServerOptions, page: PageOptions) -> None:
    """List the batch webhooks of the account."""
    with server.connect() as connection:
        found = connection.get("/batch-webhooks", BatchWebhookList, page.params)
    rows = [
        (each.id, each.url, _format_state(each), _format_signing(each)) for each in found.webhooks
    ]
    print_page(("id", "url", "state", "events"), rows, page.offset, found.total_items)


def create_command(
    webhook_url: Annotated[
        str,
        typer.Argument(
            metavar="URL", help="URL that events are sent to. It must answer GET with 200."
        ),
    ],
    server: ServerOptions,
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
    with server.connect() as connection, advise_on_url(webhook_url):
        wanted = NewBatchWebhook(webhook_url, not disabled, not no_signing)
        webhook = create_webhook(connection, wanted)
    print_text(f"Batch webhook {webhook.id} was created: {printable(webhook.url)}")
    _print_secret(webhook)
    print_text(f"Send a test event: batchway webhooks test {webhook.id}")


def update_command(
    webhook_id: WebhookArgument,
    server: ServerOptions,
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
    with server.connect() as connection, advise_on_url(new_url):
        webhook = connection.patch(
            build_webhook_path(webhook_id), msgspec.json.encode(changes), BatchWebhookBody
        )
    print_text(
        f"Batch webhook {webhook.id} is {_format_state(webhook)}, "
        f"its events are {_format_signing(webhook)}: {printable(webhook.url)}"
    )
    _print_secret(webhook)


def delete_command(webhook_id: WebhookArgument, server: ServerOptions) -> None:
    """Delete a batch webhook, with its deliveries."""
    with server.connect() as connection:
        connection.delete(build_webhook_path(webhook_id))
    print_text(f"Batch webhook {printable(webhook_id)} was deleted.")


def rotate_command(
    webhook_id: WebhookArgument,
    server: ServerOptions,
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
    with server.connect() as connection, advise({HTTPStatus.CONFLICT: next_step}):
        path = f"{build_webhook_path(webhook_id)}/actions/rotate-secret"
        _print_secret(connection.post(path, b"", BatchWebhookBody, params=params))


def _print_secret(webhook: BatchWebhookBody) -> None:
    if webhook.signing_secret:
        print_text(f"Signing secret: {webhook.signing_secret}   (shown only this once, so keep it)")


def _format_state(webhook: BatchWebhookBody) -> str:
    return "enabled" if webhook.enabled else "disabled"


def _format_signing(webhook: BatchWebhookBody) -> str:
    return "signed" if webhook.signing_enabled else "not signed"
