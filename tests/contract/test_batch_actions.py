"""Actions on a batch: retry, cancel, delete.

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
from tests.contract.large_batches import submit_large_batch
from tests.contract.shared_servers import Api, check_problem
from tests.scenario import NOWHERE, PING, add_member
from tests.step_runner import LARGE, StepRunner
from tests.steps import execute, execute_whole, finalize, run, split

NDJSON = {"Accept": "application/x-ndjson"}
RUNNING = Limits.running_batches_per_account_max


# --- Retry ---------------------------------------------------------------------------------------


def test_retry(own_api: Api) -> None:
    """The failed operations run as a new batch, which names the batch that it repeats."""
    list_id = own_api.new_list()
    path = f"/lists/{list_id}/members"
    later = {"method": "PATCH", "path": f"{path}/b@example.com", "body": '{"vip":true}'}
    first = own_api.submit(
        add_member(list_id, "a@example.com", "a"), later | {"operation_id": "b"}, NOWHERE, PING
    )
    own_api.wait_until_finished(first)
    own_api.call_ok("POST", path, {"email_address": "b@example.com", "status": "subscribed"})

    repeated = own_api.call_ok("POST", f"/batches/{first}/actions/retry")

    assert ("pending", 2) == (repeated["status"], repeated["total_operations"])
    results = own_api.server.get_results(repeated["id"])
    assert [(200, "b"), (404, None)] == [
        (result.status_code, result.operation_id) for result in results
    ]
    assert True is results[0].response["vip"]
    events = own_api.http.get(
        f"{own_api.server.url}/3.0/batches/{repeated['id']}/events",
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
        ("?operation_id=repeated", [2]),
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
    """The filters select the operations, in their order; a paged GET is repeated once."""
    monkeypatch.setattr(limits, "page_count_max", 2)
    run(runner.parts, runner.submit(runner.make_additions(5)).id)
    operations = [
        NOWHERE,
        {"method": "GET", "path": f"/lists/{runner.list_id}/members", "operation_id": "all"},
        add_member(runner.list_id, "1@example.com", "repeated"),
        PING,
        NOWHERE | {"operation_id": "last"},
    ]
    batch = runner.submit(operations)
    run(runner.parts, batch.id)

    repeated = client.call("POST", f"/batches/{batch.public_id}/actions/retry{params}").json()

    path = f"/batches/{repeated['id']}/operations"
    found = [client.call("GET", f"{path}/{number}").json() for number in range(len(positions))]
    assert len(positions) == repeated["total_operations"]
    for position, shown in zip(positions, found, strict=True):
        wanted = operations[position]
        assert (wanted["path"], wanted.get("operation_id")) == (
            shown["path"],
            shown["operation_id"],
        )


@pytest.mark.parametrize("filters", ["?status_code=500", "?operation_id=nobody", ""])
def test_nothing_to_retry(api: Api, filters: str) -> None:
    """A retry without operations is refused."""
    batch_id = api.wait_until_finished(api.submit(PING))["id"]

    reply = api.call("POST", f"/batches/{batch_id}/actions/retry{filters}")

    check_problem(reply, 400, "Bad Request")


def test_retry_before_the_end(runner: StepRunner, client: AsgiClient) -> None:
    """A retry is refused until the batch is finished."""
    batch = submit_large_batch(runner)
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
    repeated = client.call("POST", f"/batches/{batch.public_id}/actions/retry").json()
    now = _now(runner, batch)
    assert now.errored_operations == repeated["total_operations"]


# --- Cancel --------------------------------------------------------------------------------------


def test_cancel_before_the_beginning(runner: StepRunner, client: AsgiClient) -> None:
    """No operation of a cancelled batch runs, and each has a result that says so."""
    batch = runner.submit(runner.make_additions(20))

    _cancel(runner, client, batch)
    run(runner.parts, batch.id)

    assert [499] * 20 == _get_statuses(runner, batch)
    assert {"Operation Cancelled"} == {
        result.response["title"] for result in runner.read_results(batch)
    }
    assert (20, 20) == _get_counters(runner, batch)
    assert 0 == runner.count_members()


@pytest.mark.parametrize("size", [20, LARGE])
def test_cancel_of_a_batch_that_is_held(runner: StepRunner, client: AsgiClient, size: int) -> None:
    """A held batch that is cancelled does not wait for running batches."""
    running = [runner.submit([PING] * 501) for _ in range(RUNNING)]
    held = runner.submit([PING] * size)
    for batch in (*running, held):
        split(runner.parts, batch.id)
    assert "pending" == runner.get_status(held)

    _cancel(runner, client, held)
    _finish(runner, held)

    assert [499] * size == _get_statuses(runner, held)
    assert ["started"] * RUNNING == [runner.get_status(batch) for batch in running]


def test_cancel_between_two_chunks(runner: StepRunner, client: AsgiClient) -> None:
    """Executed operations keep their results; the others are cancelled."""
    batch = runner.submit(runner.make_additions(LARGE))
    split(runner.parts, batch.id)
    execute(runner.parts, batch.id, 1)

    _cancel(runner, client, batch)
    _finish(runner, batch)

    assert [499] * 5_000 + [200] * 1_000 == _get_statuses(runner, batch)
    assert (LARGE, 5_000) == _get_counters(runner, batch)
    assert 1_000 == runner.count_members()
    assert [str(number) for number in range(LARGE)] == [
        result.operation_id for result in runner.read_results(batch)
    ]
    reply = client.call("POST", f"/batches/{batch.public_id}/actions/retry")
    assert 5_000 == reply.json()["total_operations"]


@pytest.mark.parametrize("border", [False, True])
def test_cancel_while_a_chunk_is_executed(
    runner: StepRunner, client: AsgiClient, border: bool
) -> None:
    """No operation takes effect after the call, whether it was planned or not."""
    operations = runner.make_additions(600)
    if border:
        path = f"/lists/{runner.list_id}"
        operations[300] = {"method": "PATCH", "path": path, "body": '{"name":"Other"}'}
    batch = runner.submit(operations)
    split(runner.parts, batch.id)

    def cancel_once(_: Sequence[StoredOperation]) -> None:
        if not _now(runner, batch).is_cancelling:
            _cancel(runner, client, batch)

    execute(runner.make_interrupted_parts(cancel_once), batch.id, 0)
    _finish(runner, batch)

    assert [499] * 600 == _get_statuses(runner, batch)
    assert 0 == runner.count_members()
    assert "Readers" == runner.call("GET", f"/lists/{runner.list_id}")["name"]


def test_cancel_twice(runner: StepRunner, client: AsgiClient) -> None:
    """A second cancel changes nothing."""
    batch = runner.submit(runner.make_additions(LARGE))
    split(runner.parts, batch.id)
    path = f"/batches/{batch.public_id}/actions/cancel"

    runner.run_twice(lambda: client.call("POST", path))


@pytest.mark.parametrize("status", ["finalizing", "finished"])
def test_cancel_too_late(runner: StepRunner, client: AsgiClient, status: str) -> None:
    """A batch whose operations are done finishes as if it had not been cancelled."""
    batch = runner.submit(runner.make_additions(20))
    split(runner.parts, batch.id)
    execute(runner.parts, batch.id, 0)
    if status == "finished":
        finalize(runner.parts, batch.id)
    path = f"/batches/{batch.public_id}/actions/cancel"

    runner.check_no_effect(lambda: client.call("POST", path))
    _finish(runner, batch)

    assert [200] * 20 == _get_statuses(runner, batch)
    assert status == client.call("POST", path).json()["status"] or status == "finalizing"


def test_cancel_on_a_running_server(own_api: Api) -> None:
    """A cancelled batch finishes, and every operation has its result."""
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
    """The results are gone at once; the sweep removes all rows of the batch and no others."""
    other = runner.submit(runner.make_additions(3))
    run(runner.parts, other.id)
    headers = {"Idempotency-Key": "k"}
    content = json.dumps({"operations": [NOWHERE] * LARGE}).encode()
    batch_id = client.call("POST", "/batches", content=content, headers=headers).json()["id"]
    batch = _find_batch(runner, batch_id)
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
    assert {} == _count_rows(runner, batch)
    assert [other.public_id] == list(runner.parts.archive.list_keys())
    assert (3, 0) == _get_counters(runner, other)


# --- Helpers -------------------------------------------------------------------------------------


def _cancel(runner: StepRunner, client: AsgiClient, batch: Batch) -> None:
    reply = client.call("POST", f"/batches/{batch.public_id}/actions/cancel")
    assert (200, batch.public_id) == (reply.status_code, reply.json()["id"])
    assert _now(runner, batch).is_cancelling


def _finish(runner: StepRunner, batch: Batch) -> None:
    split(runner.parts, batch.id)
    while waiting := runner.get_waiting_chunks(batch):
        execute(runner.parts, batch.id, waiting[-1])
    finalize(runner.parts, batch.id)
    assert "finished" == runner.get_status(batch)


def _get_statuses(runner: StepRunner, batch: Batch) -> list[int]:
    return [result.status_code for result in runner.read_results(batch)]


def _get_counters(runner: StepRunner, batch: Batch) -> tuple[int, int]:
    now = _now(runner, batch)
    assert now.total_operations == now.finished_operations
    return now.finished_operations, now.errored_operations


def _now(runner: StepRunner, batch: Batch) -> Batch:
    found = runner.load_batch(batch)
    assert found
    return found


def _find_batch(runner: StepRunner, public_id: str) -> Batch:
    with runner.parts.database.read() as connection:
        found = batches.find(
            connection, runner.identity.account.id, public_id, runner.parts.get_results_since()
        )
    assert found
    return found


def _count_rows(runner: StepRunner, batch: Batch) -> dict[str, int]:
    """Return the number of rows of a batch in each table that has some."""
    names = ("batch_inputs", "chunks", "segments", "segment_data", "deliveries", "idempotency_keys")
    found = {}
    with runner.parts.database.read() as connection:
        for name, column in (("batches", "id"), *((name, "batch_id") for name in names)):
            statement = text(f"SELECT count(*) FROM {name} WHERE {column} = :id")
            found[name] = connection.execute(statement, {"id": batch.id}).scalar_one()
    return {name: count for name, count in found.items() if count}
