"""Single results of a batch, its errors, and what is done with it: cancel, retry, delete.

What happens while a batch runs is done by hand, between two of its chunks.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from batchway import limits
from batchway.lifecycle.execute import execute
from batchway.lifecycle.finalize import finalize
from batchway.lifecycle.run import run
from batchway.lifecycle.split import split
from batchway.lifecycle.sweep import sweep
from batchway.model.batch import Batch, Layout
from batchway.model.operation import Operation as StoredOperation
from batchway.store import batches
from tests.contract.running import Api, check_problem, errors_of
from tests.contract.test_submit_options import Client
from tests.faults.by_hand import ByHand, opened_by_hand
from tests.scenario import Operation, Server, add_member

PING = {"method": "GET", "path": "/ping"}
LOST = {"method": "GET", "path": "/nowhere"}
NDJSON = {"Accept": "application/x-ndjson"}
LARGE = 6_000  # operations: two chunks
RUNNING = limits.running_batches_per_account_max


@pytest.fixture
def hand(tmp_path: Path, database_url: str) -> Iterator[ByHand]:
    """The steps, on each database in turn."""
    with opened_by_hand(Server(tmp_path, database_url)) as opened:
        yield opened


@pytest.fixture
def client(hand: ByHand) -> Client:
    """Calls on the same database, at the same moment."""
    return Client(hand.app.asgi())


# --- The list of results -------------------------------------------------------------------------


def test_operations_of_a_large_batch(hand: ByHand, client: Client) -> None:
    """Pages deep in the batch, each filter and filters together: the right ones, rightly counted.

    While a chunk is still to be executed, what is done of the others is there.
    """
    batch = _large(hand)
    split(hand.parts, batch.id)
    assert ([], 0) == _listed(client, batch)
    execute(hand.parts, batch.id, 1)
    assert ([5_000, 5_001], 1_000) == _listed(client, batch, count=2)
    _check_listed(client, batch, range(5_000, LARGE))

    execute(hand.parts, batch.id, 0)
    _check_listed(client, batch, range(LARGE))
    finalize(hand.parts, batch.id)
    _check_listed(client, batch, range(LARGE))


def _check_listed(client: Client, batch: Batch, done: range) -> None:
    """Of each ten operations the first is lost, and the second adds somebody who is there."""
    lost, again = set(done[::10]), {each for each in done if each % 10 == 1 and each != 1}
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
            found = _listed(client, batch, count=7, offset=max(offset, 0), **params)
            assert (expected, len(positions)) == found, (params, offset)
    assert sorted(lost | again) == [each["position"] for each in _lines(client, batch, errored=1)]


def test_order_of_results(hand: ByHand, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the operations and their pages, in both layouts, while they run and afterwards."""
    monkeypatch.setattr(limits, "page_count_max", 2)
    run(hand.parts, hand.submit(hand.additions(5)).id)
    members = {"method": "GET", "path": f"/lists/{hand.list_id}/members"}
    vip = {"method": "PATCH", "path": f"{members['path']}/1@example.com", "body": '{"vip":true}'}
    places = [(0, 0), *((1, page) for page in range(3)), (2, 0), (3, 0)]
    places += [*((4, page) for page in range(3)), (5, 0)]
    for layout in Layout:
        object.__setattr__(hand.parts, "layout", layout)
        for bytes_max in (1, 5_000, 10**9):
            monkeypatch.setattr(limits, "answer_bytes_max", bytes_max)
            batch = hand.submit([vip, members, PING, vip, members, PING])
            split(hand.parts, batch.id)
            for number in iter(lambda b=batch: next(iter(hand.waiting(b)), None), None):  # type: ignore[misc]
                execute(hand.parts, batch.id, number)
            for end in (lambda: None, lambda b=batch: finalize(hand.parts, b.id)):  # type: ignore[misc]
                end()
                assert places == [_place(each) for each in _lines(client, batch)]
                pages = [_page(client, batch, count=4, offset=each) for each in range(0, 10, 4)]
                if bytes_max > 1:  # or else a page holds one result
                    assert places == [_place(each) for page in pages for each in page]
                assert places[3:] == [_place(each) for each in _lines(client, batch, offset=3)]
                assert places[3:5] == [
                    _place(each) for each in _lines(client, batch, offset=3, count=2)
                ]


def test_large_responses_come_in_short_pages(
    hand: ByHand, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who goes on behind what came finds all of them; lines come all at once."""
    run(hand.parts, hand.submit(hand.additions(40)).id)
    members = {"method": "GET", "path": f"/lists/{hand.list_id}/members"}
    batch = hand.submit([members] * 9)
    run(hand.parts, batch.id)
    monkeypatch.setattr(limits, "answer_bytes_max", 50_000)

    found: list[int] = []
    sizes = []
    while len(found) < 9:
        page, total = _listed(client, batch, count=100, offset=len(found))
        assert (9, True) == (total, bool(page))
        sizes.append(len(page))
        found += page

    assert list(range(9)) == found == [each["position"] for each in _lines(client, batch)]
    assert 1 < len(sizes)


def test_one_operation(hand: ByHand, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there before its result is; a page is named by its number."""
    monkeypatch.setattr(limits, "page_count_max", 2)
    run(hand.parts, hand.submit(hand.additions(5)).id)
    path = f"/lists/{hand.list_id}/members"
    batch = hand.submit([LOST | {"operation_id": "x"}, {"method": "GET", "path": path}])
    one = f"/batches/{batch.public_id}/operations"
    keys = ["position", "page", "operation_id", "method", "path", "status_code", "response"]

    before = client.call("GET", f"{one}/0")
    assert (200, keys) == (before.status_code, list(before.json()))
    assert [0, 0, "x", "GET", "/nowhere", None, None] == list(before.json().values())
    assert 200 == client.call("GET", f"{one}/1?page=7").status_code
    run(hand.parts, batch.id)

    lost = client.call("GET", f"{one}/0?fields=status_code,response.title").json()
    assert {"status_code": 404, "response": {"title": "Resource Not Found"}} == lost
    pages = [client.call("GET", f"{one}/1?page={each}").json() for each in range(3)]
    assert [0, 1, 2] == [each["page"] for each in pages]
    assert [2, 2, 1] == [len(each["response"]["members"]) for each in pages]
    for wrong in ("2", "-1", "x", "99999999999999999999", "1?page=3", "0?page=1"):
        check_problem(client.call("GET", f"{one}/{wrong}"), 404, "Resource Not Found")
    for wrong in ("x", "-1", "", "1.5"):
        reply = client.call("GET", f"{one}/1?page={wrong}")
        [(field, _)] = errors_of(check_problem(reply, 400, "Invalid Resource"))
        assert "page" == field


def test_wrong_parameters(api: Api) -> None:
    """They are refused, and named."""
    batch_id = api.finished(api.submit(PING))["id"]
    for path in ("operations", "actions/retry"):
        method = "GET" if path == "operations" else "POST"
        for name, value in (("status_code", "x"), ("status_code", "-4"), ("errored", "maybe")):
            reply = api.call(method, f"/batches/{batch_id}/{path}", **{name: value})
            [(field, _)] = errors_of(check_problem(reply, 400, "Invalid Resource"))
            assert name == field
    for name in ("count", "offset"):
        reply = api.call("GET", f"/batches/{batch_id}/operations", **{name: "x"})
        assert name == errors_of(check_problem(reply, 400, "Invalid Resource"))[0][0]


def test_batches_of_others(own_api: Api, api: Api) -> None:
    """They are not there, nor are those that do not exist."""
    theirs = api.finished(api.submit(LOST))["id"]
    for batch_id in (theirs, "0123456789"):
        for path in ("operations", "operations/0", "errors", "events"):
            reply = own_api.call("GET", f"/batches/{batch_id}/{path}")
            check_problem(reply, 404, "Resource Not Found")
        for path in ("actions/retry", "actions/cancel"):
            reply = own_api.call("POST", f"/batches/{batch_id}/{path}")
            check_problem(reply, 404, "Resource Not Found")


def test_lines_of_a_running_server(api: Api) -> None:
    """With `Accept: application/x-ndjson` each result is a line, and all of them come."""
    batch_id = api.finished(api.submit(*[PING] * 1_500))["id"]
    url = f"{api.server.url}/3.0/batches/{batch_id}/operations"

    reply = api.http.get(url, headers=NDJSON, auth=("any", api.server.key))

    assert "application/x-ndjson" == reply.headers["content-type"]
    lines = [json.loads(each) for each in reply.text.splitlines()]
    assert list(range(1_500)) == [each["position"] for each in lines]
    listed = api.done("GET", f"/batches/{batch_id}/operations", count="2", offset="1400")
    assert ["operations", "batch_id", "total_items", "_links"] == list(listed)
    assert lines[1400:1402] == listed["operations"]


# --- Errors --------------------------------------------------------------------------------------


def test_errors(hand: ByHand, client: Client) -> None:
    """They are grouped by status, title and field, the largest group first, with few samples."""
    add = {"method": "POST", "path": f"/lists/{hand.list_id}/members"}
    wrong = {"body": '{"email_address": 5, "status": "subscribed", "vip": "x"}'}
    batch = hand.submit([*[LOST] * 7, *hand.additions(2), *hand.additions(2), add | wrong])
    run(hand.parts, batch.id)

    found = client.call("GET", f"/batches/{batch.public_id}/errors").json()

    assert ["batch_id", "errored_operations", "groups", "_links"] == list(found)
    assert (batch.public_id, 10) == (found["batch_id"], found["errored_operations"])
    first, second, *others = found["groups"]
    assert (404, "Resource Not Found", "", 7) == _head(first)
    assert list(range(limits.error_samples_max)) == [each["position"] for each in first["samples"]]
    assert (400, "Member Exists", "", 2) == _head(second)
    assert [(9, "0"), (10, "1")] == [
        (each["position"], each["operation_id"]) for each in second["samples"]
    ]
    assert "0@example.com" in second["samples"][0]["detail"]
    assert all((400, "Invalid Resource", 1) == (*_head(each)[:2], each["count"]) for each in others)
    assert len({each["field"] for each in others}) == len(others) > 0
    one = client.call("GET", f"/batches/{batch.public_id}/errors?fields=errored_operations")
    assert {"errored_operations": 10} == one.json()


def test_groups_of_errors_are_bounded(
    hand: ByHand, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes beyond is one more group."""
    monkeypatch.setattr(limits, "error_groups_max", 1)
    batch = hand.submit([LOST, *hand.additions(1), *hand.additions(1), *hand.additions(1)])
    run(hand.parts, batch.id)

    groups = client.call("GET", f"/batches/{batch.public_id}/errors").json()["groups"]

    assert [(400, "Other errors", "", 2), (404, "Resource Not Found", "", 1)] == list(
        map(_head, groups)
    )


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
        ("?status_code=200&errored=false", [1, 3]),
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
        lambda: execute(hand.parts, batch.id, 0),
        lambda: execute(hand.parts, batch.id, 1),
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
        "started": lambda: (split(hand.parts, batch.id), execute(hand.parts, batch.id, 0)),
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
    sweep(hand.parts, lambda *_: True)
    hand.clock.now += (limits.idempotency_key_seconds + 1) * 1_000_000
    sweep(hand.parts, lambda *_: True)
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


def _listed(client: Client, batch: Batch, **params: Any) -> tuple[list[int], int]:
    """The positions of a page, and how many results there are."""
    path = f"/batches/{batch.public_id}/operations"
    reply = client.call("GET", path, params={"exclude_fields": "operations.response"} | params)
    assert 200 == reply.status_code, reply.text
    found = reply.json()
    return [each["position"] for each in found["operations"]], found["total_items"]


def _page(client: Client, batch: Batch, **params: Any) -> list[Any]:
    path = f"/batches/{batch.public_id}/operations"
    found: list[Any] = client.call("GET", path, params=params).json()["operations"]
    return found


def _lines(client: Client, batch: Batch, **params: Any) -> list[Any]:
    path = f"/batches/{batch.public_id}/operations"
    reply: httpx.Response = client.call("GET", path, params=params, headers=NDJSON)
    return [json.loads(each) for each in reply.text.splitlines()]


def _place(result: dict[str, Any]) -> tuple[int, int]:
    return result["position"], result["page"]


def _head(group: dict[str, Any]) -> tuple[int, str, str, int]:
    return group["status_code"], group["title"], group["field"], group["count"]


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
        found = batches.find(connection, hand.identity.account.id, public_id, hand.clock())
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
