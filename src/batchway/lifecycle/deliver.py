"""Deliver: one attempt to tell a webhook of an event, and what follows from it.

1. Read the delivery, its webhook and its batch; send nothing for what is over.
2. Send, with a fresh link to the results. No transaction is open meanwhile.
3. In one transaction: the attempt, and `delivered`, or the next one handed over with a delay, or
   `exhausted`. Who dies before that sends again: at least once, always under the same id.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

import structlog
from sqlalchemy import Connection

from batchway import limits
from batchway.faults import FaultPoint, fault
from batchway.kit import webhook_signatures
from batchway.kit.backoff import add_jitter, clamp_retry_after
from batchway.kit.clock import SECOND, Microseconds, format_iso
from batchway.kit.egress import Answered, Egress, Unreached
from batchway.kit.sealing import Sealer, Unsealable
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.turns import Turns
from batchway.model.batch import Batch, Status
from batchway.model.step import Step
from batchway.model.webhook import Attempt, BatchWebhook, Delivery, State
from batchway.store import batch_webhooks, batches, deliveries

log = structlog.get_logger(__name__)

SECRET_PURPOSE = "batch webhook secret"  # noqa: S105 - what the secret is for
_GONE = 410
_UNSIGNED = "It was not sent: its signing secret cannot be opened any more. Rotate the secret."
_WAIT_SECONDS_MIN = 1.0
_EARLY: Microseconds = 2 * SECOND  # a delayed hand-over may be so much too early


class EventFormat(Protocol):
    """How the events of batch webhooks are written; the surface that shows batches decides."""

    @property
    def content_type(self) -> str:
        """The media type of the request's body."""

    def render_finished(self, batch: Batch, fired_at: Microseconds) -> bytes:
        """The event of a finished batch, with a fresh link to its results."""

    def render_test(self, fired_at: Microseconds) -> bytes:
        """A test event: it is about a batch that does not exist."""


@dataclass(frozen=True)
class _Work:
    """A delivery that is due."""

    delivery: Delivery
    webhook: BatchWebhook
    batch: Batch | None


class Deliver:
    """The step, for one process: it sees to it that one slow receiver does not take all turns."""

    def __init__(self, parts: Parts, egress: Egress, sealer: Sealer, events: EventFormat) -> None:
        self._parts = parts
        self._egress = egress
        self._sealer = sealer
        self._events = events
        self._turns = Turns(parts.clock)

    def __call__(self, delivery_id: int) -> None:
        """Make one attempt, if one is due. May run twice and die anywhere."""
        work = self._begin(delivery_id)
        if work is None:
            return
        with self._turns.one(work.webhook) as away_seconds:
            now = self._parts.clock()
            if away_seconds:
                self._postpone(work, away_seconds, now)
                return
            fault(FaultPoint.DELIVER_BEFORE_SEND)
            answer = self._send(work, now)
            fault(FaultPoint.DELIVER_AFTER_SEND)
            self._record(work, _attempt(work.delivery, answer, now), answer)
            fault(FaultPoint.DELIVER_AFTER_COMMIT)

    def _begin(self, delivery_id: int) -> _Work | None:
        with self._parts.database.read() as connection:
            delivery = deliveries.get(connection, delivery_id)
            if delivery is None or delivery.state is not State.PENDING:
                return None
            if (delivery.next_attempt_at or 0) > self._parts.clock() + _EARLY:
                return None  # a hand-over for that time is written
            webhook = batch_webhooks.get(connection, delivery.account_id, delivery.batch_webhook_id)
            batch = delivery.batch_id and batches.get(connection, delivery.batch_id)
        is_over = delivery.batch_id and (not batch or batch.status is Status.DELETED)
        if webhook is None or is_over:
            return None  # deleted, and the delivery with it
        return _Work(delivery, webhook, batch or None)

    def _postpone(self, work: _Work, away_seconds: float, now: Microseconds) -> None:
        """Come back when all that are due may have had their turns, if each takes so long."""
        with self._parts.database.write() as connection:
            due = deliveries.count_due(connection, work.webhook, now)
            planned = min(due * away_seconds, limits.webhook_turn_seconds_max)
            wait_seconds = add_jitter(max(planned, _WAIT_SECONDS_MIN), limits.delivery_jitter)
            if deliveries.postpone(connection, work.delivery, now + int(wait_seconds * SECOND)):
                self._parts.hand_over(
                    connection, Step.DELIVER, work.delivery.id, delay_seconds=wait_seconds
                )

    def _send(self, work: _Work, now: Microseconds) -> Answered | Unreached:
        body = self._body(work)
        try:
            signed = self._signed(work, body, now)
        except Unsealable:
            return Unreached(_UNSIGNED, 0)
        return self._egress.send(
            "POST",
            work.webhook.url,
            headers=(("Content-Type", self._events.content_type), *signed),
            body=body,
            seconds=limits.delivery_seconds_max,
            answer_bytes_max=limits.delivery_answer_bytes_max,
        )

    def _body(self, work: _Work) -> bytes:
        fired_at = work.delivery.fired_at
        if work.batch is None:
            return self._events.render_test(fired_at)
        return self._events.render_finished(work.batch, fired_at)

    def _signed(self, work: _Work, body: bytes, now: Microseconds) -> list[tuple[str, str]]:
        delivery_id, seconds = work.delivery.public_id, now // SECOND
        headers = [("webhook-id", delivery_id), ("webhook-timestamp", str(seconds))]
        secrets = self._secrets(work.webhook, now)
        if secrets:
            standard = webhook_signatures.sign_standard(secrets, delivery_id, seconds, body)
            mailchimp = webhook_signatures.sign_mailchimp(secrets, seconds, body)
            headers.append(("webhook-signature", standard))
            headers.append(("X-Mailchimp-Signature", mailchimp))
        return headers

    def _secrets(self, webhook: BatchWebhook, now: Microseconds) -> list[str]:
        """Newest first; none if the webhook does not want signatures."""
        if not webhook.signing_enabled or webhook.secret is None:
            return []
        secrets = [self._sealer.open(webhook.secret, SECRET_PURPOSE)]
        if webhook.old_secret is not None and webhook.has_old_secret(now):
            with suppress(Unsealable):  # its key is gone, and the new secret goes on without it
                secrets.append(self._sealer.open(webhook.old_secret, SECRET_PURPOSE))
        return secrets

    def _record(self, work: _Work, attempt: Attempt, answer: Answered | Unreached) -> None:
        with self._parts.database.write() as connection:
            webhook = batch_webhooks.get(
                connection, work.webhook.account_id, work.webhook.id, locked=True
            )
            if webhook is None:
                return
            state, wait_seconds = _next(work.delivery, attempt, answer)
            next_at = None if wait_seconds is None else _after(attempt, wait_seconds)
            if not deliveries.record(connection, work.delivery, attempt, state, next_at):
                return  # the webhook was disabled meanwhile, or another attempt was kept
            if wait_seconds is not None:
                self._parts.hand_over(
                    connection, Step.DELIVER, work.delivery.id, delay_seconds=wait_seconds
                )
            if webhook.url == work.webhook.url:  # else it says nothing about the new one
                _note(connection, webhook, work.delivery, attempt)
            fault(FaultPoint.DELIVER_BEFORE_COMMIT)


def _attempt(delivery: Delivery, answer: Answered | Unreached, now: Microseconds) -> Attempt:
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


def _next(
    delivery: Delivery, attempt: Attempt, answer: Answered | Unreached
) -> tuple[State, float | None]:
    """The state after an attempt and, if another one is to follow, the wait before it."""
    if attempt.is_success:
        return State.DELIVERED, None
    planned = delivery.planned_wait_seconds
    if planned is None or attempt.status_code == _GONE:
        return State.EXHAUSTED, None
    headers = answer.headers if isinstance(answer, Answered) else {}
    wait_seconds = clamp_retry_after(
        headers.get("retry-after"),
        add_jitter(planned, limits.delivery_jitter),
        limits.retry_after_seconds_max,
        attempt.attempted_at / SECOND,
    )
    return State.PENDING, wait_seconds


def _after(attempt: Attempt, wait_seconds: float) -> Microseconds:
    return attempt.attempted_at + attempt.duration + int(wait_seconds * SECOND)


def _note(
    connection: Connection, webhook: BatchWebhook, delivery: Delivery, attempt: Attempt
) -> None:
    """What an attempt says about its webhook, which is locked."""
    if attempt.is_success:
        if webhook.failing_since is not None:
            batch_webhooks.save(connection, replace(webhook, failing_since=None))
        return
    failing = replace(webhook, failing_since=webhook.failing_since or attempt.attempted_at)
    reason = _reason_to_disable(failing, delivery, attempt)
    if reason is not None and webhook.enabled:
        log.warning("webhook_disabled", webhook=webhook.public_id, reason=reason)
        failing = replace(failing, enabled=False, disabled_reason=reason)
        deliveries.exhaust_all(connection, webhook, attempt.attempted_at)
    if failing != webhook:
        batch_webhooks.save(connection, failing)


def _reason_to_disable(webhook: BatchWebhook, delivery: Delivery, attempt: Attempt) -> str | None:
    if attempt.status_code == _GONE:
        return "It answered 410 Gone."
    tried = attempt.number - delivery.attempts_before
    if tried < limits.webhook_failing_attempts_min:
        return None
    if webhook.has_failed_for_days(attempt.attempted_at):
        return f"Every attempt has failed since {format_iso(webhook.failing_since)}."
    return None
