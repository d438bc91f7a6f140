"""`POST /batches?validate_only=true`: what would become of a batch, while nothing is kept."""

import gzip
from typing import Any

import pytest

from tests.contract.in_process import Client
from tests.contract.test_submit_options import LINES, PING, body, lines, rows_of
from tests.faults.by_hand import ByHand
from tests.scenario import Operation, add_member
from tests.steps import run

IDS = "id_sequences"
NEW_FIELD = '{"name": "Shoes", "type": "text", "tag": "SHOES"}'


def test_check(hand: ByHand, client: Client) -> None:
    """It tells what would fail, and why; nothing is kept, but the ids that it took."""
    run(hand.parts, hand.submit(hand.additions(3)).id)
    list_path = f"/lists/{hand.list_id}"
    operations: list[Operation] = [
        add_member(hand.list_id, "1@example.com", "exists"),
        add_member(hand.list_id, "new@example.com", "new"),
        add_member(hand.list_id, "nonsense", "nonsense"),
        {"method": "GET", "path": f"{list_path}/members"},
        {"method": "GET", "path": "/nowhere", "operation_id": "lost"},
        {"method": "POST", "path": f"{list_path}/members", "body": {"status": "x"}},
        {"method": "PATCH", "path": list_path, "body": '{"name": "Other"}'},
        {"method": "POST", "path": f"{list_path}/merge-fields", "body": "{}"},
        {"method": "DELETE", "path": f"{list_path}/members/2@example.com"},
        {"method": "POST", "path": "/batches", "body": "{}"},
    ]
    before = _without_ids(hand)

    reply = client.call("POST", "/batches?validate_only=true", content=body(*operations))

    assert 200 == reply.status_code, reply.text
    found = reply.json()
    assert [False, 10, 10, 6] == list(found.values())[:4]
    assert ["errored_operations", "groups", "_links"] == list(found)[3:]
    failed = {sample["position"] for group in found["groups"] for sample in group["samples"]}
    assert {0, 2, 4, 5, 7, 9} == failed
    assert before == _without_ids(hand)
    batch = hand.submit(operations)
    run(hand.parts, batch.id)
    statuses = [each.status_code for each in hand.results(batch) if each.status_code >= 300]
    assert found["errored_operations"] == len(statuses)


@pytest.mark.parametrize("border", [0, 1])
def test_check_of_thousands(hand: ByHand, client: Client, border: int) -> None:
    """All of them are checked, with writes to lists among them or without."""
    run(hand.parts, hand.submit(hand.additions(5)).id)
    operations = hand.additions(2_500)
    path = f"/lists/{hand.list_id}"
    operations += [{"method": "PATCH", "path": path, "body": '{"name":"Other"}'}] * border
    operations += [{"method": "GET", "path": f"{path}/members"}] * 700
    before = _without_ids(hand)

    found = client.call("POST", "/batches?validate_only=1", content=body(*operations)).json()

    assert (False, 3_200 + border, 5) == (
        found["valid"],
        found["total_operations"],
        found["errored_operations"],
    )
    [group] = found["groups"]
    assert (400, "Member Exists", 5) == (group["status_code"], group["title"], group["count"])
    assert before == _without_ids(hand)


@pytest.mark.parametrize("count", [49, 51])
def test_operations_that_are_checked_do_not_see_each_other(
    hand: ByHand, client: Client, count: int
) -> None:
    """Each is checked against what is there now, wherever it stands and whatever the others do."""
    run(hand.parts, hand.submit(hand.additions(1)).id)
    path = f"/lists/{hand.list_id}"
    operations: list[Any] = [
        {"method": "DELETE", "path": path},
        *(add_member(hand.list_id, "twice@example.com") for _ in range(count)),
        {"method": "DELETE", "path": f"{path}/members/twice@example.com"},
        {"method": "DELETE", "path": f"{path}/members/0@example.com"},
        {"method": "GET", "path": f"{path}/members/0@example.com"},
        {"method": "GET", "path": f"{path}/members/twice@example.com"},
        {"method": "POST", "path": f"{path}/merge-fields", "body": NEW_FIELD},
        {"method": "POST", "path": f"{path}/merge-fields", "body": NEW_FIELD},
        {"method": "GET", "path": path},
    ]
    before = _without_ids(hand)

    found = client.call("POST", "/batches?validate_only=1", content=body(*operations)).json()

    failed = {sample["position"] for group in found["groups"] for sample in group["samples"]}
    assert ({count + 1, count + 4}, 2) == (failed, found["errored_operations"])
    assert before == _without_ids(hand)


def test_check_of_what_is_right(hand: ByHand, client: Client) -> None:
    """It is valid: alone, compressed, as lines, with a key, and even if it is nothing."""
    operations = hand.additions(10)
    before = _without_ids(hand)
    sent: list[tuple[bytes, dict[str, str]]] = [
        (body(*operations), {}),
        (gzip.compress(body(*operations), mtime=0), {"Content-Encoding": "gzip"}),
        (lines(*operations), {"Content-Type": LINES}),
        (body(*operations), {"Idempotency-Key": "k"}),
        (body(), {}),
    ]

    replies = [
        client.call("POST", "/batches?validate_only=TRUE", content=content, headers=headers).json()
        for content, headers in sent
    ]

    assert [(True, 10)] * 4 + [(True, 0)] == [
        (each["valid"], each["checked_operations"]) for each in replies
    ]
    assert [[]] * 5 == [each["groups"] for each in replies]
    assert before == _without_ids(hand)


def test_check_that_does_not_come_to_its_end(hand: ByHand) -> None:
    """Nothing wrong was found, but it is not known whether all is right."""
    hand.limit(check_seconds_max=-1)
    client = Client(hand.app.asgi())

    content = body(*hand.additions(3))
    found = client.call("POST", "/batches?validate_only=true", content=content).json()

    assert [False, 3, 0, 0] == list(found.values())[:4]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"operations":[{"method":"GET"}]}', b"{"])
def test_check_of_a_wrong_shape(hand: ByHand, client: Client, content: bytes) -> None:
    """It is refused as it would be without the check."""
    checked = client.call("POST", "/batches?validate_only=true", content=content)
    plain = client.call("POST", "/batches", content=content)

    assert 400 == checked.status_code == plain.status_code
    assert plain.json() | {"instance": ""} == checked.json() | {"instance": ""}
    assert [] == rows_of(hand, "batches")


@pytest.mark.parametrize("flag", ["false", "0", "", "yes"])
def test_no_check(hand: ByHand, client: Client, flag: str) -> None:
    """Anything but `true` and `1` asks for the batch itself."""
    reply = client.call("POST", f"/batches?validate_only={flag}", content=body(PING))

    assert "pending" == reply.json()["status"]
    assert 1 == len(rows_of(hand, "batches"))


def _without_ids(hand: ByHand) -> dict[str, list[str]]:
    return {name: rows for name, rows in hand.snapshot().items() if not name.endswith(f".{IDS}")}
