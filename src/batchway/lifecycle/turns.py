"""Turns: which deliveries of one process may be under way at once.

Attempts at receivers that fail or hang have few turns, so that those at the others find one.
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
class _Attempt:
    """One that is under way."""

    webhook: BatchWebhook
    began_at: Microseconds

    def is_slow(self, now: Microseconds) -> bool:
        """Whether its webhook fails, or will if this goes on."""
        seconds = (now - self.began_at) / SECOND
        return self.webhook.failing_since is not None or seconds >= limits.slow_attempt_seconds


class Turns:
    """Of a webhook and of an account; for any number of threads."""

    def __init__(self, clock: Clock, patience_seconds: float = limits.turn_seconds_max) -> None:
        """For its turn at a webhook that is not slow a thread waits so long itself."""
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._changed = Condition()
        self._under_way: list[_Attempt] = []
        self._waiting: Counter[int] = Counter()  # threads, by account

    @contextmanager
    def one(self, webhook: BatchWebhook) -> Iterator[float]:
        """0 while one more attempt may be under way: then it is, until the end of the block.

        Otherwise how many seconds to stay away for each delivery that is due. It grows with the
        age of what is under way, so that nobody comes often to those that hang.
        """
        with self._changed:
            attempt = self._begin(webhook)
            away_seconds = 0.0 if attempt else self._away_seconds(webhook)
        try:
            yield away_seconds
        finally:
            if attempt:
                with self._changed:
                    self._under_way.remove(attempt)
                    self._changed.notify_all()

    def _begin(self, webhook: BatchWebhook) -> _Attempt | None:
        account_id = webhook.account_id
        count = len(self._of_account(webhook)) + self._waiting[account_id]
        if count >= limits.account_attempts_at_once_max:
            return None
        self._waiting[account_id] += 1
        self._changed.wait_for(
            lambda: self._has_turn(webhook) or self._is_slow(webhook), self._patience_seconds
        )
        self._waiting[account_id] -= 1
        if not self._has_turn(webhook):
            return None
        attempt = _Attempt(webhook, self._clock())
        self._under_way.append(attempt)
        return attempt

    def _has_turn(self, webhook: BatchWebhook) -> bool:
        count = len(self._of_webhook(webhook))
        if not self._is_slow(webhook):
            return count < limits.webhook_attempts_at_once_max
        return not count and len(self._slow(webhook)) < limits.slow_attempts_at_once_max

    def _away_seconds(self, webhook: BatchWebhook) -> float:
        is_slow = self._is_slow(webhook)
        before = self._of_webhook(webhook) or (self._slow(webhook) if is_slow else [])
        now = self._clock()
        seconds = (now - min((each.began_at for each in before), default=now)) / SECOND
        turns = 1 if is_slow else limits.webhook_attempts_at_once_max
        return max(seconds, limits.delivery_poll_seconds) / turns

    def _is_slow(self, webhook: BatchWebhook) -> bool:
        now = self._clock()
        return webhook.failing_since is not None or any(
            each.is_slow(now) for each in self._of_webhook(webhook)
        )

    def _slow(self, webhook: BatchWebhook) -> list[_Attempt]:
        now = self._clock()
        return [each for each in self._of_account(webhook) if each.is_slow(now)]

    def _of_webhook(self, webhook: BatchWebhook) -> list[_Attempt]:
        return [each for each in self._under_way if each.webhook.id == webhook.id]

    def _of_account(self, webhook: BatchWebhook) -> list[_Attempt]:
        of = webhook.account_id
        return [each for each in self._under_way if each.webhook.account_id == of]
