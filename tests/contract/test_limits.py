"""The limits that a client can reach, how they are shown, and how an operator sets them."""

import gzip
import json
import select
import socket
import zlib
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
from tests.contract.test_submit_options import LINES, make_body, make_lines, post
from tests.scenario import PING, Server, wait_until

REQUESTS_MAX = Limits.requests_per_key_max
PUBLISHED = (*SETTABLE, *CONSTANT)


# --- How limits are shown -------------------------------------------------------------------------


def test_limits_and_their_use(own_api: Api) -> None:
    """`GET /limits` shows each limit that a client can reach, and the current usage."""
    insert_batches(own_api, "pending", count=3)
    started = insert_batches(own_api, "started", count=2)

    found = own_api.call_ok("GET", "/limits")

    assert ["limits", "usage", "_links"] == list(found)
    in_force = {name: getattr(Limits, name, None) or getattr(limits, name) for name in PUBLISHED}
    assert in_force == found["limits"]
    assert {"operation_bytes_max", "page_count_max", "merge_fields_per_list_max"} <= set(PUBLISHED)
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
    """Limits that an operator sets apply, and are shown."""
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
    ("value", "message"),
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
def test_wrong_limits_are_refused_at_the_start(tmp_path: Path, value: str, message: str) -> None:
    """A server with invalid limits does not start, and says what is wrong."""
    server = Server(tmp_path, variables={"BATCHWAY_LIMITS": value})
    try:
        with pytest.raises(AssertionError, match="no greeting"):
            server.start()
        assert server.process
        assert 0 != server.process.wait(60)
    finally:
        server.close()

    assert message in " ".join(server.read_log().split())
    assert "Traceback" not in server.read_log()


# --- Simultaneous requests ------------------------------------------------------------------------


def test_as_many_requests_at_once_as_may_be(own_api: Api) -> None:
    """One more request of a key is refused until one ends.

    Requests for batches are exempt. Downloads by link have a limit of their own.
    """
    link = own_api.get_link(own_api.wait_until_finished(own_api.submit(PING))["id"])
    other = Api(replace(own_api.server, key=create_account(own_api.server)), own_api.http)

    with ExitStack() as stack:
        hanging = [stack.enter_context(_start_request(own_api)) for _ in range(REQUESTS_MAX)]

        def have_all_begun() -> bool:
            """Restart each request that was refused because the check below took its place."""
            for number, connection in enumerate(hanging):
                if _is_answered(connection):
                    hanging[number] = stack.enter_context(_start_request(own_api))
            return own_api.call("GET", "/ping").status_code == 429

        wait_until(have_all_begun, "all of them have begun")

        refused = own_api.call("GET", "/lists")
        document = check_problem(refused, 429, "Too Many Requests")
        assert f"limit of {REQUESTS_MAX} simultaneous" in document["detail"]
        assert int(refused.headers["retry-after"]) > 0
        assert 200 == own_api.http.get(link).status_code
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
    """A server that waits one second for a body. The database makes no difference here."""
    least = {"request_seconds_max": 1, "batch_request_seconds_max": 2}
    folder = tmp_path_factory.mktemp("hasty")
    with running_server(folder, BATCHWAY_LIMITS=json.dumps(least)) as server:
        yield server


@pytest.mark.parametrize(("path", "seconds"), [("/lists", 1), ("/batches", 2)])
def test_a_body_that_does_not_come(
    hasty_server: Server, http: httpx.Client, path: str, seconds: int
) -> None:
    """A request whose body does not arrive ends with a 504, and then no longer counts."""
    api = Api(hasty_server, http)

    for _ in range(2):
        with ExitStack() as hanging:
            connections = [
                hanging.enter_context(_start_request(api, path)) for _ in range(REQUESTS_MAX)
            ]
            replies = [_read_reply(connection) for connection in connections]
        for status, document in replies:
            assert (504, "Request Timed Out") == (status, document["title"])
            assert f"longer than {seconds} seconds" in document["detail"]
    assert 200 == api.call("GET", "/lists").status_code


# --- Bodies that are too large -------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that accepts small bodies only. The database makes no difference here."""
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
    """An account of that server that only this test uses."""
    return Api(replace(small_server, key=create_account(small_server)), http)


def pack_bomb(piece: bytes, count: int) -> bytes:
    """Return gzip data of many equal pieces without its end: nobody should read so far."""
    compressor = zlib.compressobj(9, wbits=31)
    head, block = (
        compressor.compress(piece) + compressor.flush(zlib.Z_FULL_FLUSH) for _ in range(2)
    )
    return head + block * (count - 1)


@pytest.mark.parametrize("content_type", ["application/json", LINES])
def test_bombs(small_api: Api, content_type: str) -> None:
    """A small body that inflates to more than the limit is refused."""
    spaces = b" " * 1_000_000
    for packed in (pack_bomb(spaces, 2_000), pack_bomb(b'{"operations":[' + spaces, 5)):
        reply = post(small_api, packed, {"Content-Encoding": "gzip", "Content-Type": content_type})

        check_problem(reply, 413, "Request Entity Too Large")
    assert 0 == small_api.call_ok("GET", "/batches")["total_items"]


MANY_VALUES = b'{"method":"POST","path":"/","body":[' + b"[]," * 3_300_000 + b"1]}"
MANY_KEYS = b",".join(b'"%x":1' % number for number in range(800_000))
MANY_MEMBERS = json.dumps(
    {"method": "POST", "path": "/lists/0", "body": '{"members":[' + "{}," * 1_000_000 + "{}]}"}
).encode()
LARGE_PARAMS = b'{"method":"GET","path":"/ping","params":{"x":"' + b"x" * 60_000 + b'"}}'


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b'{"operations":[' + MANY_VALUES + b"]}", 200),
        (b'{"operations":[' + MANY_VALUES.replace(b"body", b"params") + b"]}", 400),
        (b'{"operations":[],' + MANY_KEYS + b"}", 200),
        (b'{"operations":[' + b",".join([LARGE_PARAMS] * 3_000) + b"]}", 200),
        (b'{"operations":[' + b",".join([MANY_MEMBERS] * 3) + b"]}", 200),
    ],
    ids=[
        "body of many values",
        "params of many values",
        "many keys beside",
        "large params",
        "many members",
    ],
)
def test_memory_for_bombs(tmp_path: Path, http: httpx.Client, content: bytes, status: int) -> None:
    """A small body that inflates to many values needs little memory."""
    packed = gzip.compress(content)
    with running_server(tmp_path) as server:
        api = Api(server, http)
        api.wait_until_finished(api.submit(PING))  # all that is made at the first batch is there
        processes = [*server.find_children("api"), *server.find_children("worker")]
        before = [_reset_peak(process.pid) for process in processes]

        reply = post(api, packed, {"Content-Encoding": "gzip"})
        if reply.status_code == 200:
            api.wait_until_finished(reply.json()["id"])
            api.call("GET", f"/batches/{reply.json()['id']}/operations/0")

        assert status == reply.status_code, reply.text
        grown = [
            _read_peak(process.pid) - was for process, was in zip(processes, before, strict=True)
        ]
        assert max(grown) < 100 * 1024, f"grown by {grown} KiB"


def test_memory_for_a_call(tmp_path: Path, http: httpx.Client) -> None:
    """A call whose body has millions of values is refused, and needs little memory."""
    content = gzip.compress(b'{"members":[' + b"{}," * 5_500_000 + b"{}]}", 1)
    with running_server(tmp_path) as server:
        api = Api(server, http)
        [process] = server.find_children("api")
        before = _reset_peak(process.pid)

        reply = api.http.post(
            f"{server.url}/3.0/lists/{api.new_list()}",
            auth=("any", server.key),
            content=content,
            headers={"Content-Encoding": "gzip"},
        )

        document = check_problem(reply, 413, "Request Entity Too Large")
        assert f"{limits.body_tokens_max} values" in document["detail"]
        assert _read_peak(process.pid) - before < 100 * 1024


def _reset_peak(process_id: int) -> int:
    """Reset the peak memory of a process, and return its memory now, in KiB."""
    peak = Path(f"/proc/{process_id}/clear_refs")
    if not peak.exists():
        absent("needs /proc/…/clear_refs, which Linux has")
    peak.write_text("5")
    return _read_peak(process_id)


def _read_peak(process_id: int) -> int:
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


@pytest.mark.parametrize("make", [make_body, make_lines])
def test_too_many_operations(small_api: Api, make: Any) -> None:
    """One operation more than the limit is refused, and the reply has the limit."""
    headers = {"Content-Type": LINES} if make is make_lines else {}
    assert 200 == post(small_api, make(*[PING] * 5_000), headers).status_code

    document = check_problem(
        post(small_api, make(*[PING] * 5_001), headers), 413, "Request Entity Too Large"
    )

    assert "5000" in document["detail"]
    assert 1 == small_api.call_ok("GET", "/batches")["total_items"]


def test_body_of_a_call_that_is_too_large(small_api: Api) -> None:
    """A large body is refused, with or without a length, compressed or not."""
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


# --- Helpers --------------------------------------------------------------------------------------


@contextmanager
def _start_request(api: Api, path: str = "/lists") -> Iterator[socket.socket]:
    """Send a request whose body is announced and does not arrive."""
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


def _read_reply(connection: socket.socket) -> tuple[int, Any]:
    """Return status and document of the reply to such a request."""
    with connection.makefile("rb") as reply:
        status = int(reply.readline().split(b" ")[1])
        length = 0
        while line := reply.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return status, json.loads(reply.read(length))


def test_a_full_disk_refuses_new_batches(tmp_path: Path) -> None:
    """On a full disk new batches get a 503 with a time to retry; other calls still work."""
    variables = {"BATCHWAY_LIMITS": json.dumps({"free_bytes_min": 1 << 40})}
    with running_server(tmp_path, **variables) as server, httpx.Client(timeout=60) as http:
        api = Api(server, http)

        reply = api.call("POST", "/batches", {"operations": []})

        check_problem(reply, 503, "Service Unavailable")
        assert int(reply.headers["retry-after"]) > 0
        assert 0 == api.call_ok("GET", "/batches")["total_items"]
