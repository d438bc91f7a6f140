"""The number of simultaneous attempts, and how long the other deliveries are postponed."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest

from batchway import limits
from batchway.kit.clock import SECOND, Microseconds
from batchway.lifecycle.delivery_slots import DeliverySlots
from batchway.model.webhook import BatchWebhook
from tests.unit.test_webhook import NOON, WEBHOOK

OTHERS = replace(WEBHOOK, id=100, account_id=2)
OF_WEBHOOK = limits.webhook_attempts_at_once_max
OF_ACCOUNT = limits.account_attempts_at_once_max
POLL = limits.delivery_poll_seconds
SLOW_AFTER = int(limits.slow_attempt_seconds * SECOND)


@dataclass
class Clock:
    """A clock that shows noon until a test changes it."""

    now: Microseconds = NOON

    def __call__(self) -> Microseconds:
        """Return the time."""
        return self.now


class ImpatientSlots:
    """Slots for which no thread waits."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.slots = DeliverySlots(self.clock, wait_seconds_max=0)

    def begin(self, under_way: ExitStack, begun: Sequence[BatchWebhook]) -> list[float]:
        """Begin attempts, and return how long each is postponed instead."""
        return [under_way.enter_context(self.slots.take(webhook)) for webhook in begun]

    def away(self, webhook: BatchWebhook, after: Microseconds = 0) -> float:
        """Return how long a delivery of the webhook would be postponed at this time after noon."""
        self.clock.now = NOON + after
        with self.slots.take(webhook) as away_seconds:
            return away_seconds


@pytest.fixture
def under_way() -> Iterator[ExitStack]:
    """Attempts that run until the end of a test."""
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def slots() -> ImpatientSlots:
    """The slots of a process."""
    return ImpatientSlots()


def webhooks(count: int, *, failing: bool = False) -> list[BatchWebhook]:
    """Some webhooks of one account."""
    since = NOON if failing else None
    return [replace(WEBHOOK, id=number, failing_since=since) for number in range(1, count + 1)]


def test_slots_of_a_webhook(slots: ImpatientSlots, under_way: ExitStack) -> None:
    """A webhook has four slots; others are postponed by a quarter of the oldest attempt's age."""
    one, other = webhooks(2)

    assert [0] * OF_WEBHOOK == slots.begin(under_way, [one] * OF_WEBHOOK)
    assert POLL / OF_WEBHOOK == slots.away(one)
    assert 1 / OF_WEBHOOK == slots.away(one, SECOND)
    assert 0 == slots.away(other)


def test_slots_of_an_account(slots: ImpatientSlots, under_way: ExitStack) -> None:
    """An account has four times as many slots, independent of other accounts."""
    *begun, last = webhooks(OF_ACCOUNT + 1)

    assert [0] * OF_ACCOUNT == slots.begin(under_way, begun)
    assert POLL / OF_WEBHOOK == slots.away(last) == slots.away(last, 60 * SECOND)
    assert 0 == slots.away(OTHERS)


def test_a_slot_is_given_back(slots: ImpatientSlots) -> None:
    """The end of an attempt frees its slot; an attempt that did not begin frees none."""
    [one] = webhooks(1)
    for _ in range(2):
        with ExitStack() as under_way:
            assert [0] * OF_WEBHOOK == slots.begin(under_way, [one] * OF_WEBHOOK)
            assert [True] * 2 == [slots.away(one) > 0 for _ in range(2)]


def test_an_attempt_that_hangs(slots: ImpatientSlots, under_way: ExitStack) -> None:
    """After two seconds of an attempt, no other attempt of its webhook begins."""
    [one] = webhooks(1)
    slots.begin(under_way, [one])

    assert 0 == slots.away(one, SLOW_AFTER - 1)
    assert limits.slow_attempt_seconds == slots.away(one, SLOW_AFTER)
    assert 9 == slots.away(one, 9 * SECOND)


def test_webhooks_that_fail(slots: ImpatientSlots, under_way: ExitStack) -> None:
    """A failing webhook has one slot, and all of an account have two; others are not affected."""
    one, two, three = webhooks(3, failing=True)

    assert [0] == slots.begin(under_way, [one])
    assert 1 == slots.away(one, SECOND)
    slots.clock.now = NOON
    assert [0] == slots.begin(under_way, [two])
    assert 1 == slots.away(three, SECOND)
    assert 0 == slots.away(replace(three, failing_since=None), SECOND)
    assert 0 == slots.away(replace(OTHERS, failing_since=NOON), SECOND)


def test_attempts_that_hang_count_as_failing(slots: ImpatientSlots, under_way: ExitStack) -> None:
    """Two hanging attempts leave no slot to failing webhooks, and one to others."""
    one, two, three = webhooks(3)
    slots.begin(under_way, [one, two])

    failing = replace(three, failing_since=NOON)
    assert 0 == slots.away(failing, SLOW_AFTER - 1)
    assert limits.slow_attempt_seconds == slots.away(failing, SLOW_AFTER)
    assert 0 == slots.away(three, SLOW_AFTER)


def test_a_thread_that_waits_for_a_slot() -> None:
    """A waiting thread gets the slot of an attempt that ends."""
    slots, [one] = DeliverySlots(Clock(), wait_seconds_max=60), webhooks(1)

    def begin() -> float:
        with slots.take(one) as away_seconds:
            return away_seconds

    with ThreadPoolExecutor(OF_ACCOUNT) as threads:
        with ExitStack() as under_way:
            for _ in range(OF_WEBHOOK):
                under_way.enter_context(slots.take(one))
            waiting = [threads.submit(begin) for _ in range(OF_ACCOUNT - OF_WEBHOOK)]
        assert [0] * len(waiting) == [future.result() for future in waiting]


def test_threads_do_not_wait_for_those_that_are_slow() -> None:
    """A delivery of a failing webhook is postponed without a wait."""
    slots, [one] = DeliverySlots(Clock(), wait_seconds_max=60), webhooks(1, failing=True)

    with slots.take(one), slots.take(one) as away_seconds:
        assert POLL == away_seconds
