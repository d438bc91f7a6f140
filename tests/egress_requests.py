"""Sends requests through the egress, with a resolver and a local network of the test."""

import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from typing import Any

from batchway.kit.addresses import Network
from batchway.kit.egress import (
    Answered,
    Egress,
    Resolver,
    Unreached,
    make_tls_context,
    resolve_host,
)

SHORT_SECONDS = 0.3
LONG_SECONDS = 30.0
LOOPBACK = ip_network("127.0.0.1/32")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

TRUST = make_tls_context()  # reading the authorities takes a while

Behaviour = Callable[[socket.socket], None]


def make_egress(allowed: Sequence[Network] = (), resolver: Resolver = resolve_host) -> Egress:
    """Return an egress that allows these networks and uses this resolver."""
    return Egress(allowed, resolver, TRUST)


def get(url: str, egress: Egress, seconds: float = LONG_SECONDS) -> Answered | Unreached:
    """Send a GET, and return its outcome."""
    return send(url, egress, seconds=seconds)


def send(url: str, egress: Egress, method: str = "GET", **parts: Any) -> Answered | Unreached:
    """Send a request, and return its outcome."""
    usual: dict[str, Any] = {
        "headers": (),
        "body": b"",
        "seconds": LONG_SECONDS,
        "answer_bytes_max": 1_000,
    }
    return egress.send(method, url, **(usual | parts))


def require_reason(answer: Answered | Unreached) -> str:
    """Return why there was no answer. Fail if there was one."""
    assert isinstance(answer, Unreached), answer
    return answer.reason


def require_answer(answer: Answered | Unreached) -> Answered:
    """Return the answer. Fail if there was none."""
    assert isinstance(answer, Answered), answer
    return answer
