"""Batch webhooks, the deliveries to them, and the attempts of a delivery."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from batchway.kit.clock import DAY, Microseconds
from batchway.model.result import is_error


class DeliveryState(StrEnum):
    """The state of a delivery. An exhausted delivery can be sent again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    EXHAUSTED = "exhausted"  # all attempts are used up, or the webhook was disabled


@dataclass(frozen=True, slots=True)
class BatchWebhook:
    """One row of `batch_webhooks`. The secrets are encrypted.

    `failing_since` is the time of the first failed attempt after the last successful one.
    """

    id: int
    account_id: int
    public_id: str
    url: str
    enabled: bool
    signing_enabled: bool
    secret: bytes | None
    old_secret: bytes | None
    old_secret_until: Microseconds | None
    failing_since: Microseconds | None
    disabled_reason: str | None
    created_at: Microseconds

    def has_old_secret(self, now: Microseconds) -> bool:
        """Return whether the previous secret still signs, beside the present one."""
        return self.old_secret is not None and (self.old_secret_until or 0) > now

    def has_failed_for_days(self, days: int, now: Microseconds) -> bool:
        """Return whether every attempt of the last days has failed."""
        since = self.failing_since
        return since is not None and now - since >= days * DAY


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one webhook: "this batch is finished", or a test if there is no batch.

    `attempts_before` counts the attempts before the delivery was last sent again, which restarts
    its schedule.
    """

    id: int
    account_id: int
    public_id: str
    batch_webhook_id: int
    batch_id: int | None
    state: DeliveryState
    fired_at: Microseconds
    attempt_count: int
    attempts_before: int
    next_attempt_at: Microseconds | None

    def plan_wait_seconds(self, waits: Sequence[float]) -> float | None:
        """Return the wait after the attempt that is due now, if it fails; None if it is the last.

        `waits` are the seconds between the attempts of a delivery.
        """
        made = self.attempt_count - self.attempts_before
        return waits[made] if made < len(waits) else None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP request of a delivery.

    Without a `status_code` there was no response, and `reason` says why. `answer_start` is the
    start of the response's body.
    """

    delivery_id: int
    number: int
    attempted_at: Microseconds
    duration: Microseconds
    status_code: int | None = None
    reason: str | None = None
    answer_start: str = ""

    @property
    def is_success(self) -> bool:
        """Whether the receiver responded with 2xx. A redirect is a failure."""
        return self.status_code is not None and not is_error(self.status_code)
