"""The way out: which addresses are reached, which URLs are taken, and what receivers do."""

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from batchway.kit.egress import (
    LATE,
    NOT_HTTP,
    UNREACHABLE,
    UNSENDABLE,
    UNVERIFIED,
    Answered,
    Egress,
    Network,
    Resolver,
    Unreached,
    check_url,
    system_resolver,
    system_trust,
)

SHORT_SECONDS = 0.3
LONG_SECONDS = 30.0
LOOPBACK = ip_network("127.0.0.1/32")
PUBLIC = "93.184.215.14"
PUBLIC_6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

TRUST = system_trust()  # reading the authorities takes a while

Knocks = list[tuple[str, int]]
Behaviour = Callable[[socket.socket], None]


# --- Addresses -----------------------------------------------------------------------------------

# Whether addresses are reached, each as the host of a URL.
LITERALS = """
reached  93.184.215.14 2606:2800:21f:cb07:6820:80da:af6b:8b2c 2000::1 1.1.1.1 223.255.255.255
reached  9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 168.63.129.15
reached  126.255.255.255 128.0.0.1 169.253.255.255 198.17.255.255 198.20.0.0
refused  127.0.0.1 127.255.255.254 0.0.0.0 0.1.2.3 :: ::1           # this machine
refused  10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.0.1  # its networks
refused  fc00::1 fdff:ffff::1 fec0::1 fe80::1
refused  169.254.169.254 fd00:ec2::254 100.100.100.200 192.0.0.192 168.63.129.16  # of clouds
refused  100.64.0.1 100.127.255.255 192.0.0.9 192.0.2.1 192.88.99.1  # kept for other uses
refused  198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1
refused  224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
refused  100::1 2001:2::1 2001:20::1 2001:db8::1 3fff::1 4000::1 5f00::1 ff02::1 ff0e::1
reached  ::ffff:8.8.8.8                                             # IPv4 in IPv6
refused  ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::127.0.0.1 ::10.0.0.1
refused  ::ffff:0:127.0.0.1 ::ffff:0:8.8.8.8
reached  64:ff9b::8.8.8.8                                           # NAT64
refused  64:ff9b::10.0.0.1 64:ff9b::168.63.129.16 64:ff9b:1::10.0.0.1 64:ff9b:1:a00:0:100:808:808
reached  2002:808:808::1 2001:0:808:808::f7f7:f7f7                  # 6to4, Teredo
refused  2002:7f00:1::1 2002:c0a8:101::1 2001:0:808:808::80ff:fffe 2001:0:a00:1::f7f7:f7f7
"""


def _literals() -> Iterator[tuple[str, list[str], bool]]:
    for line in LITERALS.strip().splitlines():
        verdict, *addresses = line.partition("#")[0].split()
        for each in addresses:
            yield (f"[{each}]" if ":" in each else each), [each], verdict == "reached"


# Host of the URL, what it resolves to, and whether it is reached.
ADDRESSES: list[tuple[str, list[str], bool]] = [
    *_literals(),
    ("good.example", [PUBLIC], True),
    ("good.example", [PUBLIC_6], True),
    ("localhost", ["127.0.0.1"], False),
    ("link.example", ["fe80::1%eth0"], False),
    ("scoped.example", [f"{PUBLIC_6}%eth0"], False),
    ("two.example", [PUBLIC, "10.0.0.1"], False),
    ("two.example", ["10.0.0.1", PUBLIC], False),
    ("two.example", [PUBLIC_6, "::1"], False),
    ("many.example", [*[f"93.184.215.{each}" for each in range(1, 50)], "127.0.0.1"], False),
    ("none.example", [], False),
    ("odd.example", ["127.1"], False),
    ("odd.example", ["good.example"], False),
]


@pytest.fixture
def knocks(monkeypatch: pytest.MonkeyPatch) -> Knocks:
    """Every address to which a connection is tried; nobody opens, and no network is needed."""
    tried: Knocks = []

    def refuse(_: socket.socket, address: tuple[str, int]) -> None:
        tried.append(address[:2])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tried


@pytest.mark.parametrize(("host", "resolved", "is_reached"), ADDRESSES)
def test_only_public_addresses_are_reached(
    knocks: Knocks, host: str, resolved: list[str], is_reached: bool
) -> None:
    """All that a name has must be public; and whether it is, no answer tells."""
    answer = _get(f"http://{host}/", _egress(resolver=lambda *_: resolved))

    expected = [ip_address(each) for each in resolved] if is_reached else []
    assert expected == [ip_address(address) for address, _ in knocks]
    assert UNREACHABLE == _reason(answer)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "017700000001",
        ),
        *("0", "0x0", "0.0", "10.1", "0xa9fea9fe", "2852039166", "0251.0376.0251.0376"),
        *("①②⑦.0.0.1", "\uff11\uff12\uff17.0.0.1", "127。0。0。1", "127\uff0e1", "127｡0｡0｡1"),
        *("127.0.0.1.", "localhost", "LOCALHOST", "localhost.", "ⓛocalhost"),
        *("[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:7f00:1]", "[::127.0.0.1]"),
    ],
)
def test_other_spellings_of_private_addresses(knocks: Knocks, host: str) -> None:
    """What the system's resolver makes of them is what is checked."""
    answer = _get(f"http://{host}/", _egress(resolver=system_resolver))

    assert [] == knocks
    assert UNREACHABLE == _reason(answer)


@pytest.mark.parametrize(
    ("network", "address", "is_reached"),
    [
        ("10.1.0.0/16", "10.1.2.3", True),
        ("10.1.0.0/16", "10.2.0.1", False),
        ("10.1.0.0/16", "::ffff:10.1.2.3", True),
        ("10.1.0.0/16", "64:ff9b::10.1.2.3", True),
        ("10.1.0.0/16", "2002:a01:203::1", True),
        ("10.1.0.0/16", "64:ff9b::10.2.0.1", False),
        ("fd00:1::/32", "fd00:1::5", True),
        ("fd00:1::/32", "fd00:2::5", False),
        ("fe80::/10", "fe80::1%1", False),
        ("64:ff9b:1::/48", "64:ff9b:1::10.0.0.1", True),
        ("168.63.129.16/32", "168.63.129.16", True),
    ],
)
def test_what_the_operator_allows(
    knocks: Knocks, network: str, address: str, is_reached: bool
) -> None:
    """Is reached though it is private, but nothing else is."""
    _get("http://in.example/", _egress([ip_network(network)], lambda *_: [address]))

    assert is_reached == bool(knocks)


def test_a_name_is_looked_up_once(knocks: Knocks) -> None:
    """A resolver that thinks of something else the second time changes nothing."""
    answers = chain([[PUBLIC, "1.1.1.1"]], repeat(["127.0.0.1"]))

    _get("https://turning.example:8443/", _egress(resolver=lambda *_: next(answers)))

    assert [(PUBLIC, 8443), ("1.1.1.1", 8443)] == knocks
    assert ["127.0.0.1"] == next(answers)


def test_few_addresses_of_a_name_are_tried(knocks: Knocks) -> None:
    """Nobody makes us knock at a thousand doors, or twice at one."""
    many = [f"93.184.{each // 2}.1" for each in range(200)]

    _get("http://many.example/", _egress(resolver=lambda *_: many))

    assert [(f"93.184.{each}.1", 80) for each in range(4)] == knocks


@pytest.mark.parametrize("error", [socket.gaierror("no"), UnicodeError("no"), TimeoutError("no")])
def test_a_name_that_does_not_resolve(error: Exception) -> None:
    """Sounds like an address that was refused."""

    def fail(*_: object) -> Sequence[str]:
        raise error

    assert UNREACHABLE == _reason(_get("http://nowhere.example/", _egress(resolver=fail)))


# --- URLs ----------------------------------------------------------------------------------------

# What is said about URLs.
REFUSED_URLS = """
begin with http       good.example //good.example/ http:/good.example httpss://good.example/
begin with http       ftp://good.example/ gopher://good.example/ ws://good.example/
begin with http       file:///etc/passwd javascript:alert(1) data:,a
user name             http://good@127.0.0.1/ http://good:80@127.0.0.1/ http://@127.0.0.1/
user name             http://a@b@127.0.0.1/ http://a%40@127.0.0.1/ http://127.0.0.1:80@good.example/
port                  http://good.example:/ http://good.example:0/ http://good.example:65536/
port                  http://good.example:-1/ http://good.example:+80/ http://good.example:80x/
port                  http://good.example:٨٠/ http://good.example:80:80/
host is not valid     http:// http:/// http://:80/ http://./ http://../ http://a..b/ http://.a/
host is not valid     http://a../ http://-a/ http://a-/ http://a,b/ http://*/ http://127%2e1/
host is not valid     http://[::1/ http://[]/ http://[1.2.3.4]/ http://[::1]a/ http://::1/
network interface     http://[fe80::1%25eth0]/
a backslash           http://good\\@127.0.0.1/ http://good.example\\@bad.example/
"""
_SPACES = " \t\n\r\0\x7f\x85\xa0\u2028\u3000\ud800"


def _refused_urls() -> Iterator[tuple[str, str, str]]:
    for line in REFUSED_URLS.strip().splitlines():
        for url in line[22:].split():
            yield url, line[:22].strip(), ""
    for host in (
        "a" * 64,
        "a." * 127 + "a",
        "a\uff20b",
        "a\uff0fb",
        "\u00ad",
        "a\u200db",
        "é" * 64,
    ):
        yield f"http://{host}/", "host is not valid", ""
    for each in (*_SPACES, " HTTP/1.1\r\nX-Injected: 1"):
        for url in (
            f"http://good{each}.example/",
            f"{each}http://a/",
            f"http://good.example/{each}",
        ):
            yield url, "a space, a control character", ""
    yield "", "begin with http", ""
    yield "http://good.example/" + "a" * 2_029, "longer than 2048", ""


# A URL, what is wrong with it, and whom it is for if nothing is.
URLS: list[tuple[str, str, str]] = [
    *_refused_urls(),
    ("http://good.example/", "", "good.example:80"),
    ("http://good.example", "", "good.example:80"),
    ("HTTP://Good.Example/", "", "good.example:80"),
    ("HtTpS://good.example/a?b=c#d", "", "good.example:443"),
    ("http://good.example?a=@b", "", "good.example:80"),
    ("http://good.example#@bad.example/", "", "good.example:80"),
    ("http://good.example/@bad.example:99/", "", "good.example:80"),
    ("http://good.example:00080/", "", "good.example:80"),
    ("http://good.example:65535/", "", "good.example:65535"),
    ("http://good.example./", "", "good.example:80"),
    ("http://a_b.good-1.example/", "", "a_b.good-1.example:80"),
    ("http://straße.example/ü", "", "xn--strae-oqa.example:80"),
    ("http://good。example/", "", "good.example:80"),
    ("http://[2606:2800:0::1]:81/", "", "2606:2800::1:81"),
    ("http://good.example/" + "a" * 2_028, "", "good.example:80"),
]


@pytest.mark.parametrize(("url", "wrong", "expected"), URLS)
def test_the_shape_of_a_url(url: str, wrong: str, expected: str) -> None:
    """What is said about it, and whether any name is looked up for it."""
    asked: list[str] = []

    def note(host: str, port: int) -> Sequence[str]:
        asked.append(f"{host}:{port}")
        return ()

    said, answer = check_url(url), _get(url, _egress(resolver=note))

    assert wrong in (said or "")
    assert bool(wrong) == (said is not None)
    assert [expected] * (not wrong) == asked
    assert UNREACHABLE == _reason(answer)


@pytest.mark.parametrize(
    "url",
    ["http://good@127.0.0.1/", "http://127.0.0.1#@good/", "http://good\\@127.0.0.1/"],
)
def test_no_trick_with_a_user_name_reaches_a_private_address(knocks: Knocks, url: str) -> None:
    """There is one reader of URLs, so that two cannot disagree."""
    _get(url, _egress())

    assert [] == knocks


@given(
    st.text() | st.text().map("http://{}".format) | st.text(":/@[]%.a1\\#?é").map("http:{}".format)
)
def test_any_text_is_a_url_or_not(text: str) -> None:
    """A sentence or none, and no error."""
    said = check_url(text)

    assert said is None or said.endswith(".")
    assert isinstance(_get(text, _egress(resolver=lambda *_: ())), Unreached)


# --- Receivers -----------------------------------------------------------------------------------


@contextmanager
def serving(behave: Behaviour, trust: ssl.SSLContext | None = None) -> Iterator[int]:
    """A port of 127.0.0.1; each connection is left to `behave` until it returns."""
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
    """The head of a request."""
    head = b""
    while b"\r\n\r\n" not in head and (more := connection.recv(65_536)):
        head += more
    return head


def _answering(*parts: bytes, ever: bytes = b"", wait_seconds: float = 0.0) -> Behaviour:
    """Send the parts, then `ever` until the other side hangs up, waiting before each."""

    def behave(connection: socket.socket) -> None:
        _request(connection)
        for part in chain(parts, repeat(ever) if ever else ()):
            threading.Event().wait(wait_seconds)
            connection.sendall(part)

    return behave


def _silent(connection: socket.socket) -> None:
    """Read until the other side hangs up."""
    while connection.recv(65_536):
        pass


def _drip_record(connection: socket.socket) -> None:
    """Begin a TLS record, and end it much too late."""
    connection.sendall(b"\x16\x03\x03\x40\x00")
    while not threading.Event().wait(0.02):
        connection.sendall(b"\x02")


_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_HEAD = b"HTTP/1.1 200 OK\r\n"
_EVER: list[tuple[Behaviour, str]] = [
    (_silent, LATE),
    (_answering(ever=b"H", wait_seconds=0.02), LATE),
    (_answering(*(bytes([each]) for each in OK), wait_seconds=0.02), LATE),
    (_answering(_HEAD, ever=b"x-a: 1\r\n", wait_seconds=0.02), LATE),
    (_answering(ever=b"HTTP/1.1 100 Continue\r\n\r\n"), LATE),
    (_answering(_CHUNKED, ever=b"1\r\na\r\n", wait_seconds=0.02), LATE),
    (_answering(_HEAD + b"Content-Length: 99\r\n\r\n", ever=b".", wait_seconds=0.02), LATE),
]
_AT_ONCE: list[tuple[Behaviour, str]] = [
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


@pytest.mark.parametrize(
    ("behave", "reason", "seconds"),
    [
        *((*each, SHORT_SECONDS) for each in _EVER),
        *((*each, LONG_SECONDS) for each in _AT_ONCE),
    ],
)
def test_receivers_that_do_not_answer(behave: Behaviour, reason: str, seconds: float) -> None:
    """Control comes back, with one of the few reasons."""
    with serving(behave) as port:
        answer = _get(f"http://127.0.0.1:{port}/", _egress([LOOPBACK]), seconds)

    assert reason == _reason(answer)


def test_a_receiver_that_does_not_read() -> None:
    """Control comes back though the body cannot be sent."""
    is_over = threading.Event()

    def take_little(connection: socket.socket) -> None:
        while not is_over.wait(0.02):
            connection.recv(1_000)

    with serving(take_little) as port:
        egress, body = _egress([LOOPBACK]), bytes(32 * 1024 * 1024)
        answer = _send(f"http://127.0.0.1:{port}/", egress, body=body, seconds=SHORT_SECONDS)
        is_over.set()

    assert LATE == _reason(answer)


def test_a_resolver_that_does_not_answer() -> None:
    """Control comes back, and others can be reached meanwhile."""
    is_over = threading.Event()

    def resolve(host: str, _: int) -> Sequence[str]:
        if host == "slow.example":
            is_over.wait(LONG_SECONDS)
        return ["127.0.0.1"]

    egress = _egress([LOOPBACK], resolve)
    with serving(_answering(OK)) as port:
        slow = [_get("http://slow.example/", egress, 0.05) for _ in range(3)]
        fast = _get(f"http://fast.example:{port}/", egress)
        is_over.set()

    assert [LATE] * 3 == [_reason(each) for each in slow]
    assert 200 == _answered(fast).status_code


def test_no_time_at_all() -> None:
    """Is too late for everything."""
    assert LATE == _reason(_get(f"http://{PUBLIC}/", _egress(), 0))


def test_a_port_where_nobody_listens() -> None:
    """Sounds like an address that was refused."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    assert UNREACHABLE == _reason(_get(f"http://127.0.0.1:{port}/", _egress([LOOPBACK])))


@pytest.mark.parametrize("ever", [b"a" * 1_000, b"3e8\r\n" + b"a" * 1_000 + b"\r\n"])
def test_a_body_without_end(ever: bytes) -> None:
    """Is read as far as it is wanted."""
    head = _CHUNKED if ever.endswith(b"\n") else b"HTTP/1.1 200 OK\r\n\r\n"
    with serving(_answering(head, ever=ever)) as port:
        answer = _send(f"http://127.0.0.1:{port}/", _egress([LOOPBACK]), answer_bytes_max=2_500)

    assert b"a" * 2_500 == _answered(answer).body_start


@pytest.mark.parametrize("status", [200, 204, 301, 302, 307, 308, 304, 401, 410, 429, 500])
def test_every_status_is_an_answer(status: int) -> None:
    """A redirect, too: it is not followed."""
    seen: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        seen.append(_request(connection))
        head = (
            f"HTTP/1.1 {status} X\r\nLocation: /b\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 0\r\n\r\n"
        )
        connection.sendall(head.encode())

    with serving(behave) as port:
        answer = _answered(_get(f"http://127.0.0.1:{port}/a", _egress([LOOPBACK])))

    assert (status, 1) == (answer.status_code, len(seen))
    assert {"location": "/b", "x-a": "1, 2", "content-length": "0"} == answer.headers
    assert answer.seconds > 0


def test_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly this: what frames the request is ours, no proxy is asked, and it ends with itself."""
    seen: list[bytes] = []
    theirs = [("X-One", "é"), ("HOST", "bad"), ("content-Length", "9"), ("Transfer-Encoding", "a")]
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    def behave(connection: socket.socket) -> None:
        received = _request(connection)
        seen.append(received if received.endswith(b"a=1") else received + connection.recv(3))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall right")

    with serving(behave) as port:
        egress = _egress([LOOPBACK], lambda *_: ["127.0.0.1"])
        url = f"http://Good.Example:{port}/ü%20?q=ü&r#fragment"
        answer = _send(url, egress, "POST", headers=theirs, body=b"a=1", answer_bytes_max=3)

    assert (
        b"POST /%C3%BC%20?q=%C3%BC&r HTTP/1.1\r\n"
        b"Host: good.example:" + str(port).encode() + b"\r\n"
        b"User-Agent: Batchway\r\nAccept-Encoding: identity\r\nConnection: close\r\n"
        b"Content-Length: 3\r\nX-One: \xe9\r\n\r\na=1"
    ) == seen[0]
    assert b"all" == _answered(answer).body_start


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
    """Nothing is smuggled into a request, and nothing raises."""
    with serving(_silent) as port:
        url = f"http://127.0.0.1:{port}/"
        answer = _send(url, _egress([LOOPBACK]), method, headers=[(name, value)])

    assert UNSENDABLE == _reason(answer)


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
    """For the name in the URL, which the server is told, too; a self-signed one is not trusted."""
    certificate = _certificate(tmp_path, "good.example")
    server, names = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), []
    server.load_cert_chain(certificate)
    server.sni_callback = lambda _, name, __: names.append(name)
    trust = system_trust()
    if is_trusted:
        trust.load_verify_locations(certificate)

    with serving(_answering(OK), server) as port:
        egress = Egress([LOOPBACK], lambda *_: ["127.0.0.1"], trust)
        answer = _get(f"https://{host}:{port}/", egress)

    assert reason == (answer.reason if isinstance(answer, Unreached) else None)
    assert [host.removesuffix(".") if host != "127.0.0.1" else None] == names


@pytest.mark.parametrize(
    ("behave", "reason", "seconds"),
    [
        (_silent, LATE, SHORT_SECONDS),
        (_drip_record, LATE, SHORT_SECONDS),
        (lambda connection: connection.sendall(OK), NOT_HTTP, LONG_SECONDS),
    ],
)
def test_a_receiver_without_tls(behave: Behaviour, reason: str, seconds: float) -> None:
    """Control comes back, whatever it says."""
    with serving(behave) as port:
        answer = _get(f"https://127.0.0.1:{port}/", _egress([LOOPBACK]), seconds)

    assert reason == _reason(answer)


def _certificate(folder: Path, name: str) -> Path:
    """A file with a self-signed certificate and its key."""
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
    path = folder / "certificate.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


# --- Asking --------------------------------------------------------------------------------------


def _egress(allowed: Sequence[Network] = (), resolver: Resolver = system_resolver) -> Egress:
    return Egress(allowed, resolver, TRUST)


def _get(url: str, egress: Egress, seconds: float = LONG_SECONDS) -> Answered | Unreached:
    return _send(url, egress, seconds=seconds)


def _send(url: str, egress: Egress, method: str = "GET", **parts: Any) -> Answered | Unreached:
    usual = {"headers": (), "body": b"", "seconds": LONG_SECONDS, "answer_bytes_max": 1_000}
    return egress.send(method, url, **(usual | parts))


def _reason(answer: Answered | Unreached) -> str:
    assert isinstance(answer, Unreached), answer
    return answer.reason


def _answered(answer: Answered | Unreached) -> Answered:
    assert isinstance(answer, Answered), answer
    return answer
