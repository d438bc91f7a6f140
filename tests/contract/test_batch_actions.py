"""What is done with a batch: its operations are tried again, it is cancelled, it is deleted.

What happens while a batch runs is done by hand, between two of its chunks.
"""

import json
from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import text

from batchway import limits
from batchway.lifecycle.sweep import sweep
from batchway.limits import Limits
from batchway.model.batch import Batch
from batchway.model.operation import Operation as StoredOperation
from batchway.store import batches
from tests.contract.in_process import Client
from tests.contract.running import Api, check_problem
from tests.faults.by_hand import ByHand
from tests.scenario import Operation, add_member
from tests.steps import execute, execute_whole, finalize, run, split

PING = {"method": "GET", "path": "/ping"}
LOST = {"method": "GET", "path": "/nowhere"}
NDJSON = {"Accept": "application/x-ndjson"}
LARGE = 6_000  # operations: two chunks
RUNNING = Limits.running_batches_per_account_max


# --- Retry ---------------------------------------------------------------------------------------


def test_retry(own_api: Api) -> None:
    """The operations that failed run again as a new batch, which tells what it repeats."""
    list_id = own_api.new_list()
    path = f"/lists/{list_id}/members"
    later = {"method": "PATCH", "path": f"{path}/b@example.com", "body": '{"vip":true}'}
    first = own_api.submit(
        add_member(list_id, "a@example.com", "a"), later | {"operation_id": "b"}, LOST, PING
    )
    own_api.finished(first)
    own_api.done("POST", path, {"email_address": "b@example.com", "status": "subscribed"})

    again = own_api.done("POST", f"/batches/{first}/actions/retry")

    assert ("pending", 2) == (again["status"], again["total_operations"])
    results = own_api.server.results(again["id"])
    assert [(200, "b"), (404, None)] == [(each.status_code, each.operation_id) for each in results]
    assert True is results[0].response["vip"]
    events = own_api.http.get(
        f"{own_api.server.url}/3.0/batches/{again['id']}/events",
        auth=("any", own_api.server.key),
        headers={"Accept": "application/json"},
    )
    assert first == events.json()["retry_of"]


@pytest.mark.parametrize(
    ("params", "positions"),
    [
        ("", [0, 2, 4]),
        ("?errored=true", [0, 2, 4]),
        ("?status_code=404", [0, 4]),
        ("?status_code=200", [1, 3]),
        ("?status_code=200&errored=false", [1, 3]),
        ("?status_code=", [0, 2, 4]),
        ("?operation_id=again", [2]),
        ("?path=/nowhere&operation_id=last", [4]),
        ("?errored=false", [1, 3]),
    ],
)
def test_what_is_retried(
    hand: ByHand,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    params: str,
    positions: list[int],
) -> None:
    """What the filters say, in the order of the operations; a paged GET once."""
    monkeypatch.setattr(limits, "page_count_max", 2)
    run(hand.parts, hand.submit(hand.additions(5)).id)
    operations = [
        LOST,
        {"method": "GET", "path": f"/lists/{hand.list_id}/members", "operation_id": "all"},
        add_member(hand.list_id, "1@example.com", "again"),
        PING,
        LOST | {"operation_id": "last"},
    ]
    batch = hand.submit(operations)
    run(hand.parts, batch.id)

    again = client.call("POST", f"/batches/{batch.public_id}/actions/retry{params}").json()

    path = f"/batches/{again['id']}/operations"
    found = [client.call("GET", f"{path}/{each}").json() for each in range(len(positions))]
    assert len(positions) == again["total_operations"]
    for position, each in zip(positions, found, strict=True):
        wanted = operations[position]
        assert (wanted["path"], wanted.get("operation_id")) == (each["path"], each["operation_id"])


@pytest.mark.parametrize("filters", ["?status_code=500", "?operation_id=nobody", ""])
def test_nothing_to_retry(api: Api, filters: str) -> None:
    """It is refused, and no batch is made."""
    batch_id = api.finished(api.submit(PING))["id"]

    reply = api.call("POST", f"/batches/{batch_id}/actions/retry{filters}")

    check_problem(reply, 400, "Bad Request")


def test_retry_before_the_end(hand: ByHand, client: Client) -> None:
    """It is refused in every status but the last."""
    batch = _large(hand)
    steps: list[Callable[[], object]] = [
        lambda: None,
        lambda: split(hand.parts, batch.id),
        lambda: execute_whole(hand.parts, batch.id, 0),
        lambda: execute_whole(hand.parts, batch.id, 1),
    ]
    for step in steps:
        step()
        reply = client.call("POST", f"/batches/{batch.public_id}/actions/retry")
        assert "not finished" in check_problem(reply, 409, "Conflict")["detail"]

    finalize(hand.parts, batch.id)
    again = client.call("POST", f"/batches/{batch.public_id}/actions/retry").json()
    now = _now(hand, batch)
    assert now.errored_operations == again["total_operations"]


# --- Cancel --------------------------------------------------------------------------------------


def test_cancel_before_the_beginning(hand: ByHand, client: Client) -> None:
    """Nothing is run; each operation's result says so."""
    batch = hand.submit(hand.additions(20))

    _cancelled(hand, client, batch)
    run(hand.parts, batch.id)

    assert [499] * 20 == _statuses(hand, batch)
    assert {"Operation Cancelled"} == {each.response["title"] for each in hand.results(batch)}
    assert (20, 20) == _counters(hand, batch)
    assert 0 == hand.member_count()


@pytest.mark.parametrize("size", [20, LARGE])
def test_cancel_of_a_batch_that_is_held(hand: ByHand, client: Client, size: int) -> None:
    """It does not wait for those that run before it."""
    running = [hand.submit([PING] * 501) for _ in range(RUNNING)]
    held = hand.submit([PING] * size)
    for batch in (*running, held):
        split(hand.parts, batch.id)
    assert "pending" == hand.status(held)

    _cancelled(hand, client, held)
    _to_the_end(hand, held)

    assert [499] * size == _statuses(hand, held)
    assert ["started"] * RUNNING == [hand.status(batch) for batch in running]


def test_cancel_between_two_chunks(hand: ByHand, client: Client) -> None:
    """What is done stays done; the others are cancelled, and the archive is whole."""
    batch = hand.submit(hand.additions(LARGE))
    split(hand.parts, batch.id)
    execute(hand.parts, batch.id, 1)

    _cancelled(hand, client, batch)
    _to_the_end(hand, batch)

    assert [499] * 5_000 + [200] * 1_000 == _statuses(hand, batch)
    assert (LARGE, 5_000) == _counters(hand, batch)
    assert 1_000 == hand.member_count()
    assert [str(each) for each in range(LARGE)] == [
        each.operation_id for each in hand.results(batch)
    ]
    reply = client.call("POST", f"/batches/{batch.public_id}/actions/retry")
    assert 5_000 == reply.json()["total_operations"]


@pytest.mark.parametrize("border", [False, True])
def test_cancel_while_a_chunk_is_worked_out(hand: ByHand, client: Client, border: bool) -> None:
    """No operation takes effect after the call, whether it was planned or in its transaction."""
    operations = hand.additions(600)
    if border:
        path = f"/lists/{hand.list_id}"
        operations[300] = {"method": "PATCH", "path": path, "body": '{"name":"Other"}'}
    batch = hand.submit(operations)
    split(hand.parts, batch.id)

    def cancel_once(_: Sequence[StoredOperation]) -> None:
        if not _now(hand, batch).is_cancelling:
            _cancelled(hand, client, batch)

    execute(hand.interrupted(cancel_once), batch.id, 0)
    _to_the_end(hand, batch)

    assert [499] * 600 == _statuses(hand, batch)
    assert 0 == hand.member_count()
    assert "By hand" == hand.call("GET", f"/lists/{hand.list_id}")["name"]


def test_cancel_twice(hand: ByHand, client: Client) -> None:
    """The second call finds the batch as the first one left it."""
    batch = hand.submit(hand.additions(LARGE))
    split(hand.parts, batch.id)
    path = f"/batches/{batch.public_id}/actions/cancel"

    hand.twice(lambda: client.call("POST", path))


@pytest.mark.parametrize("status", ["finalizing", "finished"])
def test_cancel_too_late(hand: ByHand, client: Client, status: str) -> None:
    """A batch that is done stays as it is, and ends as it would have."""
    batch = hand.submit(hand.additions(20))
    split(hand.parts, batch.id)
    execute(hand.parts, batch.id, 0)
    if status == "finished":
        finalize(hand.parts, batch.id)
    path = f"/batches/{batch.public_id}/actions/cancel"

    hand.idle(lambda: client.call("POST", path))
    _to_the_end(hand, batch)

    assert [200] * 20 == _statuses(hand, batch)
    assert status == client.call("POST", path).json()["status"] or status == "finalizing"


def test_cancel_on_a_running_server(own_api: Api) -> None:
    """The batch ends soon, as any other; every operation has its result."""
    batch_id = own_api.submit(*[PING | {"operation_id": each} for each in range(12_000)])

    cancelled = own_api.done("POST", f"/batches/{batch_id}/actions/cancel")

    assert batch_id == cancelled["id"]
    batch = own_api.finished(batch_id)
    results = own_api.server.results(batch_id)
    assert [str(each) for each in range(12_000)] == [each.operation_id for each in results]
    assert {each.status_code for each in results} <= {200, 499}
    assert batch["errored_operations"] == sum(each.status_code == 499 for each in results)


# --- Delete --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["pending", "started", "finalizing", "finished"])
def test_delete(hand: ByHand, client: Client, status: str) -> None:
    """Its results are gone at once, the sweep leaves no row of it, and others are untouched."""
    other = hand.submit(hand.additions(3))
    run(hand.parts, other.id)
    headers = {"Idempotency-Key": "k"}
    content = json.dumps({"operations": [LOST] * LARGE}).encode()
    batch_id = client.call("POST", "/batches", content=content, headers=headers).json()["id"]
    batch = _of(hand, batch_id)
    steps: dict[str, Callable[[], object]] = {
        "pending": lambda: None,
        "preprocessing": lambda: split(hand.parts, batch.id),
        "started": lambda: execute(hand.parts, batch.id, 0),
        "finalizing": lambda: execute(hand.parts, batch.id, 1),
        "finished": lambda: finalize(hand.parts, batch.id),
    }
    for name, step in steps.items():
        step()
        if name == status:
            break
    assert status == hand.status(batch)
    link = client.call("GET", f"/batches/{batch_id}").json()["response_body_url"]

    assert 204 == client.call("DELETE", f"/batches/{batch_id}").status_code

    for path in ("", "/operations", "/operations/0", "/errors", "/events"):
        reply = client.call("GET", f"/batches/{batch_id}{path}")
        check_problem(reply, 404, "Resource Not Found")
    for path in ("actions/cancel", "actions/retry"):
        reply = client.call("POST", f"/batches/{batch_id}/{path}")
        check_problem(reply, 404, "Resource Not Found")
    if link:
        assert 404 == client.fetch(link).status_code
    sweep(hand.parts, lambda _: ())
    hand.clock.now += (Limits.idempotency_key_seconds + 1) * 1_000_000
    sweep(hand.parts, lambda _: ())
    assert {} == _rows_of(hand, batch)
    assert [other.public_id] == list(hand.parts.archive.keys())
    assert (3, 0) == _counters(hand, other)


# --- What the tests say --------------------------------------------------------------------------


def _large(hand: ByHand) -> Batch:
    """Of each ten operations the first is lost, and the second adds the same member."""
    operations: list[Operation] = []
    for position in range(LARGE):
        operation = PING
        if position % 10 == 0:
            operation = LOST
        elif position % 10 == 1:
            operation = add_member(hand.list_id, "0@example.com")
        operations.append(operation | {"operation_id": str(position)})
    # The second chunk may run first, so that the member is to be there before.
    if hand.member_count() == 0:
        run(hand.parts, hand.submit(hand.additions(1)).id)
    operations[1] = PING | {"operation_id": "1"}
    return hand.submit(operations)


def _cancelled(hand: ByHand, client: Client, batch: Batch) -> None:
    reply = client.call("POST", f"/batches/{batch.public_id}/actions/cancel")
    assert (200, batch.public_id) == (reply.status_code, reply.json()["id"])
    assert _now(hand, batch).is_cancelling


def _to_the_end(hand: ByHand, batch: Batch) -> None:
    split(hand.parts, batch.id)
    while waiting := hand.waiting(batch):
        execute(hand.parts, batch.id, waiting[-1])
    finalize(hand.parts, batch.id)
    assert "finished" == hand.status(batch)


def _statuses(hand: ByHand, batch: Batch) -> list[int]:
    return [each.status_code for each in hand.results(batch)]


def _counters(hand: ByHand, batch: Batch) -> tuple[int, int]:
    now = _now(hand, batch)
    assert now.total_operations == now.finished_operations
    return now.finished_operations, now.errored_operations


def _now(hand: ByHand, batch: Batch) -> Batch:
    found = hand.batch(batch)
    assert found
    return found


def _of(hand: ByHand, public_id: str) -> Batch:
    with hand.parts.database.read() as connection:
        found = batches.find(
            connection, hand.identity.account.id, public_id, hand.parts.get_results_since()
        )
    assert found
    return found


def _rows_of(hand: ByHand, batch: Batch) -> dict[str, int]:
    """How many rows of a batch there are, by table."""
    names = ("batch_inputs", "chunks", "segments", "segment_data", "deliveries", "idempotency_keys")
    found = {}
    with hand.parts.database.read() as connection:
        for name, column in (("batches", "id"), *((name, "batch_id") for name in names)):
            statement = text(f"SELECT count(*) FROM {name} WHERE {column} = :id")
            found[name] = connection.execute(statement, {"id": batch.id}).scalar_one()
    return {name: count for name, count in found.items() if count}
