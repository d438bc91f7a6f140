"""`POST /batches?validate_only=true` checks a batch and stores nothing."""

import gzip
from typing import Any

import pytest

from tests.contract.asgi_client import AsgiClient
from tests.contract.test_submit_options import LINES, make_body, make_lines, read_rows
from tests.scenario import PING, Operation, add_member
from tests.step_runner import StepRunner
from tests.steps import run

IDS = "id_sequences"
NEW_FIELD = '{"name": "Shoes", "type": "text", "tag": "SHOES"}'


def test_check(runner: StepRunner, client: AsgiClient) -> None:
    """The reply says what would fail and why; nothing is stored except reserved ids."""
    run(runner.parts, runner.submit(runner.make_additions(3)).id)
    list_path = f"/lists/{runner.list_id}"
    operations: list[Operation] = [
        add_member(runner.list_id, "1@example.com", "exists"),
        add_member(runner.list_id, "new@example.com", "new"),
        add_member(runner.list_id, "nonsense", "nonsense"),
        {"method": "GET", "path": f"{list_path}/members"},
        {"method": "GET", "path": "/nowhere", "operation_id": "lost"},
        {"method": "POST", "path": f"{list_path}/members", "body": {"status": "x"}},
        {"method": "PATCH", "path": list_path, "body": '{"name": "Other"}'},
        {"method": "POST", "path": f"{list_path}/merge-fields", "body": "{}"},
        {"method": "DELETE", "path": f"{list_path}/members/2@example.com"},
        {"method": "POST", "path": "/batches", "body": "{}"},
    ]
    before = _take_snapshot_without_ids(runner)

    reply = client.call("POST", "/batches?validate_only=true", content=make_body(*operations))

    assert 200 == reply.status_code, reply.text
    found = reply.json()
    assert [False, 10, 10, 6] == list(found.values())[:4]
    assert ["errored_operations", "groups", "_links"] == list(found)[3:]
    failed = {sample["position"] for group in found["groups"] for sample in group["samples"]}
    assert {0, 2, 4, 5, 7, 9} == failed
    assert before == _take_snapshot_without_ids(runner)
    batch = runner.submit(operations)
    run(runner.parts, batch.id)
    statuses = [
        result.status_code for result in runner.read_results(batch) if result.status_code >= 300
    ]
    assert found["errored_operations"] == len(statuses)


@pytest.mark.parametrize("border", [0, 1])
def test_check_of_thousands(runner: StepRunner, client: AsgiClient, border: int) -> None:
    """All operations are checked, with or without writes to lists among them."""
    run(runner.parts, runner.submit(runner.make_additions(5)).id)
    operations = runner.make_additions(2_500)
    path = f"/lists/{runner.list_id}"
    operations += [{"method": "PATCH", "path": path, "body": '{"name":"Other"}'}] * border
    operations += [{"method": "GET", "path": f"{path}/members"}] * 700
    before = _take_snapshot_without_ids(runner)

    found = client.call("POST", "/batches?validate_only=1", content=make_body(*operations)).json()

    assert (False, 3_200 + border, 5) == (
        found["valid"],
        found["total_operations"],
        found["errored_operations"],
    )
    [group] = found["groups"]
    assert (400, "Member Exists", 5) == (group["status_code"], group["title"], group["count"])
    assert before == _take_snapshot_without_ids(runner)


@pytest.mark.parametrize("count", [49, 51])
def test_operations_that_are_checked_do_not_see_each_other(
    runner: StepRunner, client: AsgiClient, count: int
) -> None:
    """Each operation is checked against the stored state only."""
    run(runner.parts, runner.submit(runner.make_additions(1)).id)
    path = f"/lists/{runner.list_id}"
    operations: list[Any] = [
        {"method": "DELETE", "path": path},
        *(add_member(runner.list_id, "twice@example.com") for _ in range(count)),
        {"method": "DELETE", "path": f"{path}/members/twice@example.com"},
        {"method": "DELETE", "path": f"{path}/members/0@example.com"},
        {"method": "GET", "path": f"{path}/members/0@example.com"},
        {"method": "GET", "path": f"{path}/members/twice@example.com"},
        {"method": "POST", "path": f"{path}/merge-fields", "body": NEW_FIELD},
        {"method": "POST", "path": f"{path}/merge-fields", "body": NEW_FIELD},
        {"method": "GET", "path": path},
    ]
    before = _take_snapshot_without_ids(runner)

    found = client.call("POST", "/batches?validate_only=1", content=make_body(*operations)).json()

    failed = {sample["position"] for group in found["groups"] for sample in group["samples"]}
    assert ({count + 1, count + 4}, 2) == (failed, found["errored_operations"])
    assert before == _take_snapshot_without_ids(runner)


def test_check_of_what_is_right(runner: StepRunner, client: AsgiClient) -> None:
    """A valid batch passes in each form: compressed, as lines, with a key, and empty."""
    operations = runner.make_additions(10)
    before = _take_snapshot_without_ids(runner)
    sent: list[tuple[bytes, dict[str, str]]] = [
        (make_body(*operations), {}),
        (gzip.compress(make_body(*operations), mtime=0), {"Content-Encoding": "gzip"}),
        (make_lines(*operations), {"Content-Type": LINES}),
        (make_body(*operations), {"Idempotency-Key": "k"}),
        (make_body(), {}),
    ]

    replies = [
        client.call("POST", "/batches?validate_only=TRUE", content=content, headers=headers).json()
        for content, headers in sent
    ]

    assert [(True, 10)] * 4 + [(True, 0)] == [
        (reply["valid"], reply["checked_operations"]) for reply in replies
    ]
    assert [[]] * 5 == [reply["groups"] for reply in replies]
    assert before == _take_snapshot_without_ids(runner)


def test_check_that_does_not_come_to_its_end(runner: StepRunner) -> None:
    """A check that runs out of time does not say that the batch is valid."""
    runner.set_limits(check_seconds_max=-1)
    client = AsgiClient(runner.app.asgi())

    content = make_body(*runner.make_additions(3))
    found = client.call("POST", "/batches?validate_only=true", content=content).json()

    assert [False, 3, 0, 0] == list(found.values())[:4]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"operations":[{"method":"GET"}]}', b"{"])
def test_check_of_a_wrong_shape(runner: StepRunner, client: AsgiClient, content: bytes) -> None:
    """An invalid body is refused as without the check."""
    checked = client.call("POST", "/batches?validate_only=true", content=content)
    plain = client.call("POST", "/batches", content=content)

    assert 400 == checked.status_code == plain.status_code
    assert plain.json() | {"instance": ""} == checked.json() | {"instance": ""}
    assert [] == read_rows(runner, "batches")


@pytest.mark.parametrize("flag", ["false", "0", "", "yes"])
def test_no_check(runner: StepRunner, client: AsgiClient, flag: str) -> None:
    """Any value except `true` and `1` submits the batch."""
    reply = client.call("POST", f"/batches?validate_only={flag}", content=make_body(PING))

    assert "pending" == reply.json()["status"]
    assert 1 == len(read_rows(runner, "batches"))


def _take_snapshot_without_ids(runner: StepRunner) -> dict[str, list[str]]:
    return {
        name: rows for name, rows in runner.take_snapshot().items() if not name.endswith(f".{IDS}")
    }
