"""`batchway webhooks listen`: receive the events of a temporary batch webhook on this machine."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from types import FrameType
from typing import Annotated

import typer

from batchway.cli.commands import add_command
from batchway.cli.connection import FIRST_WAITS_SECONDS, Connection
from batchway.cli.options import ServerOptions
from batchway.cli.refusals import Refusal
from batchway.cli.terminal import CommandError, print_text, printable
from batchway.cli.webhook_calls import advise_on_url, build_webhook_path, create_webhook
from batchway.cli.webhook_events import format_event
from batchway.cli.webhook_receiver import Receiver
from batchway.surfaces.mailchimp.bodies.batch_webhooks import BatchWebhookBody, NewBatchWebhook

_ANY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104 - they are refused


def register(webhooks: typer.Typer) -> None:
    """Add `batchway webhooks listen`."""
    add_command(
        webhooks,
        "listen",
        listen_command,
        "batchway webhooks listen",
        "batchway webhooks listen --port 9000 --public-url https://tunnel.example.com/",
    )


def listen_command(
    server: ServerOptions,
    port: Annotated[
        int,
        typer.Option(
            envvar="BATCHWAY_LISTEN_PORT",
            min=0,
            max=65535,
            help="Port to listen on; 0 takes a free one.",
        ),
    ] = 0,
    host: Annotated[
        str, typer.Option(envvar="BATCHWAY_LISTEN_HOST", help="Address to listen on.")
    ] = "127.0.0.1",
    public_url: Annotated[
        str,
        typer.Option(
            envvar="BATCHWAY_LISTEN_PUBLIC_URL",
            metavar="URL",
            help="URL under which the server reaches this machine, if it is another one.",
        ),
    ] = "",
) -> None:
    """Receive events on this machine and print them, until Ctrl-C.

    The command creates a batch webhook for itself, and deletes it at the end.
    """
    if host in _ANY_ADDRESS and not public_url:
        message = f"is required: the server cannot send events to the address {host!r}"
        raise typer.BadParameter(message, param_hint="--public-url")
    with (
        server.connect() as connection,
        Receiver(host, port) as receiver,
        end_on_signals(receiver.end),
    ):
        with create_temporary_webhook(connection, receiver.url, public_url) as webhook:
            where = printable(public_url or receiver.url)
            print_text(f"Batch webhook {webhook.id} listens at {where} until Ctrl-C.")
            secret = webhook.signing_secret or ""
            for event in receiver.receive_events():
                print_text(format_event(event, secret))
        print_text(f"Batch webhook {webhook.id} was deleted.")


@contextmanager
def create_temporary_webhook(
    connection: Connection, own_url: str, public_url: str
) -> Iterator[BatchWebhookBody]:
    """Create a batch webhook, and delete it at the end of the block."""
    webhook_url = public_url or own_url
    try:
        with advise_on_url(webhook_url):
            webhook = create_webhook(connection, NewBatchWebhook(webhook_url))
    except Refusal as refusal:
        if "url" in refusal.fields:
            refusal.next_step += _explain_own_url(own_url, public_url)
        raise
    try:
        yield webhook
    finally:
        _delete_webhook(connection, webhook.id)


def _explain_own_url(own_url: str, public_url: str) -> str:
    if public_url:
        return f"\nThe URL must lead to {own_url} on this machine."
    return "\nIf the server runs on another machine, give it a URL of this one with --public-url."


def _delete_webhook(connection: Connection, webhook_id: str) -> None:
    try:
        connection.delete(build_webhook_path(webhook_id), waits=FIRST_WAITS_SECONDS)
    except (CommandError, KeyboardInterrupt) as error:
        if isinstance(error, Refusal) and error.status_code == HTTPStatus.NOT_FOUND:
            return  # the webhook has been deleted already
        message = f"Batch webhook {webhook_id} may still exist. {error}"
        next_step = f"Delete it: batchway webhooks delete {webhook_id}"
        raise CommandError(message, next_step) from None


@contextmanager
def end_on_signals(end: Callable[[], None]) -> Iterator[None]:
    """Within the block, the first Ctrl-C, SIGTERM or SIGHUP calls `end`.

    The current work is completed. A second signal raises KeyboardInterrupt.
    """
    is_ending = False

    def handle_signal(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_ending
        if is_ending:
            raise KeyboardInterrupt
        is_ending = True
        end()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # `nohup` ignores it on purpose
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
