"""Results and errors of a batch, while it runs and afterwards.

Tests that read results while a batch runs execute its steps themselves.
"""

import json
from typing import Any

import httpx
import pytest

from batchway import limits
from batchway.limits import Limits
from batchway.model.batch import Batch
from tests.contract.asgi_client import AsgiClient
from tests.contract.large_batches import submit_large_batch
from tests.contract.shared_servers import Api, check_problem, get_field_errors
from tests.scenario import NOWHERE, PING
from tests.step_runner import LARGE, StepRunner
from tests.steps import execute_whole, finalize, run, split

NDJSON = {"Accept": "application/x-ndjson"}
LINE_FIELDS: list[tuple[str, set[str]]] = [
    ("fields=position,response.health_status", {"position", "response"}),
    ("exclude_fields=response,path,method,page,operation_id", {"position", "status_code"}),
]
RUNNING = Limits.running_batches_per_account_max


# --- The list of results -------------------------------------------------------------------------


def test_operations_of_a_large_batch(runner: StepRunner, client: AsgiClient) -> None:
    """Pages and filters find the right results with the right totals, also in a running batch."""
    batch = submit_large_batch(runner)
    split(runner.parts, batch.id)
    assert ([], 0) == _list_positions(client, batch)
    execute_whole(runner.parts, batch.id, 1)
    assert ([5_000, 5_001], 1_000) == _list_positions(client, batch, count=2)
    _check_listed(client, batch, range(5_000, LARGE))

    execute_whole(runner.parts, batch.id, 0)
    _check_listed(client, batch, range(LARGE))
    finalize(runner.parts, batch.id)
    _check_listed(client, batch, range(LARGE))


def _check_listed(client: AsgiClient, batch: Batch, done: range) -> None:
    """Check the pages and filters of a batch from `submit_large_batch`."""
    lost, again = (
        set(done[::10]),
        {position for position in done if position % 10 == 1 and position != 1},
    )
    wanted: list[tuple[dict[str, Any], set[int]]] = [
        ({}, set(done)),
        ({"status_code": 404}, lost),
        ({"status_code": 400}, again),
        ({"status_code": 500}, set()),
        ({"errored": "true"}, lost | again),
        ({"errored": "0"}, set(done) - lost - again),
        ({"errored": "true", "status_code": 200}, set()),
        ({"path": "/nowhere"}, lost),
        ({"operation_id": "5123"}, {5_123} & set(done)),
        ({"operation_id": "5120", "path": "/nowhere", "errored": "true"}, {5_120} & set(done)),
        ({"operation_id": "5120", "errored": "false"}, set()),
        ({"operation_id": ""}, set()),
    ]
    for params, positions in wanted:
        for offset in (0, len(positions) - 1, len(positions), len(positions) // 2):
            expected = sorted(positions)[max(offset, 0) :][:7]
            found = _list_positions(client, batch, count=7, offset=max(offset, 0), **params)
            assert (expected, len(positions)) == found, (params, offset)
    assert sorted(lost | again) == [
        line["position"] for line in _read_lines(client, batch, errored=1)
    ]


def test_large_responses_come_in_short_pages(
    runner: StepRunner, client: AsgiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that continues after each short page finds all results. Lines are complete."""
    run(runner.parts, runner.submit(runner.make_additions(40)).id)
    members = {"method": "GET", "path": f"/lists/{runner.list_id}/members"}
    batch = runner.submit([members] * 9)
    run(runner.parts, batch.id)
    monkeypatch.setattr(limits, "answer_bytes_max", 50_000)

    found: list[int] = []
    sizes = []
    while len(found) < 9:
        page, total = _list_positions(client, batch, count=100, offset=len(found))
        assert (9, True) == (total, bool(page))
        sizes.append(len(page))
        found += page

    assert list(range(9)) == found == [line["position"] for line in _read_lines(client, batch)]
    assert 1 < len(sizes)


def test_one_operation(
    runner: StepRunner, client: AsgiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operation can be read before its result exists; a page is read by its number."""
    monkeypatch.setattr(limits, "page_count_max", 2)
    run(runner.parts, runner.submit(runner.make_additions(5)).id)
    path = f"/lists/{runner.list_id}/members"
    batch = runner.submit([NOWHERE | {"operation_id": "x"}, {"method": "GET", "path": path}])
    one = f"/batches/{batch.public_id}/operations"
    keys = ["position", "page", "operation_id", "method", "path", "status_code", "response"]

    before = client.call("GET", f"{one}/0")
    assert (200, keys) == (before.status_code, list(before.json()))
    assert [0, 0, "x", "GET", "/nowhere", None, None] == list(before.json().values())
    assert 200 == client.call("GET", f"{one}/1?page=7").status_code
    run(runner.parts, batch.id)

    lost = client.call("GET", f"{one}/0?fields=status_code,response.title").json()
    assert {"status_code": 404, "response": {"title": "Resource Not Found"}} == lost
    pages = [client.call("GET", f"{one}/1?page={number}").json() for number in range(3)]
    assert [0, 1, 2] == [page["page"] for page in pages]
    assert [2, 2, 1] == [len(page["response"]["members"]) for page in pages]
    for wrong in ("2", "-1", "x", "99999999999999999999", "1?page=3", "0?page=1"):
        check_problem(client.call("GET", f"{one}/{wrong}"), 404, "Resource Not Found")
    for wrong in ("x", "-1", "", "1.5"):
        reply = client.call("GET", f"{one}/1?page={wrong}")
        [(field, _)] = get_field_errors(check_problem(reply, 400, "Invalid Resource"))
        assert "page" == field


def test_wrong_parameters(api: Api) -> None:
    """Invalid parameters are refused by name."""
    batch_id = api.wait_until_finished(api.submit(PING))["id"]
    for path in ("operations", "actions/retry"):
        method = "GET" if path == "operations" else "POST"
        for name, value in (("status_code", "x"), ("status_code", "-4"), ("errored", "maybe")):
            reply = api.call(method, f"/batches/{batch_id}/{path}", **{name: value})
            [(field, _)] = get_field_errors(check_problem(reply, 400, "Invalid Resource"))
            assert name == field
    for name in ("count", "offset"):
        reply = api.call("GET", f"/batches/{batch_id}/operations", **{name: "x"})
        assert name == get_field_errors(check_problem(reply, 400, "Invalid Resource"))[0][0]


def test_batches_of_others(own_api: Api, api: Api) -> None:
    """Batches of other accounts, and missing ones, are a 404."""
    theirs = api.wait_until_finished(api.submit(NOWHERE))["id"]
    for batch_id in (theirs, "0123456789"):
        for path in ("operations", "operations/0", "errors", "events"):
            reply = own_api.call("GET", f"/batches/{batch_id}/{path}")
            check_problem(reply, 404, "Resource Not Found")
        for path in ("actions/retry", "actions/cancel"):
            reply = own_api.call("POST", f"/batches/{batch_id}/{path}")
            check_problem(reply, 404, "Resource Not Found")


def test_lines_of_a_running_server(api: Api) -> None:
    """With `Accept: application/x-ndjson` the reply has a line for every result."""
    batch_id = api.wait_until_finished(api.submit(*[PING] * 1_500))["id"]
    url = f"{api.server.url}/3.0/batches/{batch_id}/operations"

    reply = api.http.get(url, headers=NDJSON, auth=("any", api.server.key))

    assert "application/x-ndjson" == reply.headers["content-type"]
    lines = [json.loads(line) for line in reply.text.splitlines()]
    assert list(range(1_500)) == [line["position"] for line in lines]
    listed = api.call_ok("GET", f"/batches/{batch_id}/operations", count="2", offset="1400")
    assert ["operations", "batch_id", "total_items", "_links"] == list(listed)
    assert lines[1400:1402] == listed["operations"]


@pytest.mark.parametrize(("query", "names"), LINE_FIELDS)
def test_fields_of_lines(
    runner: StepRunner, client: AsgiClient, query: str, names: set[str]
) -> None:
    """`fields` and `exclude_fields` apply to each line."""
    batch = runner.submit([PING, PING])
    run(runner.parts, batch.id)

    reply = client.call("GET", f"/batches/{batch.public_id}/operations?{query}", headers=NDJSON)

    lines = [json.loads(line) for line in reply.text.splitlines()]
    assert [names, names] == [{*line} for line in lines]
    assert [0, 1] == [line["position"] for line in lines]


@pytest.mark.parametrize(
    ("accept", "is_lines"),
    [
        ("Application/X-NDJSON", True),
        ("text/plain, application/x-ndjson ; q=0.5", True),
        ("application/x-ndjson;q=0", False),
        ("application/json, application/x-ndjson; q = 0.0", False),
        ("application/x-ndjson2", False),
        ("*/*", False),
    ],
)
def test_who_gets_lines(
    runner: StepRunner, client: AsgiClient, accept: str, is_lines: bool
) -> None:
    """Lines are sent if `Accept` names their media type, in any case, without `q=0`."""
    batch = runner.submit([PING])
    run(runner.parts, batch.id)

    path = f"/batches/{batch.public_id}/operations"
    reply = client.call("GET", path, headers={"Accept": accept})

    expected = "application/x-ndjson" if is_lines else "application/json; charset=utf-8"
    assert expected == reply.headers["content-type"]


# --- Errors --------------------------------------------------------------------------------------


def test_errors(runner: StepRunner, client: AsgiClient) -> None:
    """Errors are grouped by status, title and field, the largest group first, with few samples."""
    add = {"method": "POST", "path": f"/lists/{runner.list_id}/members"}
    wrong = {"body": '{"email_address": 5, "status": "subscribed", "vip": "x"}'}
    batch = runner.submit(
        [*[NOWHERE] * 7, *runner.make_additions(2), *runner.make_additions(2), add | wrong]
    )
    run(runner.parts, batch.id)

    found = client.call("GET", f"/batches/{batch.public_id}/errors").json()

    assert ["batch_id", "errored_operations", "groups", "_links"] == list(found)
    assert (batch.public_id, 10) == (found["batch_id"], found["errored_operations"])
    first, second, *others = found["groups"]
    assert (404, "Resource Not Found", "", 7) == _get_head(first)
    assert list(range(limits.error_samples_max)) == [
        sample["position"] for sample in first["samples"]
    ]
    assert (400, "Member Exists", "", 2) == _get_head(second)
    assert [(9, "0"), (10, "1")] == [
        (sample["position"], sample["operation_id"]) for sample in second["samples"]
    ]
    assert "0@example.com" in second["samples"][0]["detail"]
    assert all(
        (400, "Invalid Resource", 1) == (*_get_head(group)[:2], group["count"]) for group in others
    )
    assert len({group["field"] for group in others}) == len(others) > 0
    one = client.call("GET", f"/batches/{batch.public_id}/errors?fields=errored_operations")
    assert {"errored_operations": 10} == one.json()


def test_groups_of_errors_are_bounded(runner: StepRunner) -> None:
    """Errors beyond the maximum number of groups are one more group."""
    runner.set_limits(error_groups_max=1)
    client = AsgiClient(runner.app.asgi())
    batch = runner.submit(
        [NOWHERE, *runner.make_additions(1), *runner.make_additions(1), *runner.make_additions(1)]
    )
    run(runner.parts, batch.id)

    groups = client.call("GET", f"/batches/{batch.public_id}/errors").json()["groups"]

    assert [(400, "Other errors", "", 2), (404, "Resource Not Found", "", 1)] == list(
        map(_get_head, groups)
    )


# --- Helpers --------------------------------------------------------------------------------------


def _list_positions(client: AsgiClient, batch: Batch, **params: Any) -> tuple[list[int], int]:
    """Return the positions on a page, and the total number of results."""
    path = f"/batches/{batch.public_id}/operations"
    reply = client.call("GET", path, params={"exclude_fields": "operations.response"} | params)
    assert 200 == reply.status_code, reply.text
    found = reply.json()
    return [operation["position"] for operation in found["operations"]], found["total_items"]


def _read_lines(client: AsgiClient, batch: Batch, **params: Any) -> list[Any]:
    path = f"/batches/{batch.public_id}/operations"
    reply: httpx.Response = client.call("GET", path, params=params, headers=NDJSON)
    return [json.loads(line) for line in reply.text.splitlines()]


def _get_head(group: dict[str, Any]) -> tuple[int, str, str, int]:
    return group["status_code"], group["title"], group["field"], group["count"]
