"""What is done with a batch: its operations are tried again, it is cancelled, it is deleted.

Tests that act on a running batch execute its steps themselves.
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
from tests.contract.asgi_client import AsgiClient
from tests.contract.shared_servers import Api, check_problem
from tests.scenario import Operation, add_member
from tests.step_runner import StepRunner
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
    own_api.wait_until_finished(first)
    own_api.call_ok("POST", path, {"email_address": "b@example.com", "status": "subscribed"})

    again = own_api.call_ok("POST", f"/batches/{first}/actions/retry")

    assert ("pending", 2) == (again["status"], again["total_operations"])
    results = own_api.server.get_results(again["id"])
    assert [(200, "b"), (404, None)] == [
        (result.status_code, result.operation_id) for result in results
    ]
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
    runner: StepRunner,
    client: AsgiClient,
    monkeypatch: pytest.MonkeyPatch,
    params: str,
    positions: list[int],
) -> None:
    """What the filters say, in the order of the operations; a paged GET once."""
    monkeypatch.setattr(limits, "page_count_max", 2)
    run(runner.parts, runner.submit(runner.make_additions(5)).id)
    operations = [
        LOST,
        {"method": "GET", "path": f"/lists/{runner.list_id}/members", "operation_id": "all"},
        add_member(runner.list_id, "1@example.com", "again"),
        PING,
        LOST | {"operation_id": "last"},
    ]
    batch = runner.submit(operations)
    run(runner.parts, batch.id)

    again = client.call("POST", f"/batches/{batch.public_id}/actions/retry{params}").json()

    path = f"/batches/{again['id']}/operations"
    found = [client.call("GET", f"{path}/{number}").json() for number in range(len(positions))]
    assert len(positions) == again["total_operations"]
    for position, repeated in zip(positions, found, strict=True):
        wanted = operations[position]
        assert (wanted["path"], wanted.get("operation_id")) == (
            repeated["path"],
            repeated["operation_id"],
        )


@pytest.mark.parametrize("filters", ["?status_code=500", "?operation_id=nobody", ""])
def test_nothing_to_retry(api: Api, filters: str) -> None:
    """It is refused, and no batch is made."""
    batch_id = api.wait_until_finished(api.submit(PING))["id"]

    reply = api.call("POST", f"/batches/{batch_id}/actions/retry{filters}")

    check_problem(reply, 400, "Bad Request")


def test_retry_before_the_end(runner: StepRunner, client: AsgiClient) -> None:
    """It is refused in every status but the last."""
    batch = _large(runner)
    steps: list[Callable[[], object]] = [
        lambda: None,
        lambda: split(runner.parts, batch.id),
        lambda: execute_whole(runner.parts, batch.id, 0),
        lambda: execute_whole(runner.parts, batch.id, 1),
    ]
    for step in steps:
        step()
        reply = client.call("POST", f"/batches/{batch.public_id}/actions/retry")
        assert "not finished" in check_problem(reply, 409, "Conflict")["detail"]

    finalize(runner.parts, batch.id)
    again = client.call("POST", f"/batches/{batch.public_id}/actions/retry").json()
    now = _now(runner, batch)
    assert now.errored_operations == again["total_operations"]


# --- Cancel --------------------------------------------------------------------------------------


def test_cancel_before_the_beginning(runner: StepRunner, client: AsgiClient) -> None:
    """Nothing is run; each operation's result says so."""
    batch = runner.submit(runner.make_additions(20))

    _cancelled(runner, client, batch)
    run(runner.parts, batch.id)

    assert [499] * 20 == _statuses(runner, batch)
    assert {"Operation Cancelled"} == {
        result.response["title"] for result in runner.read_results(batch)
    }
    assert (20, 20) == _counters(runner, batch)
    assert 0 == runner.count_members()


@pytest.mark.parametrize("size", [20, LARGE])
def test_cancel_of_a_batch_that_is_held(runner: StepRunner, client: AsgiClient, size: int) -> None:
    """It does not wait for those that run before it."""
    running = [runner.submit([PING] * 501) for _ in range(RUNNING)]
    held = runner.submit([PING] * size)
    for batch in (*running, held):
        split(runner.parts, batch.id)
    assert "pending" == runner.get_status(held)

    _cancelled(runner, client, held)
    _to_the_end(runner, held)

    assert [499] * size == _statuses(runner, held)
    assert ["started"] * RUNNING == [runner.get_status(batch) for batch in running]


def test_cancel_between_two_chunks(runner: StepRunner, client: AsgiClient) -> None:
    """What is done stays done; the others are cancelled, and the archive is whole."""
    batch = runner.submit(runner.make_additions(LARGE))
    split(runner.parts, batch.id)
    execute(runner.parts, batch.id, 1)

    _cancelled(runner, client, batch)
    _to_the_end(runner, batch)

    assert [499] * 5_000 + [200] * 1_000 == _statuses(runner, batch)
    assert (LARGE, 5_000) == _counters(runner, batch)
    assert 1_000 == runner.count_members()
    assert [str(number) for number in range(LARGE)] == [
        result.operation_id for result in runner.read_results(batch)
    ]
    reply = client.call("POST", f"/batches/{batch.public_id}/actions/retry")
    assert 5_000 == reply.json()["total_operations"]


@pytest.mark.parametrize("border", [False, True])
def test_cancel_while_a_chunk_is_worked_out(
    runner: StepRunner, client: AsgiClient, border: bool
) -> None:
    """No operation takes effect after the call, whether it was planned or in its transaction."""
    operations = runner.make_additions(600)
    if border:
        path = f"/lists/{runner.list_id}"
        operations[300] = {"method": "PATCH", "path": path, "body": '{"name":"Other"}'}
    batch = runner.submit(operations)
    split(runner.parts, batch.id)

    def cancel_once(_: Sequence[StoredOperation]) -> None:
        if not _now(runner, batch).is_cancelling:
            _cancelled(runner, client, batch)

    execute(runner.make_interrupted_parts(cancel_once), batch.id, 0)
    _to_the_end(runner, batch)

    assert [499] * 600 == _statuses(runner, batch)
    assert 0 == runner.count_members()
    assert "Readers" == runner.call("GET", f"/lists/{runner.list_id}")["name"]


def test_cancel_twice(runner: StepRunner, client: AsgiClient) -> None:
    """The second call finds the batch as the first one left it."""
    batch = runner.submit(runner.make_additions(LARGE))
    split(runner.parts, batch.id)
    path = f"/batches/{batch.public_id}/actions/cancel"

    runner.run_twice(lambda: client.call("POST", path))


@pytest.mark.parametrize("status", ["finalizing", "finished"])
def test_cancel_too_late(runner: StepRunner, client: AsgiClient, status: str) -> None:
    """A batch that is done stays as it is, and ends as it would have."""
    batch = runner.submit(runner.make_additions(20))
    split(runner.parts, batch.id)
    execute(runner.parts, batch.id, 0)
    if status == "finished":
        finalize(runner.parts, batch.id)
    path = f"/batches/{batch.public_id}/actions/cancel"

    runner.check_no_effect(lambda: client.call("POST", path))
    _to_the_end(runner, batch)

    assert [200] * 20 == _statuses(runner, batch)
    assert status == client.call("POST", path).json()["status"] or status == "finalizing"


def test_cancel_on_a_running_server(own_api: Api) -> None:
    """The batch ends soon, as any other; every operation has its result."""
    batch_id = own_api.submit(*[PING | {"operation_id": number} for number in range(12_000)])

    cancelled = own_api.call_ok("POST", f"/batches/{batch_id}/actions/cancel")

    assert batch_id == cancelled["id"]
    batch = own_api.wait_until_finished(batch_id)
    results = own_api.server.get_results(batch_id)
    assert [str(number) for number in range(12_000)] == [result.operation_id for result in results]
    assert {result.status_code for result in results} <= {200, 499}
    assert batch["errored_operations"] == sum(result.status_code == 499 for result in results)


# --- Delete --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["pending", "started", "finalizing", "finished"])
def test_delete(runner: StepRunner, client: AsgiClient, status: str) -> None:
    """Its results are gone at once, the sweep leaves no row of it, and others are untouched."""
    other = runner.submit(runner.make_additions(3))
    run(runner.parts, other.id)
    headers = {"Idempotency-Key": "k"}
    content = json.dumps({"operations": [LOST] * LARGE}).encode()
    batch_id = client.call("POST", "/batches", content=content, headers=headers).json()["id"]
    batch = _of(runner, batch_id)
    steps: dict[str, Callable[[], object]] = {
        "pending": lambda: None,
        "preprocessing": lambda: split(runner.parts, batch.id),
        "started": lambda: execute(runner.parts, batch.id, 0),
        "finalizing": lambda: execute(runner.parts, batch.id, 1),
        "finished": lambda: finalize(runner.parts, batch.id),
    }
    for name, step in steps.items():
        step()
        if name == status:
            break
    assert status == runner.get_status(batch)
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
    sweep(runner.parts, lambda _: ())
    runner.clock.now += (Limits.idempotency_key_seconds + 1) * 1_000_000
    sweep(runner.parts, lambda _: ())
    assert {} == _rows_of(runner, batch)
    assert [other.public_id] == list(runner.parts.archive.keys())
    assert (3, 0) == _counters(runner, other)


# --- What the tests say --------------------------------------------------------------------------


def _large(runner: StepRunner) -> Batch:
    """Of each ten operations the first is lost, and the second adds the same member."""
    operations: list[Operation] = []
    for position in range(LARGE):
        operation = PING
        if position % 10 == 0:
            operation = LOST
        elif position % 10 == 1:
            operation = add_member(runner.list_id, "0@example.com")
        operations.append(operation | {"operation_id": str(position)})
    # The second chunk may run first, so that the member is to be there before.
    if runner.count_members() == 0:
        run(runner.parts, runner.submit(runner.make_additions(1)).id)
    operations[1] = PING | {"operation_id": "1"}
    return runner.submit(operations)


def _cancelled(runner: StepRunner, client: AsgiClient, batch: Batch) -> None:
    reply = client.call("POST", f"/batches/{batch.public_id}/actions/cancel")
    assert (200, batch.public_id) == (reply.status_code, reply.json()["id"])
    assert _now(runner, batch).is_cancelling


def _to_the_end(runner: StepRunner, batch: Batch) -> None:
    split(runner.parts, batch.id)
    while waiting := runner.get_waiting_chunks(batch):
        execute(runner.parts, batch.id, waiting[-1])
    finalize(runner.parts, batch.id)
    assert "finished" == runner.get_status(batch)


def _statuses(runner: StepRunner, batch: Batch) -> list[int]:
    return [result.status_code for result in runner.read_results(batch)]


def _counters(runner: StepRunner, batch: Batch) -> tuple[int, int]:
    now = _now(runner, batch)
    assert now.total_operations == now.finished_operations
    return now.finished_operations, now.errored_operations


def _now(runner: StepRunner, batch: Batch) -> Batch:
    found = runner.load_batch(batch)
    assert found
    return found


def _of(runner: StepRunner, public_id: str) -> Batch:
    with runner.parts.database.read() as connection:
        found = batches.find(
            connection, runner.identity.account.id, public_id, runner.parts.get_results_since()
        )
    assert found
    return found


def _rows_of(runner: StepRunner, batch: Batch) -> dict[str, int]:
    """How many rows of a batch there are, by table."""
    names = ("batch_inputs", "chunks", "segments", "segment_data", "deliveries", "idempotency_keys")
    found = {}
    with runner.parts.database.read() as connection:
        for name, column in (("batches", "id"), *((name, "batch_id") for name in names)):
            statement = text(f"SELECT count(*) FROM {name} WHERE {column} = :id")
            found[name] = connection.execute(statement, {"id": batch.id}).scalar_one()
    return {name: count for name, count in found.items() if count}
