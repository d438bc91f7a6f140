"""The egress: which addresses may be reached, and which URLs are valid."""

import socket
from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_network
from itertools import chain, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchway.kit.egress import (
    UNREACHABLE,
    Unreached,
    check_url,
    resolve_host,
)
from tests.egress_requests import get, make_egress, require_reason

PUBLIC = "93.184.215.14"
PUBLIC_6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"

Knocks = list[tuple[str, int]]


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
        for address in addresses:
            yield (f"[{address}]" if ":" in address else address), [address], verdict == "reached"


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
    ("many.example", [*[f"93.184.215.{number}" for number in range(1, 50)], "127.0.0.1"], False),
    ("none.example", [], False),
    ("odd.example", ["127.1"], False),
    ("odd.example", ["good.example"], False),
]


@pytest.fixture
def knocks(monkeypatch: pytest.MonkeyPatch) -> Knocks:
    """Records each address that a connection is tried to. No connection is made."""
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
    """All addresses of a name must be public, and no answer reveals whether they are."""
    answer = get(f"http://{host}/", make_egress(resolver=lambda *_: resolved))

    expected = [ip_address(address) for address in resolved] if is_reached else []
    assert expected == [ip_address(address) for address, _ in knocks]
    assert UNREACHABLE == require_reason(answer)


SPELLINGS = """
127.1 127.0.1 2130706433 0x7f000001 0x7f.0.0.1 0177.0.0.1 017700000001 0 0x0 0.0 10.1 0xa9fea9fe
2852039166 0251.0376.0251.0376 ①②⑦.0.0.1 \uff11\uff12\uff17.0.0.1 127。0。0。1 127\uff0e1 127｡0｡0｡1
127.0.0.1. localhost LOCALHOST localhost. ⓛocalhost [::1] [0:0:0:0:0:0:0:1] [::ffff:7f00:1]
[::127.0.0.1] good@127.0.0.1 127.0.0.1#@good good\\@127.0.0.1
"""


@pytest.mark.parametrize("host", SPELLINGS.split())
def test_other_spellings_of_private_addresses(knocks: Knocks, host: str) -> None:
    """Addresses are checked as the system's resolver understands them."""
    answer = get(f"http://{host}/", make_egress(resolver=resolve_host))

    assert [] == knocks
    assert UNREACHABLE == require_reason(answer)


@pytest.mark.parametrize(
    ("network", "reached", "refused"),
    [
        ("10.1.0.0/16", "10.1.2.3 ::ffff:10.1.2.3", "10.2.0.1 ::ffff:10.2.0.1"),
        ("10.1.0.0/16", "64:ff9b::10.1.2.3 2002:a01:203::1", "64:ff9b::10.2.0.1 127.0.0.1"),
        ("fd00:1::/32", "fd00:1::5", "fd00:2::5"),
        ("fe80::/10", "fe80::1", "fe80::1%1"),
        ("64:ff9b:1::/48", "64:ff9b:1::10.0.0.1", "10.0.0.1"),
        ("168.63.129.16/32", "168.63.129.16", "169.254.169.254"),
    ],
)
def test_what_the_operator_allows(knocks: Knocks, network: str, reached: str, refused: str) -> None:
    """Only private addresses that the operator allows can be reached."""
    for address in (*reached.split(), *refused.split()):
        answers = [address]
        get("http://in.example/", make_egress([ip_network(network)], lambda *_, a=answers: a))

    assert [ip_address(address) for address in reached.split()] == [
        ip_address(host) for host, _ in knocks
    ]


def test_a_name_is_looked_up_once(knocks: Knocks) -> None:
    """A name is resolved once, so that a second answer has no effect."""
    answers = chain([[PUBLIC, "1.1.1.1"]], repeat(["127.0.0.1"]))

    get("https://turning.example:8443/", make_egress(resolver=lambda *_: next(answers)))

    assert [(PUBLIC, 8443), ("1.1.1.1", 8443)] == knocks
    assert ["127.0.0.1"] == next(answers)


def test_few_addresses_of_a_name_are_tried(knocks: Knocks) -> None:
    """The number of addresses that are tried is limited, and each is tried once."""
    many = [f"93.184.{number // 2}.1" for number in range(200)]

    get("http://many.example/", make_egress(resolver=lambda *_: many))

    assert [(f"93.184.{number}.1", 80) for number in range(4)] == knocks


@pytest.mark.parametrize("error", [socket.gaierror("no"), UnicodeError("no"), TimeoutError("no")])
def test_a_name_that_does_not_resolve(error: Exception) -> None:
    """An unknown name has the same error as a refused address."""

    def fail(*_: object) -> Sequence[str]:
        raise error

    assert UNREACHABLE == require_reason(get("http://nowhere.example/", make_egress(resolver=fail)))


# --- URLs ----------------------------------------------------------------------------------------

# What is said about URLs, or whom they are for.
SHAPES = """
good.example:80       http://good.example/ http://good.example HTTP://Good.Example/
good.example:80       http://good.example?a=@b http://good.example#@bad.example/
good.example:80       http://good.example/@bad.example:99/ http://good.example./ http://good。example
good.example:80       http://good.example:00080/
good.example:443      HtTpS://good.example/a?b=c#d
good.example:65535    http://good.example:65535/
a_b.good-1.example:80 http://a_b.good-1.example/
xn--strae-oqa.de:80   http://straße.de/ü
2606:2800::1:81       http://[2606:2800:0::1]:81/
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
host is not valid     http://a\uff20b/ http://a\uff0fb/ http://\u00ad/ http://a\u200db/
network interface     http://[fe80::1%25eth0]/
a backslash           http://good\\@127.0.0.1/ http://good.example\\@bad.example/
"""
_SPACES = " \t\n\r\0\x7f\x85\xa0\u2028\u3000\ud800"


def _shapes() -> Iterator[tuple[str, str]]:
    for line in SHAPES.strip().splitlines():
        for url in line[22:].split():
            yield url, line[:22].strip()
    for host in ("a" * 64, "a." * 127 + "a", "é" * 64):
        yield f"http://{host}/", "host is not valid"
    for injected in (*_SPACES, " HTTP/1.1\r\nX-Injected: 1"):
        for url in ("http://good{}.example/", "{}http://a/", "http://good.example/{}"):
            yield url.format(injected), "a space, a control character"
    yield "", "begin with http"
    yield "http://good.example/" + "a" * 2_028, "good.example:80"
    yield "http://good.example/" + "a" * 2_029, "longer than 2048"


@pytest.mark.parametrize(("url", "expected"), list(_shapes()))
def test_the_shape_of_a_url(url: str, expected: str) -> None:
    """A URL is resolved, or refused with a reason."""
    asked: list[str] = []

    def note(host: str, port: int) -> Sequence[str]:
        asked.append(f"{host}:{port}")
        return ()

    said, answer = check_url(url), get(url, make_egress(resolver=note))

    assert (expected in asked) if said is None else (expected in said and not asked)
    assert UNREACHABLE == require_reason(answer)


@given(
    st.text() | st.text().map("http://{}".format) | st.text(":/@[]%.a1\\#?é").map("http:{}".format)
)
def test_any_text_is_a_url_or_not(text: str) -> None:
    """Any text is a URL, or has a reason why not."""
    said = check_url(text)

    assert said is None or said.endswith(".")
    assert isinstance(get(text, make_egress(resolver=lambda *_: ())), Unreached)
