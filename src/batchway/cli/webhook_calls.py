"""The paths, calls and advice that the commands on batch webhooks share."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from urllib.parse import urlsplit

import msgspec

from batchway.cli.connection import Connection, quote_segment
from batchway.cli.refusals import Refusal, advise
from batchway.cli.terminal import printable
from batchway.surfaces.mailchimp.bodies.batch_webhooks import BatchWebhookBody, NewBatchWebhook


def build_webhook_path(webhook_id: str, delivery_id: str | None = None) -> str:
    """Return the path of a batch webhook, or of one of its deliveries."""
    path = f"/batch-webhooks/{quote_segment(webhook_id)}"
    return path if delivery_id is None else f"{path}/deliveries/{quote_segment(delivery_id)}"


def create_webhook(connection: Connection, wanted: NewBatchWebhook) -> BatchWebhookBody:
    """Create a batch webhook."""
    return connection.post("/batch-webhooks", msgspec.json.encode(wanted), BatchWebhookBody)


@contextmanager
def advise_on_url(webhook_url: str) -> Iterator[None]:
    """Within the block, say what to do if the server refuses the URL."""
    try:
        yield
    except Refusal as refusal:
        if "url" in refusal.fields:
            refusal.next_step = _explain_url(webhook_url)
        elif refusal.status_code == HTTPStatus.BAD_REQUEST:
            refusal.next_step = "List the batch webhooks with: batchway webhooks list"
        raise


@contextmanager
def advise_on_enabling(webhook_id: str) -> Iterator[None]:
    """Within the block, say what to do if the server does not send because of a conflict."""
    name = printable(webhook_id)
    next_step = (
        f"See its state: batchway webhooks deliveries {name}\n"
        f"If it is disabled: batchway webhooks update {name} --enable"
    )
    with advise({HTTPStatus.CONFLICT: next_step}):
        yield


def find_private_networks(url: str) -> str:
    """Return the networks that a server must be allowed to call for this URL; empty if none."""
    try:
        host = urlsplit(url).hostname or ""
        if host == "localhost" or host.endswith(".localhost"):
            return "127.0.0.0/8,::1/128"
        address = ipaddress.ip_address(host)
    except ValueError:  # not an IP address: only the server knows where a name leads
        return ""
    if address.is_global:
        return ""
    if isinstance(address, ipaddress.IPv4Address) and address.is_loopback:
        return "127.0.0.0/8"
    return f"{address}/{address.max_prefixlen}"


def _explain_url(webhook_url: str) -> str:
    networks = find_private_networks(webhook_url)
    text = "The server must be able to reach the URL, and the URL must answer GET with 200."
    if not networks:
        return text
    return (
        f"{text}\nThe server calls addresses of private networks only if it was started with the "
        f"setting BATCHWAY_EGRESS_ALLOW={networks}"
    )
