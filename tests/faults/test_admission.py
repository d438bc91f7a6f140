"""As many batches of an account run as may; those that were turned away begin when one ends."""

from collections.abc import Iterator, Sequence

import pytest

from batchway import limits
from batchway.lifecycle.delete import delete_batch
from batchway.lifecycle.sweep import sweep
from batchway.limits import Limits
from batchway.model.batch import Batch
from batchway.model.step import StepName, WrittenHandOver
from batchway.store import batches as store
from tests.faults.by_hand import ByHand, opened_by_hand
from tests.scenario import Operation, Server
from tests.steps import run, split

LARGE = Limits.small_batch_operations_max + 1
RUNNING = Limits.running_batches_per_account_max
PING: Operation = {"method": "GET", "path": "/ping"}


@pytest.fixture
def hand(server: Server) -> Iterator[ByHand]:
    """The steps, on each database in turn."""
    with opened_by_hand(server) as opened:
        yield opened


def test_one_more_than_may_run_is_held(hand: ByHand) -> None:
    """It stays pending, and begins once another batch is gone."""
    held = _fill(hand)

    hand.idle(lambda: split(hand.parts, held.id))
    assert "pending" == hand.status(held)
    assert delete_batch(hand.parts, held.account_id, _running(hand).public_id)
    split(hand.parts, held.id)

    assert "started" == hand.status(held)


def test_each_end_hands_one_held_batch_over(hand: ByHand) -> None:
    """The oldest first, and each of them once."""
    first = _fill(hand)
    second = hand.submit([PING] * LARGE)
    split(hand.parts, second.id)

    assert [True, True] == [_is_held(hand, first), _is_held(hand, second)]
    assert delete_batch(hand.parts, first.account_id, _running(hand).public_id)
    assert [False, True] == [_is_held(hand, first), _is_held(hand, second)]
    assert delete_batch(hand.parts, first.account_id, _running(hand).public_id)
    assert [False, False] == [_is_held(hand, first), _is_held(hand, second)]


def test_a_batch_that_nobody_turned_away_is_not_handed_over_again(hand: ByHand) -> None:
    """Its first hand-over is still under way."""
    ends, waits = hand.submit([PING]), hand.submit([PING])
    before = hand.batch(waits)
    run(hand.parts, ends.id)

    assert "finished" == hand.status(ends)
    assert before == hand.batch(waits)


def test_the_sweep_leaves_held_batches_alone_while_there_is_no_room(hand: ByHand) -> None:
    """And hands them over when there is, should the hand-over have been lost."""
    held = _fill(hand)
    asked: list[int] = []
    hand.clock.now += int(2 * limits.overdue_seconds * 1_000_000)

    def note(written: Sequence[WrittenHandOver]) -> list[StepName]:
        asked.extend(each.name.key for each in written)
        return []

    sweep(hand.parts, note)
    assert held.id not in asked
    assert RUNNING == len(set(asked))
    assert delete_batch(hand.parts, held.account_id, _running(hand).public_id)
    sweep(hand.parts, note)
    assert held.id in asked


def _fill(hand: ByHand) -> Batch:
    """Start as many batches as may run, and one more, which is answered."""
    batches = [hand.submit([PING] * LARGE) for _ in range(RUNNING + 1)]
    for batch in batches:
        split(hand.parts, batch.id)
    assert RUNNING == sum(hand.status(batch) == "started" for batch in batches)
    return batches[-1]


def _running(hand: ByHand) -> Batch:
    """Some batch that runs."""
    numbers = range(1, RUNNING + 1)
    found = (_get(hand, number) for number in numbers)
    return next(batch for batch in found if batch is not None and batch.is_running)


def _get(hand: ByHand, batch_id: int) -> Batch | None:
    with hand.parts.database.read() as connection:
        return store.get(connection, batch_id)


def _is_held(hand: ByHand, batch: Batch) -> bool:
    now = hand.batch(batch)
    assert now
    return now.is_held
