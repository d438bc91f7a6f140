"""Options of `POST /batches`: idempotency keys, compression, NDJSON, unusual bodies."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import pytest

from batchway.errors import Refusal
from batchway.kit.clock import SECOND
from batchway.lifecycle.submit import IdempotentRequest, IncomingBatch, submit_batch
from batchway.lifecycle.sweep import sweep
from batchway.model.batch import Batch
from tests.batch_bodies import read_batch
from tests.contract.asgi_client import AsgiClient
from tests.contract.shared_servers import Api, check_problem, create_account, get_field_errors
from tests.scenario import PING, add_member
from tests.step_runner import BASE, StepRunner
from tests.steps import run

LINES = "application/x-ndjson"
DAY_SECONDS = 24 * 60 * 60


def post(api: Api, content: bytes, headers: dict[str, Any] | None = None) -> httpx.Response:
    """POST a batch with these bytes."""
    url, auth = f"{api.server.url}/3.0/batches", ("any", api.server.key)
    return api.http.post(url, auth=auth, content=content, headers=headers)


def make_body(*operations: Any) -> bytes:
    """Return a JSON body with these operations."""
    return json.dumps({"operations": operations}).encode()


def make_lines(*operations: Any) -> bytes:
    """Return an NDJSON body with these operations."""
    return b"".join(json.dumps(operation).encode() + b"\n" for operation in operations)


# --- Idempotency keys ----------------------------------------------------------------------------


def test_same_key_and_body(own_api: Api) -> None:
    """Requests with the same key and body are one batch; without a key each is another one."""
    content = make_body(PING)

    ids = {post(own_api, content, {"Idempotency-Key": "k 1"}).json()["id"] for _ in range(3)}
    others = {post(own_api, content).json()["id"] for _ in range(2)}

    assert (1, 2) == (len(ids), len(others))
    assert 3 == own_api.call_ok("GET", "/batches")["total_items"]
    [made] = ids
    own_api.wait_until_finished(made)
    again = post(own_api, content, {"Idempotency-Key": "k 1"}).json()
    assert (made, "finished") == (again["id"], again["status"])
    assert again["response_body_url"]


def test_same_key_at_once(own_api: Api) -> None:
    """Simultaneous requests with the same key are one batch."""
    list_id = own_api.new_list()
    content = make_body(*(add_member(list_id, f"{number}@example.com") for number in range(700)))

    with ThreadPoolExecutor(5) as pool:
        made = pool.map(lambda _: post(own_api, content, {"Idempotency-Key": "once"}), range(5))

    replies = list(made)
    assert [200] * 5 == [reply.status_code for reply in replies]
    [batch_id] = {reply.json()["id"] for reply in replies}
    assert 0 == own_api.wait_until_finished(batch_id)["errored_operations"]
    assert 1 == own_api.call_ok("GET", "/batches")["total_items"]


def test_same_key_with_another_body(own_api: Api) -> None:
    """The same key with another body is refused."""
    assert 200 == post(own_api, make_body(PING), {"Idempotency-Key": "k"}).status_code

    document = check_problem(
        post(own_api, make_body(PING, PING), {"Idempotency-Key": "k"}), 409, "Conflict"
    )

    assert "another body" in document["detail"]
    assert 1 == own_api.call_ok("GET", "/batches")["total_items"]


def test_key_of_another_account(own_api: Api) -> None:
    """Two accounts can use the same key."""
    other = Api(replace(own_api.server, key=create_account(own_api.server)), own_api.http)

    ids = {
        post(api, make_body(PING), {"Idempotency-Key": "k"}).json()["id"]
        for api in (own_api, other)
    }
    different = post(other, make_body(), {"Idempotency-Key": "k"})

    assert 2 == len(ids)
    assert 409 == different.status_code


def test_key_of_a_deleted_batch(own_api: Api) -> None:
    """The key of a deleted batch is refused."""
    made = post(own_api, make_body(PING), {"Idempotency-Key": "k"}).json()["id"]
    own_api.call_ok("DELETE", f"/batches/{made}")

    document = check_problem(
        post(own_api, make_body(PING), {"Idempotency-Key": "k"}), 409, "Conflict"
    )

    assert "was deleted" in document["detail"]


@pytest.mark.parametrize("key", [b"", b"x" * 256, b"\xe4", b"a\tb", "\u4e2d".encode()])
def test_malformed_keys(own_api: Api, key: bytes) -> None:
    """A malformed key is refused, and no batch is created."""
    check_problem(post(own_api, make_body(PING), {"Idempotency-Key": key}), 400, "Bad Request")

    assert 0 == own_api.call_ok("GET", "/batches")["total_items"]
    longest = {"Idempotency-Key": b'"!~ ' + b"x" * 251}
    assert 200 == post(own_api, make_body(PING), longest).status_code


def test_key_of_a_compressed_body(own_api: Api) -> None:
    """Bodies are compared after they are inflated."""
    content = make_body(PING)
    packed = {"Idempotency-Key": "k", "Content-Encoding": "gzip"}

    plain = post(own_api, content, {"Idempotency-Key": "k"})
    again = [post(own_api, gzip.compress(content, level, mtime=0), packed) for level in (1, 9)]

    assert {plain.json()["id"]} == {reply.json()["id"] for reply in again}
    assert 409 == post(own_api, gzip.compress(make_body(), mtime=0), packed).status_code


def test_keys_are_forgotten_after_a_day(runner: StepRunner) -> None:
    """A key is valid for a day; then the same request is a new batch."""
    first = _submit_once(runner)
    runner.clock.now += DAY_SECONDS * SECOND
    sweep(runner.parts, lambda _: ())
    same = _submit_once(runner)
    with pytest.raises(Refusal, match="another body"):
        _submit_once(runner, b"another body")

    runner.clock.now += 1
    second = _submit_once(runner, b"another body")

    assert first.id == same.id != second.id
    assert second.id == _submit_once(runner, b"another body").id


def test_the_sweep_drops_old_keys(runner: StepRunner) -> None:
    """The sweep deletes keys after a day."""
    run(runner.parts, _submit_once(runner).id)
    runner.clock.now += DAY_SECONDS * SECOND + 1

    runner.run_twice(lambda: sweep(runner.parts, lambda _: ()))

    assert [] == read_rows(runner, "idempotency_keys")


def test_key_when_there_is_no_room(runner: StepRunner) -> None:
    """An accepted batch is found by its key even if no further batch is accepted."""
    runner.set_limits(pending_batches_per_account_max=1)
    client = AsgiClient(runner.app.asgi())
    made = client.call(
        "POST", "/batches", content=make_body(PING), headers={"Idempotency-Key": "k"}
    )

    again = client.call(
        "POST", "/batches", content=make_body(PING), headers={"Idempotency-Key": "k"}
    )
    other = client.call(
        "POST", "/batches", content=make_body(PING), headers={"Idempotency-Key": "other"}
    )

    assert (200, made.json()["id"]) == (again.status_code, again.json()["id"])
    assert [429, 429] == [
        other.status_code,
        client.call("POST", "/batches", content=make_body()).status_code,
    ]
    assert 1 == len(read_rows(runner, "batches"))


# --- Forms of a body -----------------------------------------------------------------------------


def test_forms_of_a_body(api: Api) -> None:
    """All forms of a body have the same results: compressed or not, JSON or NDJSON."""
    list_id = api.new_list()
    member = add_member(list_id, "ann@example.com", "1", status="pending") | {"method": "PUT"}
    member["path"] += "/ann@example.com"
    operations = [member, PING | {"operation_id": 2}, {"method": "get", "path": "nowhere"}] * 300
    as_lines, packed = {"Content-Type": LINES}, {"Content-Encoding": "gzip"}
    spaced = b"\r\n\n" + make_lines(*operations).replace(b"\n", b"\r\n") + b"  \n"

    sent = [
        (make_body(*operations), {}),
        (gzip.compress(make_body(*operations), mtime=0), packed),
        (make_body(*operations), {"Content-Encoding": "identity"}),
        (make_lines(*operations), as_lines),
        (make_lines(*operations).rstrip(), {"Content-Type": f"{LINES.upper()}; charset=utf-8"}),
        (spaced, as_lines),
        (gzip.compress(make_lines(*operations), mtime=0), packed | as_lines),
    ]

    for content, headers in sent:
        reply = post(api, content, headers)
        assert 200 == reply.status_code, reply.text
        results = api.server.get_results(reply.json()["id"])
        assert [(200, "1"), (200, "2"), (404, None)] * 300 == [
            (result.status_code, result.operation_id) for result in results
        ]


@pytest.mark.parametrize(
    ("content", "headers"), [(b"", {"Content-Type": LINES}), (b'{"operations": []}', {})]
)
def test_no_operations(api: Api, content: bytes, headers: dict[str, str]) -> None:
    """A body without operations is a batch that finishes without results."""
    batch = api.wait_until_finished(post(api, content, headers).json()["id"])

    assert (0, 0, "") == (
        batch["total_operations"],
        batch["finished_operations"],
        batch["response_body_url"],
    )


def test_operations_as_clients_send_them(api: Api) -> None:
    """Lower-case methods, unusual ids and unknown keys are accepted."""
    list_id = api.new_list()
    many = [add_member(list_id, f"{number}@example.com") for number in range(1_010)]
    api.wait_until_finished(api.submit(*many))
    path = f"lists/{list_id}/members"

    results = api.run_batch(
        {"method": "get", "path": path, "operation_id": 7},
        {"method": "get", "path": f"{path}?count=2"},
        {
            "method": "delete",
            "path": f"/{path}/3@example.com",
            "body": "",
            "headers": {"Accept": "*/*"},
        },
        {
            "method": "patch",
            "path": f"/{path}/4@example.com",
            "body": '{"vip":true}',
            "extra": [{}],
        },
        {"method": "put", "path": f"{path}/5@example.com", "body": {"vip": True}},
        {"method": "post", "path": path, "body": None},
    )

    assert [("7", 1000), ("7", 10)] == [
        (result.operation_id, result.response["returned_item_count"])
        for result in results
        if "returned_item_count" in result.response
    ]
    others = [result for result in results if result.operation_id is None]
    assert [200, 204, 200, 400, 400] == [result.status_code for result in others]
    assert 2 == len(others[0].response["members"])
    assert [("body", "Schema describes string, object found instead")] == get_field_errors(
        others[3].response
    )


DEEP = b'{"a":' * 100_000
NOT_A_NUMBER = b'{"operations":[{"method":"GET","path":"/ping","params":{"a":NaN}}]}'
WRONG_BODIES: dict[str, bytes] = {
    "empty": b"",
    "null": b"null",
    "text": b"no JSON",
    "cut off": make_body(PING)[:-1],
    "trailing": make_body(PING) + b"x",
    "deep": DEEP,
    "deep array": b'{"operations":' + b"[" * 100_000,
    "deep params": make_body(PING)[:-3] + b',"params":' + DEEP,
    "not a number": NOT_A_NUMBER,
    "infinity": NOT_A_NUMBER.replace(b"NaN", b"-Infinity"),
    "no UTF-8": make_body(PING).replace(b"ping", b"p\xffng"),
    "operations twice": b'{"operations":[],"operations":[]}',
    "method twice": b'{"operations":[{"method":"GET","path":"/ping","method":"DELETE"}]}',
    "path twice": b'{"operations":[{"path":"/ping","method":"GET","path":"/lists"}]}',
}


@pytest.mark.parametrize("name", WRONG_BODIES)
@pytest.mark.parametrize("is_packed", [False, True])
def test_wrong_bodies(own_api: Api, name: str, *, is_packed: bool) -> None:
    """An invalid body is refused, and the reply says why."""
    content = WRONG_BODIES[name]
    headers = {"Content-Encoding": "gzip"} if is_packed else {}
    content = gzip.compress(content, mtime=0) if is_packed else content

    reply = post(own_api, content, headers)

    assert 400 == reply.status_code
    check_problem(reply, 400, reply.json()["title"])
    assert reply.json()["title"] in {"JSON Parse Exception", "Invalid Resource"}
    assert 0 == own_api.call_ok("GET", "/batches")["total_items"]


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (make_lines(PING, {"method": "GET"}), "operations.item:1"),
        (make_lines(PING, PING, PING | {"method": "HEAD"}), "operations.item:2.method"),
        (make_lines(PING, [PING]), "operations.item:1"),
    ],
)
def test_wrong_lines(own_api: Api, content: bytes, field: str) -> None:
    """An invalid line is named by its number."""
    reply = post(own_api, content, {"Content-Type": LINES})

    document = check_problem(reply, 400, "Invalid Resource")
    assert [field] == [name for name, _ in get_field_errors(document)]
    assert 0 == own_api.call_ok("GET", "/batches")["total_items"]


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(make_body(PING), mtime=0)[:-9], b"\x1f\x8b", make_body(PING)],
)
def test_damaged_gzip(own_api: Api, content: bytes) -> None:
    """A damaged gzip body is refused."""
    reply = post(own_api, content, {"Content-Encoding": "gzip"})

    check_problem(reply, 400, "JSON Parse Exception")
    assert 0 == own_api.call_ok("GET", "/batches")["total_items"]


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "nonsense"])
def test_unknown_encodings(api: Api, encoding: str) -> None:
    """An unknown encoding is refused, and the reply has the known ones."""
    for method, path in (("POST", "/batches"), ("POST", "/lists")):
        reply = api.http.request(
            method,
            f"{api.server.url}/3.0{path}",
            auth=("any", api.server.key),
            content=make_body(),
            headers={"Content-Encoding": encoding},
        )

        check_problem(reply, 415, "Unsupported Media Type")
        assert "gzip, identity" == reply.headers["accept-encoding"]


# --- Helpers --------------------------------------------------------------------------------------


def _submit_once(runner: StepRunner, body_hash: bytes = b"body") -> Batch:
    with IncomingBatch.collect(
        runner.parts.targets, runner.parts.limits, read_batch(make_body(PING))
    ) as incoming:
        idempotency = IdempotentRequest(b"key", body_hash)
        return submit_batch(runner.parts, runner.identity, BASE, incoming, idempotency=idempotency)


def read_rows(runner: StepRunner, name: str) -> list[str]:
    """Return the rows of a table."""
    [table] = [table for table in runner.take_snapshot() if table.endswith(f".{name}")]
    return runner.take_snapshot()[table]
