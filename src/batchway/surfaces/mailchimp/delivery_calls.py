"""`/batch-webhooks/{batch_webhook_id}/deliveries`: shows and repeats deliveries. Extensions."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection

from batchway import limits
from batchway.contract.description import ON_ONE, ON_PAGE, CallDescription, Parameter
from batchway.contract.links import Links
from batchway.contract.paging import parse_page
from batchway.contract.problems import conflict, invalid_field, not_found, too_many_requests
from batchway.contract.request import Request
from batchway.contract.response import Response
from batchway.contract.validation import decode
from batchway.kit.clock import format_iso, parse_iso
from batchway.lifecycle.parts import Parts
from batchway.model.account import Identity
from batchway.model.step import Step
from batchway.model.webhook import Attempt, BatchWebhook, Delivery, DeliveryState
from batchway.store import batches, deliveries
from batchway.surfaces.mailchimp.batch_webhook_calls import TAG, find_webhook
from batchway.surfaces.mailchimp.bodies.batch_webhooks import (
    AttemptBody,
    DeliveryBody,
    DeliveryList,
    Recovered,
    Since,
)
from batchway.surfaces.mailchimp.route import Route
from batchway.surfaces.mailchimp.webhook_event import FINISHED, TEST

_WEBHOOK = "/batch-webhooks/{batch_webhook_id}"
_ALL = f"{_WEBHOOK}/deliveries"
_ONE = f"{_ALL}/{{delivery_id}}"
_MILLISECOND = 1_000

_LIST = CallDescription(
    "The deliveries to a batch webhook, the newest first, with the replies to them.",
    query=(
        Parameter(
            name="state", description="Only deliveries in this state.", choices=tuple(DeliveryState)
        ),
        *ON_PAGE,
    ),
    reply=DeliveryList,
    notes="An extension.",
    tag=TAG,
)
_GET = CallDescription(
    "One delivery with its attempts.",
    query=ON_ONE,
    reply=DeliveryBody,
    notes="An extension.",
    tag=TAG,
)
_RESEND = CallDescription(
    "Send an event again, under the same id.",
    reply=DeliveryBody,
    errors=(409,),
    notes="An extension.",
    tag=TAG,
)
_RECOVER = CallDescription(
    "Send all events again whose deliveries have failed since a time.",
    body=Since,
    reply=Recovered,
    errors=(409,),
    notes="An extension.",
    body_example={"since": "2026-11-23T12:00:00+00:00"},
    tag=TAG,
)
_TEST = CallDescription(
    "Send a test event.", reply=DeliveryBody, errors=(409,), notes="An extension.", tag=TAG
)

_since = msgspec.json.Decoder(Since)


@dataclass(frozen=True)
class DeliveryCalls:
    """Answers the calls on deliveries."""

    parts: Parts

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of these calls."""
        return (
            Route("GET", _ALL, self.list, _LIST),
            Route("GET", _ONE, self.get, _GET),
            Route("POST", f"{_ONE}/actions/resend", self.resend, _RESEND),
            Route("POST", f"{_WEBHOOK}/actions/recover", self.recover, _RECOVER),
            Route("POST", f"{_WEBHOOK}/actions/test", self.send_test, _TEST),
        )

    def list(self, request: Request, identity: Identity, links: Links) -> Response:
        """Answer with the deliveries to a webhook, the newest first."""
        wanted, state = (
            parse_page(request.params),
            _parse_state(request.params.get("state", "").strip()),
        )
        with self.parts.database.read() as connection:
            webhook = find_webhook(connection, request, identity)
            found, total = deliveries.find_page(
                connection, webhook, state, wanted.count, wanted.offset
            )
            bodies = _build_bodies(connection, webhook, found, links)
        itself = f"/batch-webhooks/{webhook.public_id}"
        return Response(
            200,
            DeliveryList(
                bodies,
                total,
                format_iso(webhook.failing_since),
                webhook.disabled_reason or "",
                links.build_collection_links(
                    "BatchWebhooks/Deliveries", itself, f"{itself}/deliveries", create=False
                ),
            ),
        )

    def get(self, request: Request, identity: Identity, links: Links) -> Response:
        """Answer with one delivery and its attempts."""
        with self.parts.database.read() as connection:
            webhook = find_webhook(connection, request, identity)
            delivery = _find_delivery(connection, request, webhook)
            [body] = _build_bodies(connection, webhook, [delivery], links)
        return Response(200, body)

    def resend(self, request: Request, identity: Identity, links: Links) -> Response:
        """Restart the retry schedule of a delivery, with the same id."""
        with self.parts.database.write() as connection:
            webhook = find_webhook(connection, request, identity, locked=True)
            delivery = _find_delivery(connection, request, webhook)
            _check_enabled(webhook)
            if not deliveries.resend(connection, delivery):
                detail = "The delivery is pending: it is tried again by itself."
                raise conflict(detail)
            self.parts.hand_over(connection, Step.DELIVER, delivery.id)
            [body] = _build_bodies(
                connection, webhook, [_find_delivery(connection, request, webhook)], links
            )
        return Response(200, body)

    def recover(self, request: Request, identity: Identity, _links: Links) -> Response:
        """Send all events again whose delivery was given up since a moment."""
        since = parse_iso(decode(_since, request.body).since)
        if since is None:
            raise invalid_field("since", "This value should be a date and time in ISO 8601.")
        with self.parts.database.write() as connection:
            webhook = find_webhook(connection, request, identity, locked=True)
            _check_enabled(webhook)
            most = limits.webhook_recovered_max
            found = deliveries.recover(connection, webhook, since, most)
            for delivery_id in found:
                self.parts.hand_over(connection, Step.DELIVER, delivery_id)
        return Response(200, Recovered(len(found)))

    def send_test(self, request: Request, identity: Identity, links: Links) -> Response:
        """Send a test event."""
        with self.parts.database.write() as connection:
            webhook = find_webhook(connection, request, identity, locked=True)
            _check_enabled(webhook)
            most = self.parts.limits.undelivered_events_per_account_max
            if deliveries.count_undelivered(connection, identity.account.id) >= most:
                detail = f"You have {most} undelivered events. Wait for some to be delivered."
                raise too_many_requests(detail)
            delivery = deliveries.insert(connection, webhook, None, self.parts.clock())
            if delivery is None:
                raise not_found()
            self.parts.hand_over(connection, Step.DELIVER, delivery.id)
            [body] = _build_bodies(connection, webhook, [delivery], links)
        return Response(200, body)


def _parse_state(text: str) -> DeliveryState | None:
    if not text:
        return None
    if text not in set(DeliveryState):
        raise invalid_field("state", f"Value should be one of {', '.join(DeliveryState)}.")
    return DeliveryState(text)


def _find_delivery(connection: Connection, request: Request, webhook: BatchWebhook) -> Delivery:
    delivery = deliveries.find(connection, webhook, request.path_params["delivery_id"])
    if delivery is None:
        raise not_found()
    return delivery


def _check_enabled(webhook: BatchWebhook) -> None:
    if not webhook.enabled:
        detail = "The webhook is disabled. Enable it first: PATCH it with enabled set to true."
        raise conflict(detail)


def _build_bodies(
    connection: Connection, webhook: BatchWebhook, found: Sequence[Delivery], links: Links
) -> list[DeliveryBody]:
    attempts = deliveries.find_attempts(connection, webhook.account_id, [each.id for each in found])
    names = batches.find_public_ids(
        connection, webhook.account_id, [each.batch_id for each in found if each.batch_id]
    )
    return [_build_body(webhook, each, attempts[each.id], names, links) for each in found]


def _build_body(
    webhook: BatchWebhook,
    delivery: Delivery,
    attempts: Sequence[Attempt],
    names: dict[int, str],
    links: Links,
) -> DeliveryBody:
    collection = f"/batch-webhooks/{webhook.public_id}/deliveries"
    return DeliveryBody(
        id=delivery.public_id,
        type=TEST if delivery.batch_id is None else FINISHED,
        batch_id=names.get(delivery.batch_id or 0, ""),
        state=delivery.state,
        fired_at=format_iso(delivery.fired_at),
        attempt_count=delivery.attempt_count,
        next_attempt_at=format_iso(delivery.next_attempt_at),
        attempts=[_build_attempt_body(each) for each in attempts],
        links=links.build_object_links(
            "BatchWebhooks/Deliveries",
            collection,
            f"{collection}/{delivery.public_id}",
            methods=(),
        ),
    )


def _build_attempt_body(attempt: Attempt) -> AttemptBody:
    return AttemptBody(
        number=attempt.number,
        attempted_at=format_iso(attempt.attempted_at),
        duration_ms=attempt.duration // _MILLISECOND,
        status_code=attempt.status_code,
        reason=attempt.reason or "",
        answer_start=attempt.answer_start,
    )
