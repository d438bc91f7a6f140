"""Delivery slots: how many attempts one process makes at the same time.

Slow webhooks, which fail or hang, share few slots, so that they cannot delay other deliveries.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition

from batchway import limits
from batchway.kit.clock import SECOND, Clock, Microseconds
from batchway.model.webhook import BatchWebhook


@dataclass(frozen=True, eq=False)
class _RunningAttempt:
    webhook: BatchWebhook
    began_at: Microseconds

    def is_slow(self, now: Microseconds) -> bool:
        """Return whether its webhook is failing, or the attempt has taken long already."""
        seconds = (now - self.began_at) / SECOND
        return self.webhook.failing_since is not None or seconds >= limits.slow_attempt_seconds


class DeliverySlots:
    """The slots of each webhook and of each account. Safe for many threads."""

    def __init__(
        self, clock: Clock, wait_seconds_max: float = limits.slot_wait_seconds_max
    ) -> None:
        """A thread waits up to `wait_seconds_max` for a slot of a webhook that is not slow."""
        self._clock = clock
        self._wait_seconds_max = wait_seconds_max
        self._changed = Condition()
        self._running: list[_RunningAttempt] = []
        self._waiting: Counter[int] = Counter()  # threads, by account

    @contextmanager
    def take(self, webhook: BatchWebhook) -> Iterator[float]:
        """Take a slot until the end of the block and yield 0, or yield how long to wait for one.

        The caller multiplies these seconds by the number of deliveries that are due. They grow with
        the age of the running attempts, so that deliveries to a receiver that hangs are tried less
        and less often.
        """
        with self._changed:
            attempt = self._begin_attempt(webhook)
            wait_seconds = 0.0 if attempt else self._compute_wait_seconds(webhook)
        try:
            yield wait_seconds
        finally:
            if attempt:
                with self._changed:
                    self._running.remove(attempt)
                    self._changed.notify_all()

    def _begin_attempt(self, webhook: BatchWebhook) -> _RunningAttempt | None:
        account_id = webhook.account_id
        count = len(self._find_account_attempts(webhook)) + self._waiting[account_id]
        if count >= limits.account_attempts_at_once_max:
            return None
        self._waiting[account_id] += 1
        self._changed.wait_for(
            lambda: self._has_free_slot(webhook) or self._is_slow(webhook), self._wait_seconds_max
        )
        self._waiting[account_id] -= 1
        if not self._has_free_slot(webhook):
            return None
        attempt = _RunningAttempt(webhook, self._clock())
        self._running.append(attempt)
        return attempt

    def _has_free_slot(self, webhook: BatchWebhook) -> bool:
        count = len(self._find_webhook_attempts(webhook))
        if not self._is_slow(webhook):
            return count < limits.webhook_attempts_at_once_max
        slow_count = len(self._find_slow_attempts(webhook))
        return not count and slow_count < limits.slow_attempts_at_once_max

    def _compute_wait_seconds(self, webhook: BatchWebhook) -> float:
        is_slow = self._is_slow(webhook)
        running = self._find_webhook_attempts(webhook)
        if not running and is_slow:
            running = self._find_slow_attempts(webhook)
        now = self._clock()
        began_at = min((attempt.began_at for attempt in running), default=now)
        oldest_seconds = (now - began_at) / SECOND
        slot_count = 1 if is_slow else limits.webhook_attempts_at_once_max
        return max(oldest_seconds, limits.delivery_poll_seconds) / slot_count

    def _is_slow(self, webhook: BatchWebhook) -> bool:
        now = self._clock()
        return webhook.failing_since is not None or any(
            attempt.is_slow(now) for attempt in self._find_webhook_attempts(webhook)
        )

    def _find_slow_attempts(self, webhook: BatchWebhook) -> list[_RunningAttempt]:
        now = self._clock()
        attempts = self._find_account_attempts(webhook)
        return [attempt for attempt in attempts if attempt.is_slow(now)]

    def _find_webhook_attempts(self, webhook: BatchWebhook) -> list[_RunningAttempt]:
        return [attempt for attempt in self._running if attempt.webhook.id == webhook.id]

    def _find_account_attempts(self, webhook: BatchWebhook) -> list[_RunningAttempt]:
        account_id = webhook.account_id
        return [attempt for attempt in self._running if attempt.webhook.account_id == account_id]
