"""`/batch-webhooks`: creates, shows, changes and deletes batch webhooks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec
from sqlalchemy import Connection

from batchway import limits
from batchway.contract.description import ON_ONE, ON_PAGE, CallDescription, Parameter
from batchway.contract.links import Links
from batchway.contract.paging import parse_page
from batchway.contract.problems import api_key_invalid, bad_request, conflict, not_found
from batchway.contract.request import Request
from batchway.contract.response import NO_CONTENT, Response
from batchway.contract.validation import decode
from batchway.kit import webhook_signatures
from batchway.kit.clock import SECOND, format_iso
from batchway.kit.sealing import Sealer
from batchway.lifecycle.deliver import SECRET_PURPOSE
from batchway.lifecycle.parts import Parts
from batchway.model.account import Identity
from batchway.model.webhook import BatchWebhook
from batchway.store import accounts, batch_webhooks, deliveries
from batchway.surfaces.mailchimp.bodies.batch_webhooks import (
    BatchWebhookBody,
    BatchWebhookChanges,
    BatchWebhookList,
    NewBatchWebhook,
)
from batchway.surfaces.mailchimp.route import Route
from batchway.surfaces.mailchimp.webhook_url_checks import WebhookUrlChecks, check_form

T = TypeVar("T")

TAG = "Batch webhooks"
_ONE = "/batch-webhooks/{batch_webhook_id}"
_OVERLAP = (
    "The secret before this one goes on signing until {until}, and would not any more. Rotate "
    "after that, or with force=true."
)

_LIST = CallDescription(
    "The account's batch webhooks, oldest first.", query=ON_PAGE, reply=BatchWebhookList, tag=TAG
)
_CREATE = CallDescription(
    "Add a batch webhook: its URL gets an event when a batch finishes.",
    body=NewBatchWebhook,
    reply=BatchWebhookBody,
    notes="The URL must answer a GET with 2xx. `signing_secret` is shown only in this reply. The "
    "webhook is deleted together with the API key that created it.",
    body_example={"url": "https://example.com/batch-finished"},
    tag=TAG,
)
_GET = CallDescription("One batch webhook.", query=ON_ONE, reply=BatchWebhookBody, tag=TAG)
_UPDATE = CallDescription(
    "Change a batch webhook. If it is disabled, its pending deliveries are deleted.",
    body=BatchWebhookChanges,
    is_body_partial=True,
    reply=BatchWebhookBody,
    body_example={"enabled": False},
    tag=TAG,
)
_DELETE = CallDescription("Delete a batch webhook with its log.", tag=TAG)
_ROTATE = CallDescription(
    "Make a new signing secret. Events are also signed with the old one for a day.",
    query=(
        Parameter(
            name="force",
            description="Rotate even if an older secret still signs; that one then signs no more.",
            kind="boolean",
        ),
    ),
    reply=BatchWebhookBody,
    errors=(409,),
    notes="An extension. `signing_secret` is shown only in this reply. Without `force`, the answer "
    "is 409 while the old secret of the last rotation still signs.",
    tag=TAG,
)

_new = msgspec.json.Decoder(NewBatchWebhook)
_changes = msgspec.json.Decoder(BatchWebhookChanges)


@dataclass(frozen=True)
class BatchWebhookCalls:
    """Answers the calls on batch webhooks."""

    parts: Parts
    url_checks: WebhookUrlChecks
    sealer: Sealer

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of these calls."""
        return (
            Route("GET", "/batch-webhooks", self.list, _LIST),
            Route("POST", "/batch-webhooks", self.create, _CREATE),
            Route("GET", _ONE, self.get, _GET),
            Route("PATCH", _ONE, self.update, _UPDATE),
            Route("DELETE", _ONE, self.delete, _DELETE),
            Route("POST", f"{_ONE}/actions/rotate-secret", self.rotate_secret, _ROTATE),
        )

    def list(self, request: Request, identity: Identity, links: Links) -> Response:
        """Answer with the webhooks of the account, the oldest first."""
        wanted = parse_page(request.params)
        account_id = identity.account.id
        with self.parts.database.read() as connection:
            total = batch_webhooks.count(connection, account_id)
            found = batch_webhooks.find_page(connection, account_id, wanted.count, wanted.offset)
        return Response(
            200,
            BatchWebhookList(
                [build_webhook_body(webhook, links) for webhook in found],
                total,
                links.build_collection_links("BatchWebhooks", "/", "/batch-webhooks", create=True),
            ),
        )

    def create(self, request: Request, identity: Identity, links: Links) -> Response:
        """Create a webhook, whose URL must answer a GET."""
        given = decode(_new, request.body)
        account_id = identity.account.id
        check_form(given.url)
        with self.parts.database.read() as connection:
            self._check_room(connection, account_id)  # before the URL is called
        self.url_checks.check(account_id, given.url)
        secret = webhook_signatures.new_secret() if given.signing_enabled else None
        with self.parts.database.write() as connection:
            key_id = identity.api_key_id
            if accounts.is_key_revoked(connection, account_id, key_id, locked=True):
                raise api_key_invalid()  # it was revoked meanwhile, and its webhooks were deleted
            accounts.lock(connection, account_id)
            self._check_room(connection, account_id)
            webhook = batch_webhooks.insert(
                connection,
                account_id=account_id,
                api_key_id=key_id,
                url=given.url,
                enabled=given.enabled,
                signing_enabled=given.signing_enabled,
                secret=self._seal_secret(secret),
                now=self.parts.clock(),
            )
        return Response(200, build_webhook_body(webhook, links, secret))

    def get(self, request: Request, identity: Identity, links: Links) -> Response:
        """Answer with one webhook."""
        with self.parts.database.read() as connection:
            webhook = find_webhook(connection, request, identity)
        return Response(200, build_webhook_body(webhook, links))

    def update(self, request: Request, identity: Identity, links: Links) -> Response:
        """Change a webhook. A new URL must answer a GET.

        When a webhook is disabled, its pending deliveries are given up.
        """
        changes = decode(_changes, request.body)
        if changes.url is not msgspec.UNSET:
            with self.parts.database.read() as connection:
                is_new = find_webhook(connection, request, identity).url != changes.url
            if is_new:
                check_form(changes.url)
                self.url_checks.check(identity.account.id, changes.url)
        with self._lock_webhook(request, identity) as (connection, webhook):
            secret = None
            if changes.signing_enabled is True and webhook.secret is None:
                secret = webhook_signatures.new_secret()
            changed = replace(
                webhook,
                url=_apply_change(webhook.url, changes.url),
                enabled=_apply_change(webhook.enabled, changes.enabled),
                signing_enabled=_apply_change(webhook.signing_enabled, changes.signing_enabled),
                secret=self._seal_secret(secret) or webhook.secret,
            )
            if changed.url != webhook.url or (changed.enabled and not webhook.enabled):
                changed = replace(changed, failing_since=None, disabled_reason=None)
            batch_webhooks.save(connection, changed)
            if not changed.enabled:
                deliveries.exhaust_all(connection, changed)
        return Response(200, build_webhook_body(changed, links, secret))

    def rotate_secret(self, request: Request, identity: Identity, links: Links) -> Response:
        """Create a new secret. For a day, events are signed with the old one as well.

        An extension.
        """
        secret = webhook_signatures.new_secret()
        overlap = limits.webhook_secret_overlap_hours * 60 * 60 * SECOND
        now = self.parts.clock()
        with self._lock_webhook(request, identity) as (connection, webhook):
            if webhook.has_old_secret(now) and not request.read_flag("force"):
                raise conflict(_OVERLAP.format(until=format_iso(webhook.old_secret_until)))
            changed = replace(
                webhook,
                signing_enabled=True,
                secret=self._seal_secret(secret),
                old_secret=webhook.secret,
                old_secret_until=now + overlap,
            )
            batch_webhooks.save(connection, changed)
        return Response(200, build_webhook_body(changed, links, secret))

    def delete(self, request: Request, identity: Identity, _links: Links) -> Response:
        """Delete a webhook with its deliveries."""
        with self._lock_webhook(request, identity) as (connection, webhook):
            batch_webhooks.delete(connection, webhook)
        return NO_CONTENT

    @contextmanager
    def _lock_webhook(
        self, request: Request, identity: Identity
    ) -> Iterator[tuple[Connection, BatchWebhook]]:
        with self.parts.database.write() as connection:
            yield connection, find_webhook(connection, request, identity, locked=True)

    def _check_room(self, connection: Connection, account_id: int) -> None:
        most = self.parts.limits.batch_webhooks_per_account_max
        if batch_webhooks.count(connection, account_id) >= most:
            detail = f"An account can have {most} batch webhooks at a time. Delete one first."
            raise bad_request(detail)

    def _seal_secret(self, secret: str | None) -> bytes | None:
        return None if secret is None else self.sealer.seal(secret, SECRET_PURPOSE)


def find_webhook(
    connection: Connection, request: Request, identity: Identity, *, locked: bool = False
) -> BatchWebhook:
    """Return the webhook that the path names. Raises a 404."""
    public_id = request.path_params["batch_webhook_id"]
    webhook = batch_webhooks.find(connection, identity.account.id, public_id, locked=locked)
    if webhook is None:
        raise not_found()
    return webhook


def build_webhook_body(
    webhook: BatchWebhook, links: Links, secret: str | None = None
) -> BatchWebhookBody:
    """Return the object of a webhook. It contains the secret only if this call created it."""
    return BatchWebhookBody(
        id=webhook.public_id,
        url=webhook.url,
        enabled=webhook.enabled,
        signing_enabled=webhook.signing_enabled,
        signing_secret=msgspec.UNSET if secret is None else secret,
        links=links.build_object_links(
            "BatchWebhooks",
            "/batch-webhooks",
            f"/batch-webhooks/{webhook.public_id}",
            methods=("PATCH", "DELETE"),
        ),
    )


def _apply_change(present: T, change: T | msgspec.UnsetType) -> T:
    return present if change is msgspec.UNSET else change
