"""Deliver: one attempt to send an event to a webhook, and the delivery's next state.

1. Read the delivery, its webhook and its batch; send nothing if one of them was deleted.
2. Send the event with a new link to the results, while no transaction is open.
3. In one transaction: record the attempt, and make the delivery `delivered` or `exhausted`, or
   hand the next attempt over with a delay. If the worker dies before this commit, the event is
   sent again under the same id: delivery is at least once.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

import structlog
from sqlalchemy import Connection

from batchway import limits
from batchway.kit import webhook_signatures
from batchway.kit.backoff import add_jitter, clamp_retry_after
from batchway.kit.clock import SECOND, Microseconds, format_iso
from batchway.kit.egress import Answered, Egress, Unreached
from batchway.kit.sealing import Sealer, Unsealable
from batchway.lifecycle.delivery_slots import DeliverySlots
from batchway.lifecycle.parts import Parts
from batchway.model.batch import Batch, Status
from batchway.model.step import Step, StepName
from batchway.model.webhook import Attempt, BatchWebhook, Delivery, DeliveryState
from batchway.observers.base import Event
from batchway.store import batch_webhooks, batches, deliveries

log = structlog.get_logger(__name__)

SECRET_PURPOSE = "batch webhook secret"  # noqa: S105 - what the secret is for
_GONE = 410
_UNSIGNED = "It was not sent: its signing secret cannot be decrypted. Rotate the secret."
_WAIT_SECONDS_MIN = 1.0


class EventFormat(Protocol):
    """Renders the events of batch webhooks; implemented by the surface that shows batches."""

    @property
    def content_type(self) -> str:
        """The media type of an event."""

    def render_finished(self, batch: Batch, fired_at: Microseconds) -> bytes:
        """Return the event of a finished batch, with a new link to its results."""

    def render_test(self, fired_at: Microseconds) -> bytes:
        """Return a test event, about a batch that does not exist."""


@dataclass(frozen=True)
class _DueDelivery:
    """A delivery that is due, with its webhook and, unless it is a test event, its batch."""

    delivery: Delivery
    webhook: BatchWebhook
    batch: Batch | None


class DeliverStep:
    """Makes the attempts of one process. Safe for many threads."""

    def __init__(self, parts: Parts, egress: Egress, sealer: Sealer, events: EventFormat) -> None:
        self._parts = parts
        self._egress = egress
        self._sealer = sealer
        self._events = events
        self._slots = DeliverySlots(parts.clock)

    def run(self, name: StepName) -> Iterable[StepName]:
        """Make one attempt, if one is due; return no names, because no step follows."""
        self(name.key)
        return ()

    def __call__(self, delivery_id: int) -> None:
        """Make one attempt, if one is due. It may run twice, and may be killed at any line."""
        due = self._find_due(delivery_id)
        if due is None:
            return
        with self._slots.take(due.webhook) as wait_seconds:
            now = self._parts.clock()
            if wait_seconds:
                self._postpone(due, wait_seconds)
                return
            self._parts.observe(Event.DELIVER_BEFORE_SEND)
            answer = self._send(due, now)
            self._parts.observe(Event.DELIVER_AFTER_SEND)
            attempt = _make_attempt(due.delivery, answer, now)
            state = self._record_attempt(due, attempt, answer)
            self._parts.observe(Event.DELIVER_AFTER_COMMIT)
            if state is not None:
                self._report_attempt(due, attempt, state)

    def _find_due(self, delivery_id: int) -> _DueDelivery | None:
        with self._parts.database.read() as connection:
            delivery = deliveries.get_due(connection, delivery_id)
            if delivery is None:
                return None  # it has ended, or it is due later and has another hand-over for then
            webhook = batch_webhooks.get(connection, delivery.account_id, delivery.batch_webhook_id)
            batch = delivery.batch_id and batches.get(connection, delivery.batch_id)
        is_batch_gone = delivery.batch_id and (not batch or batch.status is Status.DELETED)
        if webhook is None or is_batch_gone:
            return None  # the delivery was deleted, too
        return _DueDelivery(delivery, webhook, batch or None)

    def _postpone(self, due: _DueDelivery, wait_seconds: float) -> None:
        """Postpone the attempt by `wait_seconds` for each delivery that is due to the webhook."""
        with self._parts.database.write() as connection:
            due_count = deliveries.count_due(connection, due.webhook)
            seconds = min(due_count * wait_seconds, limits.webhook_wait_seconds_max)
            delay_seconds = add_jitter(max(seconds, _WAIT_SECONDS_MIN), limits.delivery_jitter)
            if deliveries.postpone(connection, due.delivery, delay_seconds):
                self._parts.hand_over(
                    connection, Step.DELIVER, due.delivery.id, delay_seconds=delay_seconds
                )

    def _send(self, due: _DueDelivery, now: Microseconds) -> Answered | Unreached:
        body = self._render_event(due)
        try:
            signature = self._sign(due, body, now)
        except Unsealable:
            return Unreached(_UNSIGNED, 0)
        return self._egress.send(
            "POST",
            due.webhook.url,
            headers=(("Content-Type", self._events.content_type), *signature),
            body=body,
            seconds=self._parts.limits.delivery_seconds_max,
            answer_bytes_max=limits.delivery_answer_bytes_max,
        )

    def _render_event(self, due: _DueDelivery) -> bytes:
        fired_at = due.delivery.fired_at
        if due.batch is None:
            return self._events.render_test(fired_at)
        return self._events.render_finished(due.batch, fired_at)

    def _sign(self, due: _DueDelivery, body: bytes, now: Microseconds) -> list[tuple[str, str]]:
        delivery_id, seconds = due.delivery.public_id, now // SECOND
        headers = [("webhook-id", delivery_id), ("webhook-timestamp", str(seconds))]
        secrets = self._open_secrets(due.webhook, now)
        if secrets:
            standard = webhook_signatures.sign_standard(secrets, delivery_id, seconds, body)
            mailchimp = webhook_signatures.sign_mailchimp(secrets, seconds, body)
            headers.append(("webhook-signature", standard))
            headers.append(("X-Mailchimp-Signature", mailchimp))
        return headers

    def _open_secrets(self, webhook: BatchWebhook, now: Microseconds) -> list[str]:
        """Return the signing secrets, newest first; none if signing is disabled for the webhook."""
        if not webhook.signing_enabled or webhook.secret is None:
            return []
        secrets = [self._sealer.open(webhook.secret, SECRET_PURPOSE)]
        if webhook.old_secret is not None and webhook.has_old_secret(now):
            with suppress(Unsealable):  # if the old secret cannot be decrypted, only the new signs
                secrets.append(self._sealer.open(webhook.old_secret, SECRET_PURPOSE))
        return secrets

    def _record_attempt(
        self, due: _DueDelivery, attempt: Attempt, answer: Answered | Unreached
    ) -> DeliveryState | None:
        """Record the attempt; return the delivery's new state, None if it is no longer pending."""
        with self._parts.database.write() as connection:
            webhook = batch_webhooks.get(
                connection, due.webhook.account_id, due.webhook.id, locked=True
            )
            if webhook is None:
                return None
            waits = self._parts.limits.delivery_waits_seconds
            state, wait_seconds = _decide_next_state(due.delivery, attempt, answer, waits)
            if not deliveries.record(connection, due.delivery, attempt, state, wait_seconds):
                return None  # the webhook was disabled meanwhile, or another attempt was recorded
            if wait_seconds is not None:
                self._parts.hand_over(
                    connection, Step.DELIVER, due.delivery.id, delay_seconds=wait_seconds
                )
            if webhook.url == due.webhook.url:  # otherwise the attempt was made with an old URL
                days_max = self._parts.limits.webhook_failing_days_max
                _update_webhook(connection, webhook, due.delivery, attempt, days_max)
            self._parts.observe(Event.DELIVER_BEFORE_COMMIT)
        return state

    def _report_attempt(self, due: _DueDelivery, attempt: Attempt, state: DeliveryState) -> None:
        self._parts.observe(
            Event.DELIVERY_ATTEMPTED,
            webhook=due.webhook.public_id,
            delivery=due.delivery.public_id,
            attempt=attempt.number,
            state=state.value,
            seconds=attempt.duration / SECOND,
        )


def _make_attempt(delivery: Delivery, answer: Answered | Unreached, now: Microseconds) -> Attempt:
    attempt = Attempt(
        delivery_id=delivery.id,
        number=delivery.attempt_count + 1,
        attempted_at=now,
        duration=int(answer.seconds * SECOND),
    )
    if isinstance(answer, Unreached):
        return replace(attempt, reason=answer.reason)
    start = answer.body_start.decode("utf-8", "replace").replace("\0", "\ufffd")
    return replace(
        attempt,
        status_code=answer.status_code,
        answer_start=start[: limits.delivery_answer_shown_characters_max],
    )


def _decide_next_state(
    delivery: Delivery,
    attempt: Attempt,
    answer: Answered | Unreached,
    waits_seconds: Sequence[float],
) -> tuple[DeliveryState, float | None]:
    """Return the delivery's state after an attempt, and the wait if another attempt follows."""
    if attempt.is_success:
        return DeliveryState.DELIVERED, None
    planned = delivery.plan_wait_seconds(waits_seconds)
    if planned is None or attempt.status_code == _GONE:
        return DeliveryState.EXHAUSTED, None
    headers = answer.headers if isinstance(answer, Answered) else {}
    wait_seconds = clamp_retry_after(
        headers.get("retry-after"),
        add_jitter(planned, limits.delivery_jitter),
        limits.retry_after_seconds_max,
        attempt.attempted_at / SECOND,
    )
    return DeliveryState.PENDING, wait_seconds


def _update_webhook(
    connection: Connection,
    webhook: BatchWebhook,
    delivery: Delivery,
    attempt: Attempt,
    failing_days_max: int,
) -> None:
    """Store whether the webhook, whose row is locked, fails; disable it if it failed too long."""
    if attempt.is_success:
        if webhook.failing_since is not None:
            batch_webhooks.save(connection, replace(webhook, failing_since=None))
        return
    failing = replace(webhook, failing_since=webhook.failing_since or attempt.attempted_at)
    reason = _find_reason_to_disable(failing, delivery, attempt, failing_days_max)
    if reason is not None and webhook.enabled:
        log.warning("webhook_disabled", webhook=webhook.public_id, reason=reason)
        failing = replace(failing, enabled=False, disabled_reason=reason)
        deliveries.exhaust_all(connection, webhook)
    if failing != webhook:
        batch_webhooks.save(connection, failing)


def _find_reason_to_disable(
    webhook: BatchWebhook, delivery: Delivery, attempt: Attempt, failing_days_max: int
) -> str | None:
    if attempt.status_code == _GONE:
        return "It answered 410 Gone."
    attempt_count = attempt.number - delivery.attempts_before
    if attempt_count < limits.webhook_failing_attempts_min:
        return None
    if webhook.has_failed_for_days(failing_days_max, attempt.attempted_at):
        return f"Every attempt has failed since {format_iso(webhook.failing_since)}."
    return None
