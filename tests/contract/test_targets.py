"""Runs the target suite for each target."""

from collections.abc import Callable, Sequence

import pytest

from batchway.contract.links import Links
from batchway.contract.request import Caller
from batchway.model.operation import Operation
from batchway.store.database import Database
from batchway.targets.base import PlannedTarget
from tests.contract.targets_suite import PlannedTargetSuite, SendingTargetSuite
from tests.scripted_target import ScriptedTarget
from tests.step_runner import BASE, StepRunner, get_audience


class TestBuiltinTarget(PlannedTargetSuite):
    """The audience of this server."""

    @pytest.fixture
    def target(self, runner: StepRunner) -> PlannedTarget:
        """The target of an account with one list."""
        return get_audience(runner.parts)

    @pytest.fixture
    def database(self, runner: StepRunner) -> Database:
        """The database of that account."""
        return runner.parts.database

    @pytest.fixture
    def caller(self, runner: StepRunner) -> Caller:
        """The caller for that account."""
        return Caller(runner.identity.account.id, "", runner.clock(), Links(BASE))

    @pytest.fixture
    def operations(self, runner: StepRunner) -> list[Operation]:
        """Additions of members. The second address is invalid."""
        path = f"/lists/{runner.list_id}/members"
        addresses = ["ann@example.com", "nonsense", "bob@example.com", "cid@example.com"]
        return [
            Operation(
                "POST", path, {}, f'{{"email_address": "{address}", "status": "subscribed"}}', None
            )
            for address in addresses
        ]

    @pytest.fixture
    def count_effects(self, runner: StepRunner) -> Callable[[], int]:
        """Counts the members."""
        return runner.count_members


class TestScriptedTarget(SendingTargetSuite):
    """The sending target of other tests. It shows that the suite can be passed."""

    @pytest.fixture
    def target(self) -> ScriptedTarget:
        """A target whose receiver is a list."""
        return ScriptedTarget()

    @pytest.fixture
    def operations(self) -> list[Operation]:
        """Operations of each kind that sends."""
        scripts = ["ok", "fail", "silent", "ok", "ok"]
        return [Operation("POST", f"/echo/{script}", {}, "{}", None) for script in scripts]

    @pytest.fixture
    def count_effects(self, target: ScriptedTarget) -> Callable[[], int]:
        """Counts the operations that the receiver got."""
        return lambda: len(target.sent)

    @pytest.fixture
    def sent_keys(self, target: ScriptedTarget) -> Callable[[], Sequence[str]]:
        """Returns the keys that the receiver got."""
        return lambda: [sent_operation.key for sent_operation in target.sent]
