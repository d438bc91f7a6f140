"""Sends requests to URLs that users choose. No other module sends such requests.

A host name is resolved once, each of its addresses is checked, and the connection goes to one of
those addresses. One deadline covers the whole request. Errors are a few generic sentences, because
an error that names a refused address would let a user map the operator's network.
"""

import queue
import re
import socket
import ssl
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import quote

import httpcore
import idna

from batchway.kit.addresses import Address, Network, is_allowed

Resolver = Callable[[str, int], Sequence[str]]

UNREACHABLE: Final = "The address could not be reached."
LATE: Final = "It did not answer in time."
NOT_HTTP: Final = "It did not answer as HTTP does."
UNVERIFIED: Final = "Its certificate could not be verified."
UNSENDABLE: Final = "The request could not be sent: its method or a header is not valid."

URL_CHARACTERS_MAX = 2_048
_HOST_CHARACTERS_MAX = 253
_ADDRESSES_TRIED_MAX = 4  # of one host name, which could have thousands
_LOOK_UPS_AT_ONCE_MAX = 64  # an abandoned look-up still holds its thread

_DEFAULT_PORTS = {"http": 80, "https": 443}
_URL = re.compile(r"(https?)://([^/?#]*)([^#]*)(?:#.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[^\]]*\]|[^:]*)(?::(.*))?")
_PORT = re.compile(r"0*([0-9]{1,5})", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))

# Headers that describe the connection or frame the request; only `Egress` sets them.
_RESERVED_HEADERS = re.compile(
    "accept-encoding|connection|content-length|expect|host|keep-alive|proxy-connection|te|trailer|"
    "transfer-encoding|upgrade|user-agent",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Answered:
    """A response with any status. Header names are in lower case; the body may be truncated."""

    status_code: int
    headers: Mapping[str, str]
    body_start: bytes
    seconds: float


@dataclass(frozen=True)
class Unreached:
    """No response; `reason` is one of the constants at the top of this file."""

    reason: str
    seconds: float


def check_url(url: str) -> str | None:
    """Return a sentence about what is wrong with the form of a URL, or None. Resolves no name."""
    try:
        _parse_url(url)
    except _Malformed as error:
        return str(error)
    return None


def resolve_host(host: str, port: int) -> Sequence[str]:
    """Ask the operating system for the addresses of a host. Raises OSError if it has none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def make_tls_context() -> ssl.SSLContext:
    """Make a context that verifies certificates by the authorities that this machine trusts."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Egress:
    """Sends requests to public addresses and to `allowed` networks. Safe for many threads."""

    def __init__(
        self,
        allowed: Sequence[Network] = (),
        resolver: Resolver = resolve_host,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        """`allowed` are private networks that the operator lets users reach."""
        self._allowed = tuple(allowed)
        self._resolver = resolver
        self._trust = trust or make_tls_context()
        self._look_ups = threading.BoundedSemaphore(_LOOK_UPS_AT_ONCE_MAX)

    def send(  # noqa: PLR0913 - the parts of a request
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        seconds: float,
        answer_bytes_max: int,
    ) -> Answered | Unreached:
        """Send one request on a new connection, and return the response within `seconds`.

        Redirects are not followed and no proxy is used. At most `answer_bytes_max` of the
        response body are read. Headers about the connection, the host and the body length are set
        here; the caller's are dropped. No URL, header or response can make this method raise.
        """
        deadline = _Deadline(seconds)
        try:
            destination = _parse_url(url)
            sent = _build_headers(destination, headers, body)
            trust = self._trust if destination.is_secure else None
            network = _CheckedNetwork(self._resolve, trust, deadline)
            return _send_request(network, destination, (method, sent, body), answer_bytes_max)
        except (_Malformed, _Failed) as error:
            reason = UNREACHABLE if isinstance(error, _Malformed) else str(error)
        except (httpcore.LocalProtocolError, UnicodeEncodeError):
            reason = UNSENDABLE
        except (httpcore.ProtocolError, httpcore.NetworkError):
            reason = NOT_HTTP
        return Unreached(reason, deadline.elapsed_seconds())

    def _resolve(self, host: str, port: int, deadline: "_Deadline") -> list[Address]:
        """Return the addresses to try. Raises _Failed unless all addresses are allowed."""
        try:
            found = list(dict.fromkeys(map(ip_address, self._look_up(host, port, deadline))))
        except (OSError, ValueError):
            raise _Failed(UNREACHABLE) from None
        if not all(is_allowed(each, self._allowed) for each in found):
            raise _Failed(UNREACHABLE)
        return found[:_ADDRESSES_TRIED_MAX]

    def _look_up(self, host: str, port: int, deadline: "_Deadline") -> Sequence[str]:
        """Resolve in another thread, because the system's resolver accepts no deadline."""
        if not self._look_ups.acquire(timeout=deadline.remaining_seconds()):
            raise _Failed(LATE)
        answer: queue.SimpleQueue[Sequence[str]] = queue.SimpleQueue()

        def resolve() -> None:
            try:
                answer.put(self._resolver(host, port))
            except (OSError, ValueError):
                answer.put(())
            finally:
                self._look_ups.release()

        threading.Thread(target=resolve, daemon=True, name="look-up").start()
        try:
            return answer.get(timeout=deadline.remaining_seconds())
        except queue.Empty:
            raise _Failed(LATE) from None


class _Failed(Exception):
    """There will be no response; the message is for the user."""


class _Malformed(Exception):
    """Not a valid URL; the message is for the user."""


class _Deadline:
    """The time limit of one request, shared by all of its phases."""

    def __init__(self, seconds: float) -> None:
        self._began_at = time.monotonic()
        self._seconds = seconds

    def elapsed_seconds(self) -> float:
        return time.monotonic() - self._began_at

    def remaining_seconds(self) -> float:
        """Return the remaining time, which is more than zero. Raises _Failed when it is over."""
        left = self._seconds - self.elapsed_seconds()
        if left <= 0:
            raise _Failed(LATE)
        return left


# --- Parsing a URL -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Destination:
    """The parts of a URL. `host` is ASCII and lower-case; an IPv6 address has no brackets."""

    is_secure: bool
    host: str
    port: int
    path: str

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        is_usual = self.port == _DEFAULT_PORTS["https" if self.is_secure else "http"]
        return host if is_usual else f"{host}:{self.port}"


def _parse_url(url: str) -> _Destination:
    """Parse a URL. A URL that parsers interpret differently is refused, never repaired."""
    if len(url) > URL_CHARACTERS_MAX:
        raise _Malformed(f"The URL is longer than {URL_CHARACTERS_MAX} characters.")
    if any(_is_ambiguous(each) for each in url):
        raise _Malformed("The URL contains a space, a control character or a backslash.")
    parts = _URL.fullmatch(url)
    if parts is None:
        raise _Malformed("The URL must begin with http:// or https://.")
    scheme, authority, rest = parts[1].lower(), parts[2], parts[3]
    if "@" in authority:
        raise _Malformed("The URL must not contain a user name or a password.")
    host_and_port = _AUTHORITY.fullmatch(authority)
    if host_and_port is None:
        raise _Malformed("The URL's host is not valid.")
    host, port = host_and_port[1], host_and_port[2]
    path = quote(rest if rest.startswith("/") else f"/{rest}", safe=_PRINTABLE)
    return _Destination(
        is_secure=scheme == "https",
        host=_parse_host(host),
        port=_DEFAULT_PORTS[scheme] if port is None else _parse_port(port),
        path=path,
    )


def _is_ambiguous(character: str) -> bool:
    return character == "\\" or unicodedata.category(character) in {"Cc", "Cs", "Zs", "Zl", "Zp"}


def _parse_host(host: str) -> str:
    if host.startswith("["):
        return _parse_ipv6(host[1:-1])
    name = _encode_name(host).lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > _HOST_CHARACTERS_MAX or not all(map(_LABEL.fullmatch, labels)):
        raise _Malformed("The URL's host is not valid.")
    return name


def _parse_ipv6(text: str) -> str:
    try:
        address = IPv6Address(text)
    except ValueError:
        raise _Malformed("The URL's host is not valid.") from None
    if address.scope_id is not None:
        raise _Malformed("The URL's host must not name a network interface.")
    return str(address)


def _encode_name(host: str) -> str:
    """Return the name in ASCII, as it is resolved. Handles `straße.example` and `127。0。0。1`."""
    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except ValueError:
        raise _Malformed("The URL's host is not valid.") from None


def _parse_port(text: str) -> int:
    digits = _PORT.fullmatch(text)
    port = int(digits[1]) if digits else 0
    if not 0 < port < 1 << 16:
        raise _Malformed("The URL's port must be a number from 1 to 65535.")
    return port


# --- Sending the request -------------------------------------------------------------------------


def _build_headers(
    destination: _Destination, given: Sequence[tuple[str, str]], body: bytes
) -> list[tuple[bytes, bytes]]:
    """Return all headers. Raises UnicodeEncodeError for text that a header cannot contain."""
    reserved = [
        ("Host", destination.host_header),
        ("User-Agent", "Batchway"),
        ("Accept-Encoding", "identity"),  # no compressed response, so no decompression bomb
        ("Connection", "close"),
        ("Content-Length", str(len(body))),
    ]
    own = [(name, value) for name, value in given if not _RESERVED_HEADERS.fullmatch(name)]
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in (*reserved, *own)]


def _send_request(
    network: "_CheckedNetwork",
    destination: _Destination,
    request: tuple[str, list[tuple[bytes, bytes]], bytes],
    answer_bytes_max: int,
) -> Answered:
    method, headers, body = request
    # httpcore sees plain HTTP, and the network backend adds TLS. So TLS errors can be distinguished
    # from others; and httpcore would change the shared TLS context while other threads use it.
    url = httpcore.URL(
        scheme="http", host=destination.host, port=destination.port, target=destination.path
    )
    with (
        httpcore.HTTPConnection(url.origin, network_backend=network) as connection,
        connection.stream(method.encode("ascii"), url, headers=headers, content=body) as response,
    ):
        start = _read_start(response.iter_stream(), answer_bytes_max)
        return Answered(
            response.status,
            _join_headers(response.headers),
            start,
            network.deadline.elapsed_seconds(),
        )


def _read_start(chunks: Iterable[bytes], bytes_max: int) -> bytes:
    start = bytearray()
    if bytes_max > 0:
        for chunk in chunks:
            start += chunk
            if len(start) >= bytes_max:
                break
    return bytes(start[:bytes_max])


def _join_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers by name. The values of a repeated header are joined by commas."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


@dataclass(frozen=True)
class _CheckedNetwork(httpcore.NetworkBackend):
    """Opens connections for httpcore, to checked addresses only."""

    resolve: Callable[[str, int, _Deadline], list[Address]]
    trust: ssl.SSLContext | None = field(repr=False)  # None: no TLS
    deadline: _Deadline

    def connect_tcp(self, host: str, port: int, *_: object, **__: object) -> "_TimedStream":
        """Open a connection that ends with the deadline, with TLS if the URL is https."""
        connected = self._connect_any(self.resolve(host, port, self.deadline), port)
        if self.trust is not None:
            connected = _start_tls(connected, host, self.trust, self.deadline)
        return _TimedStream(connected, self.deadline)

    def _connect_any(self, addresses: list[Address], port: int) -> socket.socket:
        """Try the addresses one after the other, each with its share of the remaining time."""
        reason = UNREACHABLE
        for index, address in enumerate(addresses):
            share = self.deadline.remaining_seconds() / (len(addresses) - index)
            try:
                return _connect(address, port, share)
            except TimeoutError:
                reason = LATE
            except OSError:
                continue
        raise _Failed(reason)


def _connect(address: Address, port: int, seconds: float) -> socket.socket:
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.settimeout(seconds)
        opened.connect((str(address), port))
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        opened.close()
        raise
    return opened


def _start_tls(
    plain: socket.socket, host: str, trust: ssl.SSLContext, deadline: _Deadline
) -> ssl.SSLSocket:
    """Return the connection with TLS, verified for this host. Closes it if that fails."""
    try:
        plain.settimeout(deadline.remaining_seconds())
        return trust.wrap_socket(plain, server_hostname=host)
    except ssl.SSLCertVerificationError:
        reason = UNVERIFIED
    except (TimeoutError, _Failed):
        reason = LATE
    except (OSError, ValueError):
        reason = NOT_HTTP
    plain.close()
    raise _Failed(reason)


class _TimedStream(httpcore.NetworkStream):
    """A connection on which no call lasts longer than the deadline or its own time-out."""

    def __init__(self, connected: socket.socket, deadline: _Deadline) -> None:
        self._connected = connected
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return received bytes; none at the end. Raises _Failed and httpcore.ReadError."""
        self._set_timeout(timeout)
        try:
            return self._connected.recv(max_bytes)
        except TimeoutError:
            raise _Failed(LATE) from None
        except OSError as error:
            raise httpcore.ReadError(str(error)) from None

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send everything. Raises _Failed, and httpcore.WriteError, which httpcore may ignore."""
        unsent = memoryview(buffer)
        while unsent:
            self._set_timeout(timeout)
            try:
                unsent = unsent[self._connected.send(unsent) :]
            except TimeoutError:
                raise _Failed(LATE) from None
            except OSError as error:
                raise httpcore.WriteError(str(error)) from None

    def close(self) -> None:
        """Close the connection. May be called more than once."""
        self._connected.close()

    def _set_timeout(self, timeout: float | None) -> None:
        left = self._deadline.remaining_seconds()
        self._connected.settimeout(left if timeout is None else min(timeout, left))
