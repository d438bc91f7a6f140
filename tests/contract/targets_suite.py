"""Tests for every target. The test class of a target inherits the suite of its kind."""

from collections.abc import Callable, Sequence

import pytest

from batchway.contract.links import Links
from batchway.contract.request import Caller, Request
from batchway.contract.response import Response
from batchway.kit.clock import SECOND
from batchway.model.operation import Operation
from batchway.model.result import Result
from batchway.store.database import Database
from batchway.targets.base import (
    OutgoingOperation,
    PlannedTarget,
    Sending,
    SendingTarget,
    Slice,
    Target,
)
from tests.step_runner import BASE

NOW = 1_795_435_200 * SECOND


class TargetSuite:
    """What every target must do.

    A test class provides the fixtures. `operations` are at least four, with different effects; the
    second one fails.
    """

    @pytest.fixture
    def target(self) -> Target:
        """The target under test."""
        raise NotImplementedError

    @pytest.fixture
    def caller(self) -> Caller:
        """An account that may call the target."""
        return Caller(1, "An account", NOW, Links(BASE))

    @pytest.fixture
    def operations(self) -> list[Operation]:
        """Operations that the target answers."""
        raise NotImplementedError

    @pytest.fixture
    def count_effects(self) -> Callable[[], int]:
        """A function that counts the operations that have taken effect."""
        raise NotImplementedError

    def test_check_has_no_effect(
        self,
        target: Target,
        caller: Caller,
        operations: list[Operation],
        count_effects: Callable[[], int],
    ) -> None:
        """A check returns a result for each operation, and has no effect."""
        results = target.check(caller, operations)

        assert len(operations) == len(results)
        assert 0 == count_effects()

    def test_no_operations_are_checked(self, target: Target, caller: Caller) -> None:
        """A check of no operations has no results."""
        assert [] == list(target.check(caller, []))

    def test_single_call_is_answered(
        self, target: Target, caller: Caller, operations: list[Operation]
    ) -> None:
        """A call that is not part of a batch gets its response."""
        first = operations[0]
        body = None if first.body is None else first.body.encode()

        response = target.answer_single(caller, Request(first.method, first.path, {}, body))

        assert isinstance(response, Response)
        assert 200 == response.status


class PlannedTargetSuite(TargetSuite):
    """What targets must do that take effect within our transaction."""

    @pytest.fixture
    def database(self) -> Database:
        """The database that the target writes to."""
        raise NotImplementedError

    def test_plan_takes_effect_when_it_is_written(
        self,
        target: PlannedTarget,
        database: Database,
        caller: Caller,
        operations: list[Operation],
        count_effects: Callable[[], int],
    ) -> None:
        """Only `write` has effects; results are in order, and one operation fails alone."""
        plan = target.plan(caller, operations)
        plan.prepare()
        before = count_effects()
        with database.write() as connection:
            plan.write(connection)

        assert [200, 400, *[200] * (len(operations) - 2)] == status_codes(plan.results)
        assert (0, len(operations) - 1) == (before, count_effects())

    def test_plan_that_is_rolled_back(
        self,
        target: PlannedTarget,
        database: Database,
        caller: Caller,
        operations: list[Operation],
        count_effects: Callable[[], int],
    ) -> None:
        """A plan that is rolled back has no effect, and the same results when planned again."""
        plan = target.plan(caller, operations)
        with database.write() as connection:
            savepoint = connection.begin_nested()
            plan.write(connection)
            savepoint.rollback()

        assert [200, 400] == status_codes(plan.results[:2])
        assert 0 == count_effects()
        assert [200, 400] == status_codes(target.plan(caller, operations[:2]).results)

    def test_operations_are_answered_within_a_transaction(
        self,
        target: PlannedTarget,
        database: Database,
        caller: Caller,
        operations: list[Operation],
        count_effects: Callable[[], int],
    ) -> None:
        """The results are those of a plan, and the effects commit with the transaction."""
        with database.write() as connection:
            savepoint = connection.begin_nested()
            target.answer_within(connection, caller, operations)
            savepoint.rollback()
        before = count_effects()
        with database.write() as connection:
            results = target.answer_within(connection, caller, operations)

        assert [200, 400, *[200] * (len(operations) - 2)] == status_codes(results)
        assert (0, len(operations) - 1) == (before, count_effects())

    def test_no_operations_are_planned(self, target: PlannedTarget, caller: Caller) -> None:
        """A plan of no operations has no results."""
        assert [] == list(target.plan(caller, []).results)


class SendingTargetSuite(TargetSuite):
    """What targets must do that send operations to other systems."""

    @pytest.fixture
    def sent_keys(self) -> Callable[[], Sequence[str]]:
        """A function that returns the keys that the receiver has seen, in any order."""
        raise NotImplementedError

    def test_each_operation_is_in_one_slice(
        self,
        target: SendingTarget,
        caller: Caller,
        operations: list[Operation],
        sent_keys: Callable[[], Sequence[str]],
    ) -> None:
        """Each operation has one result or is postponed once; the receiver sees each key once."""
        slices = list(target.send(make_sending(caller, operations)))

        positions = [position for part in slices for position in positions_in(part)]
        assert list(range(len(operations))) == sorted(positions)
        assert sorted(f"key {number}" for number in range(len(operations))) == sorted(sent_keys())

    def test_nothing_is_sent_while_it_stops(
        self,
        target: SendingTarget,
        caller: Caller,
        operations: list[Operation],
        count_effects: Callable[[], int],
    ) -> None:
        """A batch that is cancelled before its first operation was sent sends none."""
        slices = list(target.send(make_sending(caller, operations, lambda: True)))

        assert [] == [position for part in slices for position in positions_in(part)]
        assert 0 == count_effects()

    def test_iterator_may_be_closed(
        self,
        target: SendingTarget,
        caller: Caller,
        operations: list[Operation],
        count_effects: Callable[[], int],
    ) -> None:
        """After the iterator is closed, nothing more is sent."""
        slices = target.send(make_sending(caller, operations))
        next(slices)
        slices.close()
        count = count_effects()

        assert [] == list(slices)
        assert count == count_effects()


def make_sending(
    caller: Caller, operations: Sequence[Operation], is_stopping: Callable[[], bool] = bool
) -> Sending:
    """Return the operations of a batch, with keys that contain their positions."""
    outgoing = [
        OutgoingOperation(position, operation, f"key {position}")
        for position, operation in enumerate(operations)
    ]
    return Sending(caller, outgoing, is_stopping)


def positions_in(part: Slice) -> list[int]:
    """Return the positions of the operations in a slice."""
    return [*part.results, *(part.postponed.positions if part.postponed else ())]


def status_codes(results: Sequence[Result]) -> list[int]:
    """Return the status code of each result."""
    return [result.status_code for result in results]
