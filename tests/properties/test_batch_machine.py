"""Batches under any order of events: steps run twice, die or meet others; invariants hold.

The machine decides which hand-over runs when. At a fault point a step may die, or the batch is
deleted, cancelled, or worked on by another worker meanwhile.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from batchway.errors import Refusal
from batchway.kit.clock import DAY, SECOND
from batchway.lifecycle.cancel import cancel_batch
from batchway.lifecycle.delete import delete_batch
from batchway.lifecycle.retry import retry_batch
from batchway.lifecycle.submit import IdempotentRequest
from batchway.limits import Limits
from batchway.model.batch import Status
from batchway.model.step import Step
from batchway.model.webhook import DeliveryState
from batchway.observers.base import FAULT_POINTS, Event
from batchway.results import Filter
from batchway.store import batch_webhooks, deliveries
from batchway.surfaces.mailchimp.refusals import find_problem
from tests.properties.batch_checks import check_all, check_swept
from tests.properties.batches import (
    URL,
    Bench,
    Died,
    HandOver,
    Known,
    Operation,
    die,
    small_pages,
)
from tests.properties.conftest import Places
from tests.properties.world import Place
from tests.step_runner import BASE

_EXAMPLES = settings().max_examples
_STEPS = 40

_SUBMIT = [Event.SUBMIT_BEFORE_COMMIT, Event.SUBMIT_AFTER_COMMIT]
# Where a step can be struck, by the beginnings of the points' names.
_POINTS = {
    Step.RUN: ("execute", "pages", "finalize"),
    Step.SPLIT: ("split",),
    Step.EXECUTE: ("execute", "pages"),
    Step.FINALIZE: ("finalize",),
    Step.DELIVER: ("deliver",),
}
_WORKED_OUT = [
    Event.EXECUTE_BEFORE_TRANSACTION,
    Event.PAGES_BEFORE_TRANSACTION,
    Event.FINALIZE_AFTER_WRITE,
    Event.DELIVER_AFTER_SEND,
]
_WEEK = Limits.result_days * DAY // SECOND
_WAITS = (1, 4, 3_600, 25 * 3_600, _WEEK)  # seconds; a key lives for 24 hours, a result for a week

numbers = st.integers(0, 1_000)
kinds = st.sampled_from(["add", "add", "add", "add twice", "pages", "page", "nowhere"])
small = st.lists(kinds, max_size=2)
large = st.lists(kinds, min_size=4, max_size=20)
keys = st.sampled_from([None, None, b"first", b"second"])
answers = st.lists(st.sampled_from([200, 200, 500, 302, 503, 0, 410]), max_size=3)
deeds = st.sampled_from(["die", "delete", "stop", "again", "another", "sweep"])
filters = st.sampled_from(
    [Filter(errored=True), Filter(errored=False), Filter(status_code=200), Filter()]
)


class BatchMachine(RuleBasedStateMachine):
    """One account with its batches and webhooks, and the clock."""

    place: Place
    format_name: str

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(self.place, self.format_name)
        self.enabled: set[int] = set()

    # --- What a client does ----------------------------------------------------------------------

    @initialize(given=large, enabled=st.integers(0, 2))
    def begin(self, given: list[str], enabled: int) -> None:
        """Submit a first batch, and create webhooks."""
        for _ in range(enabled):
            self.add_webhook(enabled=True, signing=True)
        self.submit(given, None, None)

    @rule(given=st.one_of(small, large), key=keys, point=st.sampled_from([None] * 6 + _SUBMIT))
    def submit(self, given: list[str], key: bytes | None, point: Event | None) -> None:
        """Submit a batch: it is stored completely or not at all, and once under one key."""
        self._submit(
            [operation for kind in given for operation in self.bench.operation(kind)], key, point
        )

    @rule(key=st.sampled_from([b"first", b"second"]), is_other=st.booleans())
    def submit_again(self, key: bytes, *, is_other: bool) -> None:
        """Use a key a second time, with the same operations or with others."""
        if key in self.bench.keys:
            operations = self.bench.keys[key][0]
            self._submit(operations[:1] if is_other else operations, key, None)

    def _submit(self, operations: list[Operation], key: bytes | None, point: Event | None) -> None:
        bench = self.bench
        body = repr(operations).encode()
        expected = self._expected(operations, key)
        with self.bench.ambush.lay(point, die):
            try:
                batch = bench.submit(operations, IdempotentRequest(key, body) if key else None)
            except Refusal as refusal:
                assert expected == find_problem(refusal).problem.status  # noqa: PT017 - one of the outcomes
                return
            except Died:
                if point is Event.SUBMIT_BEFORE_COMMIT:
                    return
                batch = bench.newest()
        if isinstance(expected, Known):
            assert expected.batch.id == batch.id
            return
        assert expected is None
        known = Known(batch, operations)
        bench.known.append(known)
        if key:
            bench.keys[key] = (operations, known, bench.clock())

    def _expected(self, operations: list[Operation], key: bytes | None) -> Known | int | None:
        """Return the batch of the key, or the status of a refusal, or None for a new batch."""
        bench = self.bench
        use = bench.keys.get(key) if key else None
        if use and use[2] >= bench.clock() - Limits.idempotency_key_seconds * SECOND:
            return use[1] if use[0] == operations and not use[1].is_deleted else 409
        pending = [
            known
            for known in bench.known
            if not known.is_deleted and known.seen and known.seen[0].status is Status.PENDING
        ]
        return 429 if len(pending) >= bench.parts.limits.pending_batches_per_account_max else None

    @precondition(lambda self: self.bench.known)
    @rule(number=numbers, is_stopped=st.booleans())
    def end(self, number: int, *, is_stopped: bool) -> None:
        """Cancel or delete a batch in any status."""
        known = _one_of(self.bench.known, number)
        if is_stopped:
            self._stop(known)
        else:
            self._delete(known)

    def _delete(self, known: Known) -> None:
        is_visible = known in self.bench.visible()
        is_gone = delete_batch(self.bench.parts, self.bench.account_id, known.batch.public_id)
        assert is_visible == is_gone
        known.is_deleted = known.is_deleted or is_gone

    def _stop(self, known: Known) -> None:
        stopped = cancel_batch(self.bench.parts, self.bench.account_id, known.batch.public_id)
        assert bool(stopped) == (known in self.bench.visible())

    @precondition(lambda self: self.bench.known)
    @rule(number=numbers, wanted=filters)
    def retry(self, number: int, wanted: Filter) -> None:
        """Retry the operations with these results as a new batch, each of them once."""
        bench = self.bench
        finished = [known for known in bench.visible() if known.seen[0].status is Status.FINISHED]
        if not finished:
            return
        known = _one_of(finished, number)
        positions = {result[0] for result in known.results if wanted.wants_status(result[2])}
        try:
            batch = retry_batch(bench.parts, bench.identity, BASE, known.seen[0], wanted)
        except Refusal as refusal:
            expected = self._expected([], None) or 400
            assert expected == find_problem(refusal).problem.status  # noqa: PT017 - one of the outcomes
            assert expected == 429 or not positions
            return
        bench.known.append(
            Known(batch, [known.operations[position] for position in sorted(positions)])
        )

    # --- Webhooks --------------------------------------------------------------------------------

    @precondition(lambda self: len(self.bench.webhooks()) < 3)
    @rule(enabled=st.booleans(), signing=st.booleans())
    def add_webhook(self, *, enabled: bool, signing: bool) -> None:
        """Create a webhook; its URL answers the check."""
        self.bench.outside.answers.clear()
        made = self.bench.on_webhook("create", url=URL, enabled=enabled, signing_enabled=signing)
        assert made

    @precondition(lambda self: self.bench.webhooks())
    @rule(
        number=numbers, changes=st.sampled_from(["enable", "disable", "rotate", "delete", "test"])
    )
    def change_webhook(self, number: int, changes: str) -> None:
        """Change a webhook as its owner may at any time."""
        webhook = _one_of(list(self.bench.webhooks().values()), number)
        match changes:
            case "enable" | "disable":
                self.bench.on_webhook("update", webhook, enabled=changes == "enable")
            case _:
                self.bench.on_webhook(changes, webhook)

    @precondition(lambda self: self.bench.webhooks())
    @rule(number=numbers, is_all=st.booleans())
    def send_again(self, number: int, *, is_all: bool) -> None:
        """Resend one delivery, or recover all exhausted ones."""
        bench = self.bench
        webhook_id, public_id = _one_of(list(bench.webhooks().items()), number)
        if is_all:
            bench.on_webhook("recover", public_id, since="2020-01-01T00:00:00+00:00")
            return
        with bench.database.read() as connection:
            webhook = batch_webhooks.get(connection, bench.account_id, webhook_id)
            assert webhook
            found, _ = deliveries.find_page(connection, webhook, None, 100, 0)
        if found:
            delivery = _one_of(found, number)
            done = bench.on_webhook("resend", public_id, delivery.public_id)
            assert bool(done) == (webhook.enabled and delivery.state is not DeliveryState.PENDING)

    # --- What workers do -------------------------------------------------------------------------

    @precondition(lambda self: self.bench.hand_overs())
    @rule(number=numbers, place=numbers, deed=deeds, status_codes=answers)
    def run_struck(self, number: int, place: int, deed: str, status_codes: list[int]) -> None:
        """Run a step; at a fault point it dies, or meets another event."""
        self._set_answers(status_codes)
        self._run_struck(_one_of(self.bench.hand_overs(), number), place, deed, number)

    def _run_struck(self, hand_over: HandOver, place: int, deed: str, number: int) -> None:
        points = [point for point in FAULT_POINTS if point.startswith(_POINTS[hand_over.step])]
        point = _one_of(points, place)
        if point.endswith("before_commit"):
            deed = "die"  # the step holds the database, and nobody else can do anything
        with self.bench.ambush.lay(point, self._deed(deed, hand_over, number)):
            self.bench.run(hand_over)

    @precondition(lambda self: self.bench.hand_overs())
    @rule(number=numbers, place=numbers, times=st.integers(2, 4))
    def run_and_die_again(self, number: int, place: int, times: int) -> None:
        """Run a step that dies several times."""
        hand_over = _one_of(self.bench.hand_overs(), number)
        for _ in range(times):
            self._run_struck(hand_over, place, "die", number)

    @precondition(lambda self: self.bench.hand_overs())
    @rule(number=numbers, deed=st.sampled_from(["again", "again", "delete", "stop", "another"]))
    def run_and_meet(self, number: int, deed: str) -> None:
        """Run a step while another worker is faster to commit."""
        hand_over = _one_of(self.bench.hand_overs(), number)
        with ExitStack() as stack:
            for point in _WORKED_OUT:
                stack.enter_context(
                    self.bench.ambush.lay(point, self._deed(deed, hand_over, number))
                )
            self.bench.run(hand_over)

    @precondition(lambda self: self.bench.hand_overs())
    @rule(number=numbers)
    def run_twice(self, number: int) -> None:
        """Run a step twice, as when it was taken over from a live process."""
        hand_over = _one_of(self.bench.hand_overs(), number)
        self.bench.step(hand_over)
        self.bench.run(hand_over)

    @precondition(lambda self: self.bench.hand_overs())
    @rule(count=st.integers(2, 12), number=numbers, status_codes=answers)
    def run_many(self, count: int, number: int, status_codes: list[int]) -> None:
        """Run several steps without failures."""
        self._set_answers(status_codes)
        for _ in range(count):
            waiting = self.bench.hand_overs()
            if waiting:
                self.bench.run(_one_of(waiting, number))

    def _set_answers(self, status_codes: list[int]) -> None:
        self.bench.outside.answers.clear()
        self.bench.outside.answers.extend(status_codes)

    def _deed(self, name: str, hand_over: HandOver, number: int) -> Callable[[], object]:
        known = self._worked_on(hand_over)
        nothing: Callable[[], object] = bool
        others = [other for other in self.bench.hand_overs() if other != hand_over]
        deeds: dict[str, Callable[[], object]] = {
            "die": die,
            "delete": partial(self._delete, known) if known else nothing,
            "stop": partial(self._stop, known) if known else nothing,
            "again": partial(self.bench.step, hand_over),
            "another": partial(self.bench.run, _one_of(others, number)) if others else nothing,
            "sweep": self.bench.sweep,
        }
        return deeds[name]

    def _worked_on(self, hand_over: HandOver) -> Known | None:
        if hand_over.step is Step.DELIVER:
            return None
        return next(known for known in self.bench.known if known.batch.id == hand_over.key)

    # --- What time does --------------------------------------------------------------------------

    @precondition(lambda self: self.bench.hand_overs())
    @rule(number=numbers)
    def lose(self, number: int) -> None:
        """Lose a hand-over of the engine; the sweep will find it."""
        self.bench.strike_off(_one_of(self.bench.hand_overs(), number))
        self.bench.is_anything_lost = True

    @rule(seconds=st.sampled_from(_WAITS))
    def wait(self, seconds: int) -> None:
        """Let time pass, and sweep."""
        self.bench.clock.now += seconds * SECOND
        self.bench.sweep()
        check_swept(self.bench)

    # --- What always holds -----------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        """Check the invariants after each rule."""
        check_all(self.bench, self.enabled)
        self.enabled = set(self.bench.webhooks(only_enabled=True))

    def teardown(self) -> None:
        """Run all hand-overs; then all batches are finished, and all can be deleted."""
        bench = self.bench
        try:
            self._set_answers([])
            if bench.is_anything_lost:
                bench.sweep()
            bench.drain()
            self.holds()
            for known in bench.visible():
                assert Status.FINISHED is known.seen[0].status
            check_all(bench, self.enabled)
            for known in bench.visible():
                self._delete(known)
            for webhook in bench.webhooks().values():
                bench.on_webhook("delete", webhook)
            bench.sweep()
            check_swept(bench)
        finally:
            bench.forget_engine()


@pytest.fixture(autouse=True)
def limited() -> Iterator[None]:
    """Pages that few items fill."""
    with small_pages():
        yield


def test_batches_on_sqlite(sqlite_places: Places) -> None:
    """The invariants hold for archives with a file for each operation."""
    check(sqlite_places[0], "per-operation", _EXAMPLES // 4)


def test_batches_in_one_file(sqlite_places: Places) -> None:
    """The invariants hold for archives with one file for all results."""
    check(sqlite_places[1], "per-batch", _EXAMPLES // 8)


def test_batches_on_postgres(postgres_places: Places) -> None:
    """The invariants hold on PostgreSQL."""
    check(postgres_places[0], "per-operation", _EXAMPLES // 4)


def check(where: Place, how: str, examples: int) -> None:
    """Run the machine with this number of examples."""

    class Here(BatchMachine):
        place = where
        format_name = how

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=examples,
            stateful_step_count=_STEPS,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


def _one_of(values: Sequence[Any], number: int) -> Any:
    return values[number % len(values)]
