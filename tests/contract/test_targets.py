"""Every target keeps the promise of its kind."""

from collections.abc import Callable, Sequence

import pytest

from batchway.contract.links import Links
from batchway.contract.request import Caller
from batchway.model.operation import Operation
from batchway.store.database import Database
from batchway.targets.base import PlannedTarget
from tests.contract.targets_suite import PlannedTargetSuite, SendingTargetSuite
from tests.faults.by_hand import BASE, ByHand, audience
from tests.scripted_target import ScriptedTarget


class TestBuiltinTarget(PlannedTargetSuite):
    """The audience of this server."""

    @pytest.fixture
    def target(self, hand: ByHand) -> PlannedTarget:
        """The target of an account with one list."""
        return audience(hand.parts)

    @pytest.fixture
    def database(self, hand: ByHand) -> Database:
        """The database of that account."""
        return hand.parts.database

    @pytest.fixture
    def caller(self, hand: ByHand) -> Caller:
        """That account."""
        return Caller(hand.identity.account.id, "", hand.clock(), Links(BASE))

    @pytest.fixture
    def operations(self, hand: ByHand) -> list[Operation]:
        """Members to be added; the second address is none."""
        path = f"/lists/{hand.list_id}/members"
        addresses = ["ann@example.com", "nonsense", "bob@example.com", "cid@example.com"]
        return [
            Operation(
                "POST", path, {}, f'{{"email_address": "{each}", "status": "subscribed"}}', None
            )
            for each in addresses
        ]

    @pytest.fixture
    def count_effects(self, hand: ByHand) -> Callable[[], int]:
        """The members that were added."""
        return hand.member_count


class TestScriptedTarget(SendingTargetSuite):
    """The sending target that other tests use; it shows that the promise can be kept."""

    @pytest.fixture
    def target(self) -> ScriptedTarget:
        """A target whose receiver is a list."""
        return ScriptedTarget()

    @pytest.fixture
    def operations(self) -> list[Operation]:
        """One of each kind that sends."""
        scripts = ["ok", "fail", "silent", "ok", "ok"]
        return [Operation("POST", f"/echo/{each}", {}, "{}", None) for each in scripts]

    @pytest.fixture
    def count_effects(self, target: ScriptedTarget) -> Callable[[], int]:
        """What the receiver has got."""
        return lambda: len(target.sent)

    @pytest.fixture
    def sent_keys(self, target: ScriptedTarget) -> Callable[[], Sequence[str]]:
        """The keys that the receiver has got."""
        return lambda: [each.key for each in target.sent]
