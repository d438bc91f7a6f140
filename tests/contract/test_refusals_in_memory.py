"""A call that is refused leaves nothing in memory, however often it is sent."""

import gc
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest

from batchway.contract.links import Links
from batchway.contract.problems import Refused
from batchway.contract.request import Caller, Request
from batchway.contract.response import Response
from batchway.errors import Stale
from batchway.kit.ids import compute_subscriber_hash
from batchway.model.operation import Operation
from batchway.targets.base import PlannedTarget
from tests.step_runner import BASE, StepRunner, get_audience

COUNT = 5
PADDING = "x" * 10_000
MEMBER = f"/members/{compute_subscriber_hash('ann@example.com')}"

# Calls below /lists/{list_id} that are refused, each at another place.
WRONG: dict[str, tuple[str, str, str]] = {
    "no JSON": ("PUT", MEMBER, f'{{"email_address": "{PADDING}'),
    "wrong type": ("PUT", MEMBER, f'{{"email_address": 5, "language": "{PADDING}"}}'),
    "wrong type in a POST": ("POST", "/members", f'{{"vip": "{PADDING}"}}'),
    "wrong address": ("POST", "/members", f'{{"email_address": "{PADDING}", "status": "pending"}}'),
    "wrong status": ("PATCH", MEMBER, f'{{"status": "{PADDING}"}}'),
    "wrong status of a new member": (
        "PUT",
        MEMBER,
        f'{{"email_address": "ann@example.com", "status_if_new": "{PADDING}"}}',
    ),
    "wrong merge field": (
        "POST",
        "/members",
        f'{{"email_address": "a@example.com", "status": "pending", "merge_fields": ["{PADDING}"]}}',
    ),
    "no member": ("PATCH", MEMBER, f'{{"language": "en", "source": "{PADDING}"}}'),
    "wrong tags": ("POST", f"{MEMBER}/tags", f'{{"tags": "{PADDING}"}}'),
    "wrong members": ("POST", "", f'{{"members": "{PADDING}"}}'),
    "wrong member": ("POST", "", f'{{"members": [{{"email_address": "{PADDING}"}}]}}'),
    "wrong list": ("PATCH", "", f'{{"name": {{"{PADDING}": 1}}}}'),
    "wrong merge field type": ("POST", "/merge-fields", f'{{"type": "{PADDING}"}}'),
    "no method": ("PUT", "/members", f'"{PADDING}"'),
    "no route": ("POST", "/nowhere", f'"{PADDING}"'),
}


def answer_alone(
    target: PlannedTarget, caller: Caller, operations: Sequence[Operation]
) -> list[int]:
    """Answer each call alone."""
    return [
        target.answer_single(caller, make_request(operation)).status for operation in operations
    ]


def answer_together(
    target: PlannedTarget, caller: Caller, operations: Sequence[Operation]
) -> list[int]:
    """Answer the calls as a set."""
    responses = target.answer_set(caller, [make_request(operation) for operation in operations])
    return [response.status for response in responses if isinstance(response, Response)]


def check(target: PlannedTarget, caller: Caller, operations: Sequence[Operation]) -> list[int]:
    """Answer the calls without effect."""
    return [result.status_code for result in target.check(caller, operations)]


def make_request(operation: Operation) -> Request:
    """Return an operation as a single call."""
    body = (operation.body or "").encode()
    return Request(operation.method, operation.path, operation.params, body)


def answer_planned(target: PlannedTarget, caller: Caller, operations: Sequence[Operation]) -> None:
    """Plan the calls as operations of a chunk."""
    with suppress(Stale):  # plain writes cannot be planned
        target.plan(caller, operations)


def make_caller(runner: StepRunner) -> Caller:
    """Return the caller of the account."""
    return Caller(runner.identity.account.id, "", runner.clock(), Links(BASE))


def find_refusals() -> list[str]:
    """Return the details of all refusals that are in memory."""
    gc.collect()
    return [each.problem.detail for each in gc.get_objects() if type(each) is Refused]


def make_operation(runner: StepRunner, name: str) -> Operation:
    """Return one of the wrong calls."""
    method, path, body = WRONG[name]
    return Operation(method, f"/lists/{runner.list_id}{path}", {}, body, None)


def test_the_calls_are_refused(runner: StepRunner) -> None:
    """Each call gets the same 4xx in all ways; only members of a subscribe call fail in a 200."""
    target, caller = get_audience(runner.parts), make_caller(runner)
    for name in WRONG:
        operations = [make_operation(runner, name)] * 2
        statuses = {
            status
            for way in (answer_alone, answer_together, check)
            for status in way(target, caller, operations)
        }
        assert 1 == len(statuses), name
        assert statuses == {200} if name == "wrong member" else statuses < set(range(400, 500))


@pytest.mark.parametrize("way", [answer_alone, answer_together, check, answer_planned])
def test_refusals_are_released(
    runner: StepRunner,
    way: Callable[[PlannedTarget, Caller, Sequence[Operation]], object],
) -> None:
    """No refusal, and so nothing of its request, stays in memory after the reply."""
    target, caller = get_audience(runner.parts), make_caller(runner)
    before = find_refusals()

    for name in WRONG:
        way(target, caller, [make_operation(runner, name)] * COUNT)

    assert before == find_refusals()


def test_refusals_within_a_transaction_are_released(runner: StepRunner) -> None:
    """The same if calls are answered within a write transaction."""
    target, caller = get_audience(runner.parts), make_caller(runner)
    before = find_refusals()

    for name in WRONG:
        with runner.parts.database.write() as connection:
            target.answer_within(connection, caller, [make_operation(runner, name)] * COUNT)

    assert before == find_refusals()
