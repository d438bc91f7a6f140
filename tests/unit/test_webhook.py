"""Pure rules of batch webhooks and deliveries."""

from dataclasses import replace

import pytest

from batchway.kit.clock import DAY, SECOND
from batchway.limits import Limits
from batchway.model.webhook import Attempt, BatchWebhook, Delivery, DeliveryState

NOON = 1_795_435_200 * SECOND
FAILING_MAX = Limits.webhook_failing_days_max * DAY
WEBHOOK = BatchWebhook(
    id=1,
    account_id=1,
    public_id="0123456789",
    url="https://example.com/hook",
    enabled=True,
    signing_enabled=False,
    secret=None,
    old_secret=None,
    old_secret_until=None,
    failing_since=None,
    disabled_reason=None,
    created_at=NOON,
)
DELIVERY = Delivery(
    id=1,
    account_id=1,
    public_id="msg_1",
    batch_webhook_id=1,
    batch_id=1,
    state=DeliveryState.PENDING,
    fired_at=NOON,
    attempt_count=0,
    attempts_before=0,
    next_attempt_at=NOON,
)


@pytest.mark.parametrize(
    ("failing_since", "expected"),
    [
        (None, False),
        (NOON, False),
        (NOON - FAILING_MAX + 1, False),
        (NOON - FAILING_MAX, True),
        (NOON - FAILING_MAX - DAY, True),
    ],
)
def test_failing_for_days(failing_since: int | None, expected: bool) -> None:
    """The days are counted to the microsecond; a working webhook has failed for no time."""
    assert expected is replace(WEBHOOK, failing_since=failing_since).has_failed_for_days(
        Limits.webhook_failing_days_max, NOON
    )


@pytest.mark.parametrize("attempts_before", [0, 9, 12])
def test_planned_waits(attempts_before: int) -> None:
    """Waits follow the schedule from its beginning; there is none after the last."""
    counts = range(attempts_before, attempts_before + 10)
    planned = [
        replace(DELIVERY, attempts_before=attempts_before, attempt_count=count).plan_wait_seconds(
            Limits.delivery_waits_seconds
        )
        for count in counts
    ]

    assert [5, 60, 300, 1_800, 7_200, 18_000, 28_800, 36_000, None, None] == planned


@pytest.mark.parametrize(
    ("status_code", "expected"),
    [
        (None, False),
        (100, False),
        (199, False),
        (200, True),
        (204, True),
        (299, True),
        (300, False),
        (302, False),
        (410, False),
        (500, False),
    ],
)
def test_success(status_code: int | None, expected: bool) -> None:
    """Exactly the 2xx statuses are successes."""
    attempt = Attempt(1, number=1, attempted_at=NOON, duration=0, status_code=status_code)

    assert expected is attempt.is_success
