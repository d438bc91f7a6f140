"""The limits that a client can meet, how it is told of them, and how an operator sets them."""

import gzip
import json
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from batchway import limits
from batchway.limits import Limits
from batchway.settable_limits import CONSTANT, SETTABLE
from tests.clients.programs import absent
from tests.contract.shared_servers import (
    Api,
    check_problem,
    create_account,
    insert_batches,
    running_server,
)
from tests.contract.test_submit_options import LINES, PING, body, lines, post
from tests.scenario import Server, wait_until

MOST = Limits.requests_per_key_max
MET = (*SETTABLE, *CONSTANT)


# --- What is told of them ------------------------------------------------------------------------


def test_limits_and_their_use(own_api: Api) -> None:
    """`GET /limits` names each limit that a client can meet, and counts what is under way."""
    insert_batches(own_api, "pending", count=3)
    started = insert_batches(own_api, "started", count=2)

    found = own_api.call_ok("GET", "/limits")

    assert ["limits", "usage", "_links"] == list(found)
    in_force = {name: getattr(Limits, name, None) or getattr(limits, name) for name in MET}
    assert in_force == found["limits"]
    assert {"operation_bytes_max", "page_count_max", "merge_fields_per_list_max"} <= set(MET)
    assert {
        "pending_batches": 3,
        "running_batches": 2,
        "undelivered_events": 0,
        "batch_webhooks": 0,
    } == found["usage"]
    own_api.call_ok("DELETE", f"/batches/{started}")
    usage = own_api.call_ok("GET", "/limits", fields="usage.running_batches")
    assert {"usage": {"running_batches": 1}} == usage
    for batch in own_api.call_ok("GET", "/batches")["batches"]:
        own_api.call_ok("DELETE", f"/batches/{batch['id']}")


def test_limits_that_are_set(tmp_path: Path, database_url: str) -> None:
    """They are in force, and shown."""
    new = {"pending_batches_per_account_max": 2, "event_streams_per_key_max": 1}
    with running_server(tmp_path, database_url, BATCHWAY_LIMITS=json.dumps(new)) as server:
        with httpx.Client(timeout=60) as http:
            api = Api(server, http)
            insert_batches(api, "pending", count=2)
            refused = api.call("POST", "/batches", {"operations": [PING]})
            checked = api.call("POST", "/batches", {"operations": [PING]}, validate_only="true")
        shown = server.get("/limits")["limits"]

    assert "more than 2 pending" in check_problem(refused, 429, "Too Many Requests")["detail"]
    assert int(refused.headers["retry-after"]) > 0
    assert 200 == checked.status_code
    assert new.items() <= shown.items()
    assert 10 == shown["requests_per_key_max"]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ('{"nonsense_max": 1}', "nonsense_max is no limit that can be set. These can: requests"),
        ('{"chunk_operations_max": 1}', "chunk_operations_max is no limit that can be set."),
        ('{"requests_per_key_max": 0}', "requests_per_key_max must be"),
        ('{"requests_per_key_max": -1}', "requests_per_key_max must be"),
        ('{"requests_per_key_max": 0.5}', "requests_per_key_max must be"),
        ('{"operations_per_batch_max": 1e12}', "operations_per_batch_max must be"),
        ('{"requests_per_key_max": "many"}', "BATCHWAY_LIMITS"),
        ('{"requests_per_key_max": null}', "BATCHWAY_LIMITS"),
        ("[1]", "BATCHWAY_LIMITS"),
    ],
)
def test_wrong_limits_are_refused_at_the_start(tmp_path: Path, value: str, told: str) -> None:
    """The server does not start, and says what is wrong. No database is asked."""
    server = Server(tmp_path, variables={"BATCHWAY_LIMITS": value})
    try:
        with pytest.raises(AssertionError, match="no greeting"):
            server.start()
        assert server.process
        assert 0 != server.process.wait(60)
    finally:
        server.close()

    assert told in " ".join(server.read_log().split())
    assert "Traceback" not in server.read_log()


# --- Requests at once ----------------------------------------------------------------------------


def test_as_many_requests_at_once_as_may_be(own_api: Api) -> None:
    """One more of the same key is refused until one ends; batches are exempt, downloads are not."""
    link = own_api.get_link(own_api.wait_until_finished(own_api.submit(PING))["id"])
    other = Api(replace(own_api.server, key=create_account(own_api.server)), own_api.http)

    with ExitStack() as stack:
        hanging = [stack.enter_context(_hanging(own_api)) for _ in range(MOST)]

        def have_all_begun() -> bool:
            """The call that asks may have had the place of one, which was refused then."""
            for number, connection in enumerate(hanging):
                if _is_answered(connection):
                    hanging[number] = stack.enter_context(_hanging(own_api))
            return own_api.call("GET", "/ping").status_code == 429

        wait_until(have_all_begun, "all of them have begun")

        refused = own_api.call("GET", "/lists")
        document = check_problem(refused, 429, "Too Many Requests")
        assert f"limit of {MOST} simultaneous" in document["detail"]
        assert int(refused.headers["retry-after"]) > 0
        download = own_api.http.get(link)
        assert (429, True) == (download.status_code, "simultaneous" in download.text)
        assert int(download.headers["retry-after"]) > 0
        assert 429 == own_api.call("GET", "/limits").status_code
        one = f"/batches/{link.split('/')[-1][:10]}"
        assert 200 == own_api.call("GET", "/batches").status_code
        assert 200 == own_api.call("GET", one).status_code
        assert 429 == own_api.call("GET", f"{one}/errors").status_code  # it may take long
        unchecked = own_api.call("POST", "/batches", {"operations": []}, validate_only="true")
        assert 429 == unchecked.status_code
        batch_id = own_api.submit(PING, PING)
        assert 2 == own_api.wait_until_finished(batch_id)["finished_operations"]
        assert 200 == other.call("GET", "/lists").status_code

        hanging[0].close()
        wait_until(lambda: own_api.call("GET", "/ping").status_code == 200, "a place is free again")
        assert 200 == own_api.http.get(link).status_code


@pytest.fixture(scope="module")
def hasty_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It waits for a second only. One database will do: it has no say in this."""
    least = {"request_seconds_max": 1, "batch_request_seconds_max": 2}
    folder = tmp_path_factory.mktemp("hasty")
    with running_server(folder, BATCHWAY_LIMITS=json.dumps(least)) as server:
        yield server


@pytest.mark.parametrize(("path", "seconds"), [("/lists", 1), ("/batches", 2)])
def test_a_body_that_does_not_come(
    hasty_server: Server, http: httpx.Client, path: str, seconds: int
) -> None:
    """The request ends with a 504 that says so, and holds no place any more."""
    api = Api(hasty_server, http)

    for _ in range(2):
        with ExitStack() as hanging:
            lines_ = [hanging.enter_context(_hanging(api, path)) for _ in range(MOST)]
            replies = [_reply(connection) for connection in lines_]
        for status, document in replies:
            assert (504, "Request Timed Out") == (status, document["title"])
            assert f"longer than {seconds} seconds" in document["detail"]
    assert 200 == api.call("GET", "/lists").status_code


# --- Bodies that are too large -------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It takes small bodies only. One database will do: it has no say in this."""
    least = {
        "request_body_bytes_max": 1_000_000,
        "call_body_bytes_max": 100_000,
        "operations_per_batch_max": 5_000,
    }
    folder = tmp_path_factory.mktemp("small")
    with running_server(folder, BATCHWAY_LIMITS=json.dumps(least)) as server:
        yield server


@pytest.fixture
def small_api(small_server: Server, http: httpx.Client) -> Api:
    """An account of that server that nobody else uses."""
    return Api(replace(small_server, key=create_account(small_server)), http)


@pytest.mark.parametrize("content_type", ["application/json", LINES])
def test_bombs(small_api: Api, content_type: str) -> None:
    """What inflates to more than may be sent is refused, however small it is."""
    for content in (b" " * 2_000_000_000, b'{"operations":[' + b" " * 5_000_000):
        packed = gzip.compress(content, 9)

        reply = post(small_api, packed, {"Content-Encoding": "gzip", "Content-Type": content_type})

        check_problem(reply, 413, "Request Entity Too Large")
    assert 0 == small_api.call_ok("GET", "/batches")["total_items"]


MANY_VALUES = b'{"method":"POST","path":"/","body":[' + b"[]," * 3_300_000 + b"1]}"
MANY_KEYS = b",".join(b'"%x":1' % number for number in range(800_000))
LARGE_PARAMS = b'{"method":"GET","path":"/ping","params":{"x":"' + b"x" * 60_000 + b'"}}'


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b'{"operations":[' + MANY_VALUES + b"]}", 200),
        (b'{"operations":[' + MANY_VALUES.replace(b"body", b"params") + b"]}", 400),
        (b'{"operations":[],' + MANY_KEYS + b"}", 200),
        (b'{"operations":[' + b",".join([LARGE_PARAMS] * 3_000) + b"]}", 200),
    ],
    ids=["body of many values", "params of many values", "many keys beside", "large params"],
)
def test_memory_for_bombs(tmp_path: Path, http: httpx.Client, content: bytes, status: int) -> None:
    """What is small when it comes, and less than may be sent when it is inflated, stays small."""
    packed = gzip.compress(content)
    with running_server(tmp_path) as server:
        api = Api(server, http)
        api.wait_until_finished(api.submit(PING))  # all that is made at the first batch is there
        processes = [*server.find_children("api"), *server.find_children("worker")]
        before = [_forget_peak(process.pid) for process in processes]

        reply = post(api, packed, {"Content-Encoding": "gzip"})
        if reply.status_code == 200:
            api.wait_until_finished(reply.json()["id"])
            api.call("GET", f"/batches/{reply.json()['id']}/operations/0")

        assert status == reply.status_code, reply.text
        grown = [_peak(process.pid) - was for process, was in zip(processes, before, strict=True)]
        assert max(grown) < 100 * 1024, f"grown by {grown} KiB"


def _forget_peak(process_id: int) -> int:
    """Begin to measure how much memory a process has at most; how much it has now, in KiB."""
    peak = Path(f"/proc/{process_id}/clear_refs")
    if not peak.exists():
        absent("needs /proc/…/clear_refs, which Linux has")
    peak.write_text("5")
    return _peak(process_id)


def _peak(process_id: int) -> int:
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


@pytest.mark.parametrize("make", [body, lines])
def test_too_many_operations(small_api: Api, make: Any) -> None:
    """One more than may be is too many; the answer says how many may be."""
    headers = {"Content-Type": LINES} if make is lines else {}
    assert 200 == post(small_api, make(*[PING] * 5_000), headers).status_code

    document = check_problem(
        post(small_api, make(*[PING] * 5_001), headers), 413, "Request Entity Too Large"
    )

    assert "5000" in document["detail"]
    assert 1 == small_api.call_ok("GET", "/batches")["total_items"]


def test_body_of_a_call_that_is_too_large(small_api: Api) -> None:
    """It is refused, announced or not, compressed or not."""
    url, auth = f"{small_api.server.url}/3.0/lists", ("any", small_api.server.key)
    large = b" " * 100_001

    def pieces() -> Iterator[bytes]:
        yield from (large[:50_000], large[50_000:])

    replies = [
        small_api.http.post(url, auth=auth, content=large),
        small_api.http.post(url, auth=auth, content=pieces()),
        small_api.http.post(
            url, auth=auth, content=gzip.compress(large), headers={"Content-Encoding": "gzip"}
        ),
    ]

    for reply in replies:
        check_problem(reply, 413, "Request Entity Too Large")
    assert 400 == small_api.http.post(url, auth=auth, content=large[1:]).status_code


# --- What the tests say --------------------------------------------------------------------------


@contextmanager
def _hanging(api: Api, path: str = "/lists") -> Iterator[socket.socket]:
    """A request whose body is announced, and does not come."""
    address = urlsplit(api.server.url)
    head = (
        f"POST /3.0{path} HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: Bearer {api.server.key}\r\nContent-Length: 100\r\n\r\n"
    )
    with socket.create_connection((address.hostname or "", address.port or 0), 60) as connection:
        connection.sendall(head.encode())
        yield connection


def _is_answered(connection: socket.socket) -> bool:
    return bool(select.select([connection], [], [], 0)[0])


def _reply(connection: socket.socket) -> tuple[int, Any]:
    """Status and document of the reply to a request that hung."""
    with connection.makefile("rb") as reply:
        status = int(reply.readline().split(b" ")[1])
        length = 0
        while line := reply.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return status, json.loads(reply.read(length))


def test_a_full_disk_refuses_new_batches(tmp_path: Path) -> None:
    """They get 503 and a time to come back, while running ones, and other calls, go on."""
    variables = {"BATCHWAY_LIMITS": json.dumps({"free_bytes_min": 1 << 40})}
    with running_server(tmp_path, **variables) as server, httpx.Client(timeout=60) as http:
        api = Api(server, http)

        reply = api.call("POST", "/batches", {"operations": []})

        check_problem(reply, 503, "Service Unavailable")
        assert int(reply.headers["retry-after"]) > 0
        assert 0 == api.call_ok("GET", "/batches")["total_items"]
