"""The egress: what it sends, and how it handles bad receivers."""

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from batchway.kit.egress import (
    LATE,
    NOT_HTTP,
    UNREACHABLE,
    UNSENDABLE,
    UNVERIFIED,
    Egress,
    Unreached,
    make_tls_context,
)
from tests.egress_requests import (
    LONG_SECONDS,
    LOOPBACK,
    OK,
    SHORT_SECONDS,
    Behaviour,
    get,
    make_egress,
    require_answer,
    require_reason,
    send,
)

# --- Receivers -----------------------------------------------------------------------------------


@contextmanager
def serving(behave: Behaviour, trust: ssl.SSLContext | None = None) -> Iterator[int]:
    """Listen on a port of 127.0.0.1, and call `behave` for each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_accept, args=(listener, behave, trust))
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _accept(listener: socket.socket, behave: Behaviour, trust: ssl.SSLContext | None) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(LONG_SECONDS)
            try:
                if trust is None:
                    behave(connection)
                else:
                    with trust.wrap_socket(connection, server_side=True) as secured:
                        behave(secured)
            except OSError:
                continue  # the other side has given up, as it should


def _request(connection: socket.socket) -> bytes:
    """Read the head of a request."""
    head = b""
    while b"\r\n\r\n" not in head and (more := connection.recv(65_536)):
        head += more
    return head


def _answering(*parts: bytes, ever: bytes = b"", wait_seconds: float = 0.0) -> Behaviour:
    """Send the parts, then `ever` until the client disconnects, waiting before each."""

    def behave(connection: socket.socket) -> None:
        _request(connection)
        for part in chain(parts, repeat(ever) if ever else ()):
            threading.Event().wait(wait_seconds)
            connection.sendall(part)

    return behave


def _silent(connection: socket.socket) -> None:
    """Read until the client disconnects."""
    while connection.recv(65_536):
        pass


def _drip_record(connection: socket.socket) -> None:
    """Begin a TLS record, and end it much too late."""
    connection.sendall(b"\x16\x03\x03\x40\x00")
    while not threading.Event().wait(0.02):
        connection.sendall(b"\x02")


_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_HEAD = b"HTTP/1.1 200 OK\r\n"
BEHAVIOURS: list[tuple[Behaviour, str]] = [
    (_silent, LATE),
    (_answering(ever=b"H", wait_seconds=0.02), LATE),
    (_answering(*(bytes([byte]) for byte in OK), wait_seconds=0.02), LATE),
    (_answering(_HEAD, ever=b"x-a: 1\r\n", wait_seconds=0.02), LATE),
    (_answering(ever=b"HTTP/1.1 100 Continue\r\n\r\n"), LATE),
    (_answering(_CHUNKED, ever=b"1\r\na\r\n", wait_seconds=0.02), LATE),
    (_answering(_HEAD + b"Content-Length: 99\r\n\r\n", ever=b".", wait_seconds=0.02), LATE),
    (_answering(), NOT_HTTP),
    (_answering(b"\0\xff\x17 garbage \r\n\r\n"), NOT_HTTP),
    (_answering(b"SSH-2.0-OpenSSH_9.9\r\n"), NOT_HTTP),
    (_answering(b"HTTP/1.1 999999 No\r\n\r\n"), NOT_HTTP),
    (_answering(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\n\r\n"), NOT_HTTP),
    (_answering(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), NOT_HTTP),
    (_answering(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort"), NOT_HTTP),
    (_answering(_CHUNKED + b"zz\r\n"), NOT_HTTP),
    (_answering(_HEAD + b"x: " + b"a" * 200_000 + b"\r\n\r\n"), NOT_HTTP),
    (_answering(_HEAD, ever=b"x-a: 1\r\n" * 100), NOT_HTTP),
]


@pytest.mark.parametrize(("behave", "reason"), BEHAVIOURS)
def test_receivers_that_do_not_answer(behave: Behaviour, reason: str) -> None:
    """The call returns in time with one of few reasons."""
    with serving(behave) as port:
        answer = get(f"http://127.0.0.1:{port}/", make_egress([LOOPBACK]), _patience(reason))

    assert reason == require_reason(answer)


def _patience(reason: str) -> float:
    return SHORT_SECONDS if reason == LATE else LONG_SECONDS


def test_a_receiver_that_does_not_read() -> None:
    """The call returns in time though the body cannot be sent."""
    is_over = threading.Event()

    def take_little(connection: socket.socket) -> None:
        while not is_over.wait(0.02):
            connection.recv(1_000)

    with serving(take_little) as port:
        egress, body = make_egress([LOOPBACK]), bytes(32 * 1024 * 1024)
        answer = send(f"http://127.0.0.1:{port}/", egress, body=body, seconds=SHORT_SECONDS)
        is_over.set()

    assert LATE == require_reason(answer)


def test_a_resolver_that_does_not_answer() -> None:
    """The call returns in time, and others work meanwhile."""
    is_over = threading.Event()

    def resolve(host: str, _: int) -> Sequence[str]:
        if host == "slow.example":
            is_over.wait(LONG_SECONDS)
        return ["127.0.0.1"]

    egress = make_egress([LOOPBACK], resolve)
    with serving(_answering(OK)) as port:
        slow = [get("http://slow.example/", egress, 0.05) for _ in range(3)]
        fast = get(f"http://fast.example:{port}/", egress)
        is_over.set()

    assert [LATE] * 3 == [require_reason(answer) for answer in slow]
    assert 200 == require_answer(fast).status_code


def test_no_time_at_all() -> None:
    """With a time of zero every call is too late."""
    assert LATE == require_reason(get("http://93.184.215.14/", make_egress(), 0))


def test_a_port_where_nobody_listens() -> None:
    """A closed port has the same error as a refused address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    assert UNREACHABLE == require_reason(get(f"http://127.0.0.1:{port}/", make_egress([LOOPBACK])))


@pytest.mark.parametrize("ever", [b"a" * 1_000, b"3e8\r\n" + b"a" * 1_000 + b"\r\n"])
def test_a_body_without_end(ever: bytes) -> None:
    """An endless body is read up to the limit."""
    head = _CHUNKED if ever.endswith(b"\n") else b"HTTP/1.1 200 OK\r\n\r\n"
    with serving(_answering(head, ever=ever)) as port:
        answer = send(f"http://127.0.0.1:{port}/", make_egress([LOOPBACK]), answer_bytes_max=2_500)

    assert b"a" * 2_500 == require_answer(answer).body_start


@pytest.mark.parametrize("status", [200, 204, 301, 302, 307, 308, 304, 401, 410, 429, 500])
def test_every_status_is_an_answer(status: int) -> None:
    """Every status is an answer; a redirect is not followed."""
    seen: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        seen.append(_request(connection))
        head = (
            f"HTTP/1.1 {status} X\r\nLocation: /b\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 0\r\n\r\n"
        )
        connection.sendall(head.encode())

    with serving(behave) as port:
        answer = require_answer(get(f"http://127.0.0.1:{port}/a", make_egress([LOOPBACK])))

    assert (status, 1) == (answer.status_code, len(seen))
    assert {"location": "/b", "x-a": "1, 2", "content-length": "0"} == answer.headers
    assert answer.seconds > 0


def test_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request has exactly these bytes, uses no proxy, and closes the connection."""
    seen: list[bytes] = []
    theirs = [("X-One", "é"), ("HOST", "bad"), ("content-Length", "9"), ("Transfer-Encoding", "a")]
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    def behave(connection: socket.socket) -> None:
        received = _request(connection)
        seen.append(received if received.endswith(b"a=1") else received + connection.recv(3))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall right")

    with serving(behave) as port:
        egress = make_egress([LOOPBACK], lambda *_: ["127.0.0.1"])
        url = f"http://Good.Example:{port}/ü%20?q=ü&r#fragment"
        answer = send(url, egress, "POST", headers=theirs, body=b"a=1", answer_bytes_max=3)

    assert (
        b"POST /%C3%BC%20?q=%C3%BC&r HTTP/1.1\r\n"
        b"Host: good.example:" + str(port).encode() + b"\r\n"
        b"User-Agent: Batchway\r\nAccept-Encoding: identity\r\nConnection: close\r\n"
        b"Content-Length: 3\r\nX-One: \xe9\r\n\r\na=1"
    ) == seen[0]
    assert b"all" == require_answer(answer).body_start


@pytest.mark.parametrize(
    ("method", "name", "value"),
    [
        ("GET", "X-A", "1\r\nX-B: 2"),
        ("GET", "X-A", "1\n"),
        ("GET", "X-A", "\u20ac"),
        ("GET", "X A", "1"),
        ("GET", "é", "1"),
        ("GET / HTTP/1.1\r\n", "X-A", "1"),
        ("GÉT", "X-A", "1"),
    ],
)
def test_headers_that_cannot_be_sent(method: str, name: str, value: str) -> None:
    """Invalid headers are not sent, and raise no error."""
    with serving(_silent) as port:
        url = f"http://127.0.0.1:{port}/"
        answer = send(url, make_egress([LOOPBACK]), method, headers=[(name, value)])

    assert UNSENDABLE == require_reason(answer)


# --- TLS -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "is_trusted", "reason"),
    [
        ("good.example", True, None),
        ("good.example.", True, None),
        ("good.example", False, UNVERIFIED),
        ("bad.example", True, UNVERIFIED),
        ("127.0.0.1", True, UNVERIFIED),
    ],
)
def test_certificates_are_verified(
    tmp_path: Path, host: str, is_trusted: bool, reason: str | None
) -> None:
    """The certificate must be valid for the URL's host; a self-signed one is refused."""
    certificate = _certificate(tmp_path, "good.example")
    server, names = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), []
    server.load_cert_chain(certificate)
    server.sni_callback = lambda _, name, __: names.append(name)
    trust = make_tls_context()
    if is_trusted:
        trust.load_verify_locations(certificate)

    with serving(_answering(OK), server) as port:
        egress = Egress([LOOPBACK], lambda *_: ["127.0.0.1"], trust)
        answer = get(f"https://{host}:{port}/", egress)

    assert reason == (answer.reason if isinstance(answer, Unreached) else None)
    assert [host.removesuffix(".") if host != "127.0.0.1" else None] == names


@pytest.mark.parametrize(
    ("behave", "reason"),
    [(_silent, LATE), (_drip_record, LATE), (lambda line: line.sendall(OK), NOT_HTTP)],
)
def test_a_receiver_without_tls(behave: Behaviour, reason: str) -> None:
    """The call returns in time, whatever the receiver sends."""
    with serving(behave) as port:
        answer = get(f"https://127.0.0.1:{port}/", make_egress([LOOPBACK]), _patience(reason))

    assert reason == require_reason(answer)


def _certificate(folder: Path, name: str) -> Path:
    """Return a file with a self-signed certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    path = folder / "certificate.pem"
    path.write_bytes(certificate.public_bytes(pem) + secret)
    return path
