"""What a stranger without a key can do on a connection, and that others are served meanwhile."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import httpx
import pytest

from batchway import limits
from batchway.limits import Limits
from tests.contract.shared_servers import running_server
from tests.scenario import Server, wait_until

IN_FORCE = {
    "head_seconds_max": 2,
    "body_seconds_max": 2,
    "reader_seconds_max": 2,
    "connections_per_address_max": 20,
}
DOWNLOADS_MAX = Limits.downloads_per_key_max
PING_OPERATION = {"method": "GET", "path": "/ping"}
MEGABYTE = 1024 * 1024
PING = b"GET /3.0/ping HTTP/1.1\r\nHost: a\r\n\r\n"
LONG = limits.request_line_bytes_max
LARGE = limits.header_bytes_max

REFUSED = {
    "long request line": (b"GET /" + b"a" * LONG + b" HTTP/1.1\r\n\r\n", 414),
    "long request line without an end": (b"GET /" + b"a" * 40 * LONG, 414),
    "large header": (b"GET / HTTP/1.1\r\nX: " + b"a" * LARGE + b"\r\n\r\n", 431),
    "large header without an end": (b"GET / HTTP/1.1\r\nX: " + b"a" * 40 * LARGE, 431),
    "long name of a header": (b"GET / HTTP/1.1\r\n" + b"a" * 40 * LARGE, 431),
    "large headers together": (b"GET / HTTP/1.1\r\n" + (b"X: " + b"a" * 999 + b"\r\n") * 40, 431),
    "many headers": (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 200, 431),
    "large trailer": (
        b"POST /3.0/lists HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: "
        + b"a" * 4 * LARGE,
        (401, 431),
    ),
    "half a head": (b"GET / HTTP/1.1\r\nHo", 408),
    "blank lines": (b"\r\n" * (LONG + LARGE), 431),
    "no HTTP": (b"\x16\x03\x01" * 20, 400),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with short times and few connections."""
    folder = tmp_path_factory.mktemp("connections")
    with running_server(folder, BATCHWAY_LIMITS=json.dumps(IN_FORCE)) as started:
        yield started


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_a_key(server: Server, name: str) -> None:
    """What is too long, too large, too slow or no HTTP is refused, and the connection ends."""
    sent, expected = REFUSED[name]
    with connect(server) as connection:
        with suppress(ConnectionError):
            connection.sendall(sent)
        status = int(read_all(connection).split(b" ", 2)[1])

    assert status in (expected if isinstance(expected, tuple) else (expected,))
    check_served(server)


def test_a_refusal_follows_the_answers_before_it(server: Server) -> None:
    """Pipelined requests are answered in turn, also before one that is refused."""
    with connect(server) as connection:
        connection.sendall(PING * 3 + REFUSED["many headers"][0])
        answers = read_all(connection)

    assert [401, 401, 401, 431] == list_statuses(answers)


def test_pipelined_requests_are_all_answered(server: Server) -> None:
    """Requests that wait for others are answered, however many come at once."""
    last = PING.replace(b"Host: a", b"Host: a\r\nConnection: close")
    with connect(server) as connection:
        connection.sendall(PING * 2_000 + last)
        answers = read_all(connection)

    assert [401] * 2_001 == list_statuses(answers)


def test_a_client_that_only_sends(server: Server) -> None:
    """Of a client that does not read, nothing more is read, and then its connection ends."""
    before = measure_memory(server)
    sent = 0
    with connect(server) as connection:
        connection.settimeout(30)
        with suppress(ConnectionError):
            while sent < 60 * MEGABYTE:
                sent += connection.send(PING * 1_000)
                check_small(before, server)

    assert sent < 60 * MEGABYTE
    check_served(server)


def test_a_body_that_trickles(server: Server) -> None:
    """A body that stops is answered 408."""
    head = f"POST /3.0/lists HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {server.key}\r\n"
    with connect(server) as connection:
        connection.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        answers = read_all(connection)

    assert [408] == list_statuses(answers)
    check_served(server)


def test_half_open_connections_make_room(server: Server) -> None:
    """Beyond the connections of an address, the one that waits longest ends; others are served."""
    with ExitStack() as held:
        opened = [held.enter_context(connect(server)) for _ in range(60)]
        for connection in opened:
            with suppress(ConnectionError):
                connection.sendall(b"GET / HTTP/1.1\r\nHo")
        check_served(server)
        wait_until(lambda: is_ended(opened[0]), "the end of the oldest connection")


def test_connections_with_requests_are_not_ended(server: Server) -> None:
    """If each connection of an address has a request under way, a new one is answered 503."""
    head = f"POST /3.0/batches HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {server.key}\r\n"
    with ExitStack() as held:
        for _ in range(IN_FORCE["connections_per_address_max"]):
            connection = held.enter_context(connect(server))
            connection.sendall(f"{head}Expect: 100-continue\r\nContent-Length: 9\r\n\r\n".encode())
            assert b"100 Continue" in connection.recv(100)
        with connect(server) as refused:
            answers = read_all(refused)
        with connect(server, "127.0.0.2") as other:
            other.sendall(PING.replace(b"Host: a", b"Host: a\r\nConnection: close"))
            of_other = read_all(other)

    assert [503] == list_statuses(answers)
    assert b"retry-after: 1" in answers
    assert [401] == list_statuses(of_other)


def test_forwarded_addresses_are_not_believed(server: Server) -> None:
    """`X-Forwarded-Proto` of a stranger changes no link."""
    reply = httpx.get(
        f"{server.url}/3.0/lists",
        auth=("any", server.key),
        headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "10.0.0.1"},
    )

    assert reply.json()["_links"][0]["href"].startswith("http://")


def test_stalled_readers_of_a_link(server: Server) -> None:
    """Readers that stall take no call of the owner, and are cut off, so that others can read."""
    finished = server.wait_until_finished(server.submit([PING_OPERATION]))
    link = finished["response_body_url"]
    (archive,) = (path for path in server.folder.rglob(f"{finished['id']}*") if path.is_file())
    archive.write_bytes(bytes(20 * MEGABYTE))  # more than sockets hold
    target = link.removeprefix(server.url)

    with ExitStack() as held:
        readers = [held.enter_context(connect(server)) for _ in range(DOWNLOADS_MAX)]
        for reader in readers:
            reader.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            assert b"200" in reader.recv(15)
        refused = httpx.get(link)
        check_served(server)
        wait_until(lambda: httpx.get(link).status_code == 200, "a place for another reader")

    assert (429, True) == (refused.status_code, "simultaneous downloads" in refused.text)
    assert int(refused.headers["retry-after"]) > 0


def connect(server: Server, address: str = "127.0.0.1") -> socket.socket:
    """Open a connection from an address of this host."""
    port = urlsplit(server.url).port or 0
    return socket.create_connection(("127.0.0.1", port), 30, source_address=(address, 0))


def read_all(connection: socket.socket) -> bytes:
    """Read until the server ends the connection."""
    found = b""
    with suppress(ConnectionError):
        while data := connection.recv(MEGABYTE):
            found += data
    return found


def list_statuses(answers: bytes) -> list[int]:
    """Return the statuses of all answers on a connection."""
    return [int(each[:3]) for each in answers.split(b"HTTP/1.1 ")[1:]]


def is_ended(connection: socket.socket) -> bool:
    """Whether the server has ended a connection."""
    try:
        return connection.recv(MEGABYTE, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def check_served(server: Server) -> None:
    """Another client gets an answer."""
    assert server.call("GET", "/ping").status_code == 200


def measure_memory(server: Server) -> int:
    """Return the resident bytes of all processes of a server."""
    return sum(each.memory_info().rss for each in server.list_children())


def check_small(before: int, server: Server) -> None:
    """The processes have grown by little."""
    assert measure_memory(server) - before < 50 * MEGABYTE
