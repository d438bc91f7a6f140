"""The only door to the network for addresses that users give.

A name is looked up once, every address that it has is checked, and the connection goes to one of
those. One deadline holds for all of it, and what went wrong is told in a few generic sentences: an
error that names what was refused would let a user map the operator's network.
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

from batchway.kit.addresses import Address, Network, may_be_reached

Resolver = Callable[[str, int], Sequence[str]]

UNREACHABLE: Final = "The address could not be reached."
LATE: Final = "It did not answer in time."
NOT_HTTP: Final = "It did not answer as HTTP does."
UNVERIFIED: Final = "Its certificate could not be verified."
UNSENDABLE: Final = "The request could not be sent: its method or a header is not valid."

URL_CHARACTERS_MAX = 2_048
_HOST_CHARACTERS_MAX = 253
_ADDRESSES_TRIED_MAX = 4  # of one name: nobody makes us knock at a thousand doors
_LOOK_UPS_AT_ONCE_MAX = 64  # a look-up that nobody waits for any more still holds its thread

_DEFAULT_PORTS = {"http": 80, "https": 443}
_URL = re.compile(r"(https?)://([^/?#]*)([^#]*)(?:#.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[^\]]*\]|[^:]*)(?::(.*))?")
_PORT = re.compile(r"0*([0-9]{1,5})", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))

# What frames the request is ours to say.
_OUR_HEADERS = re.compile(
    "accept-encoding|connection|content-length|expect|host|keep-alive|proxy-connection|te|trailer|"
    "transfer-encoding|upgrade|user-agent",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Answered:
    """An answer, whatever its status. Names of headers are lower-case; a body may be cut short."""

    status_code: int
    headers: Mapping[str, str]
    body_start: bytes
    seconds: float


@dataclass(frozen=True)
class Unreached:
    """No answer; `reason` is one of the sentences at the top of this file."""

    reason: str
    seconds: float


def check_url(url: str) -> str | None:
    """A sentence about what is wrong with the shape of a URL, or None. It looks nothing up."""
    try:
        _read(url)
    except _Malformed as error:
        return str(error)
    return None


def system_resolver(host: str, port: int) -> Sequence[str]:
    """The addresses of a host as the operating system knows them. Raises OSError for none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def system_trust() -> ssl.SSLContext:
    """Verifies certificates, and names, against the authorities that the machine trusts."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Egress:
    """Sends requests to public addresses, and to `allowed` networks. For any number of threads."""

    def __init__(
        self,
        allowed: Sequence[Network] = (),
        resolver: Resolver = system_resolver,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        """`allowed` are networks, otherwise refused, that the operator lets users reach."""
        self._allowed = tuple(allowed)
        self._resolver = resolver
        self._trust = trust or system_trust()
        self._look_ups = threading.BoundedSemaphore(_LOOK_UPS_AT_ONCE_MAX)

    def send(  # noqa: PLR0913 - a request has so many parts
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        seconds: float,
        answer_bytes_max: int,
    ) -> Answered | Unreached:
        """Send one request on a connection of its own; what came back within `seconds`.

        Redirects are answers like others, and no proxy is asked. Of the body `answer_bytes_max`
        are read. Headers about the connection, its host and the body's length are set here; those
        of the caller are left out. Nothing that a user can write or serve raises.
        """
        deadline = _Deadline(seconds)
        try:
            target = _read(url)
            sent = _headers(target, headers, body)
            line = _Door(self._addresses, self._trust if target.is_secure else None, deadline)
            return _exchange(line, target, (method, sent, body), answer_bytes_max)
        except (_Malformed, _Failed) as error:
            reason = UNREACHABLE if isinstance(error, _Malformed) else str(error)
        except (httpcore.LocalProtocolError, UnicodeEncodeError):
            reason = UNSENDABLE
        except (httpcore.ProtocolError, httpcore.NetworkError):
            reason = NOT_HTTP
        return Unreached(reason, deadline.seconds_gone())

    def _addresses(self, host: str, port: int, deadline: "_Deadline") -> list[Address]:
        """What may be connected to; nothing unless every address of the host may be."""
        try:
            found = list(dict.fromkeys(map(ip_address, self._look_up(host, port, deadline))))
        except (OSError, ValueError):
            raise _Failed(UNREACHABLE) from None
        if not all(may_be_reached(each, self._allowed) for each in found):
            raise _Failed(UNREACHABLE)
        return found[:_ADDRESSES_TRIED_MAX]

    def _look_up(self, host: str, port: int, deadline: "_Deadline") -> Sequence[str]:
        """Ask in a thread of its own: the system's resolver knows no deadline."""
        if not self._look_ups.acquire(timeout=deadline.seconds_left()):
            raise _Failed(LATE)
        answer: queue.SimpleQueue[Sequence[str]] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answer.put(self._resolver(host, port))
            except (OSError, ValueError):
                answer.put(())
            finally:
                self._look_ups.release()

        threading.Thread(target=ask, daemon=True, name="look-up").start()
        try:
            return answer.get(timeout=deadline.seconds_left())
        except queue.Empty:
            raise _Failed(LATE) from None


class _Failed(Exception):
    """No answer will come; the text is for the user."""


class _Malformed(Exception):
    """Nothing that we take for a URL; the text is for the user."""


class _Deadline:
    """When one request must be over, however many parts it has."""

    def __init__(self, seconds: float) -> None:
        self._began_at = time.monotonic()
        self._seconds = seconds

    def seconds_gone(self) -> float:
        return time.monotonic() - self._began_at

    def seconds_left(self) -> float:
        """More than zero. Raises _Failed when none are left."""
        left = self._seconds - self.seconds_gone()
        if left <= 0:
            raise _Failed(LATE)
        return left


# --- What a URL says -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Target:
    """Where a request goes. `host` is ASCII and lower-case; an IPv6 address has no brackets."""

    is_secure: bool
    host: str
    port: int
    path: str

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        is_usual = self.port == _DEFAULT_PORTS["https" if self.is_secure else "http"]
        return host if is_usual else f"{host}:{self.port}"


def _read(url: str) -> _Target:
    """A URL in its parts. Nothing is repaired: what two readers may read differently is refused."""
    if len(url) > URL_CHARACTERS_MAX:
        raise _Malformed(f"The URL is longer than {URL_CHARACTERS_MAX} characters.")
    if any(_is_confusing(each) for each in url):
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
    return _Target(
        is_secure=scheme == "https",
        host=_host(host),
        port=_DEFAULT_PORTS[scheme] if port is None else _port(port),
        path=path,
    )


def _is_confusing(character: str) -> bool:
    return character == "\\" or unicodedata.category(character) in {"Cc", "Cs", "Zs", "Zl", "Zp"}


def _host(host: str) -> str:
    if host.startswith("["):
        return _ipv6_host(host[1:-1])
    name = _ascii_name(host).lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > _HOST_CHARACTERS_MAX or not all(map(_LABEL.fullmatch, labels)):
        raise _Malformed("The URL's host is not valid.")
    return name


def _ipv6_host(text: str) -> str:
    try:
        address = IPv6Address(text)
    except ValueError:
        raise _Malformed("The URL's host is not valid.") from None
    if address.scope_id is not None:
        raise _Malformed("The URL's host must not name a network interface.")
    return str(address)


def _ascii_name(host: str) -> str:
    """The name as it is looked up: `straße.example` and `127。0。0。1` have an ASCII form."""
    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except ValueError:
        raise _Malformed("The URL's host is not valid.") from None


def _port(text: str) -> int:
    digits = _PORT.fullmatch(text)
    port = int(digits[1]) if digits else 0
    if not 0 < port < 1 << 16:
        raise _Malformed("The URL's port must be a number from 1 to 65535.")
    return port


# --- The exchange --------------------------------------------------------------------------------


def _headers(
    target: _Target, given: Sequence[tuple[str, str]], body: bytes
) -> list[tuple[bytes, bytes]]:
    """All headers of the request. Raises UnicodeEncodeError for what no header can hold."""
    ours = [
        ("Host", target.host_header),
        ("User-Agent", "Batchway"),
        ("Accept-Encoding", "identity"),  # nothing to inflate, hence no bombs
        ("Connection", "close"),
        ("Content-Length", str(len(body))),
    ]
    theirs = [(name, value) for name, value in given if not _OUR_HEADERS.fullmatch(name)]
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in (*ours, *theirs)]


def _exchange(
    door: "_Door",
    target: _Target,
    request: tuple[str, list[tuple[bytes, bytes]], bytes],
    answer_bytes_max: int,
) -> Answered:
    method, headers, body = request
    # For httpcore this is HTTP on whatever the door opens: TLS has its own reasons to fail, and
    # httpcore would change the shared context while other threads use it.
    url = httpcore.URL(scheme="http", host=target.host, port=target.port, target=target.path)
    with (
        httpcore.HTTPConnection(url.origin, network_backend=door) as connection,
        connection.stream(method.encode("ascii"), url, headers=headers, content=body) as response,
    ):
        start = _start(response.iter_stream(), answer_bytes_max)
        return Answered(
            response.status, _joined(response.headers), start, door.deadline.seconds_gone()
        )


def _start(chunks: Iterable[bytes], bytes_max: int) -> bytes:
    start = bytearray()
    if bytes_max > 0:
        for chunk in chunks:
            start += chunk
            if len(start) >= bytes_max:
                break
    return bytes(start[:bytes_max])


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """A header that comes more than once is one list."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


@dataclass(frozen=True)
class _Door(httpcore.NetworkBackend):
    """Opens connections for httpcore, to checked addresses only."""

    addresses: Callable[[str, int, _Deadline], list[Address]]
    trust: ssl.SSLContext | None = field(repr=False)  # None: no TLS
    deadline: _Deadline

    def connect_tcp(self, host: str, port: int, *_: object, **__: object) -> "_Line":
        """A connection, with TLS where the URL wants it, that ends with the deadline."""
        connected = self._connected(self.addresses(host, port, self.deadline), port)
        if self.trust is not None:
            connected = _secured(connected, host, self.trust, self.deadline)
        return _Line(connected, self.deadline)

    def _connected(self, addresses: list[Address], port: int) -> socket.socket:
        """One after the other; none may use up the time of those behind it."""
        reason = UNREACHABLE
        for place, address in enumerate(addresses):
            share = self.deadline.seconds_left() / (len(addresses) - place)
            try:
                return _connected(address, port, share)
            except TimeoutError:
                reason = LATE
            except OSError:
                continue
        raise _Failed(reason)


def _connected(address: Address, port: int, seconds: float) -> socket.socket:
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


def _secured(
    plain: socket.socket, host: str, trust: ssl.SSLContext, deadline: _Deadline
) -> ssl.SSLSocket:
    """The same connection with TLS, for exactly this host. Closes it when that fails."""
    try:
        plain.settimeout(deadline.seconds_left())
        return trust.wrap_socket(plain, server_hostname=host)
    except ssl.SSLCertVerificationError:
        reason = UNVERIFIED
    except (TimeoutError, _Failed):
        reason = LATE
    except (OSError, ValueError):
        reason = NOT_HTTP
    plain.close()
    raise _Failed(reason)


class _Line(httpcore.NetworkStream):
    """A connection on which nothing lasts beyond the deadline, whatever time-outs are asked for."""

    def __init__(self, connected: socket.socket, deadline: _Deadline) -> None:
        self._connected = connected
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What has come; nothing at the end. Raises _Failed and httpcore.ReadError."""
        self._wait_at_most(timeout)
        try:
            return self._connected.recv(max_bytes)
        except TimeoutError:
            raise _Failed(LATE) from None
        except OSError as error:
            raise httpcore.ReadError(str(error)) from None

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send it all. Raises _Failed, and httpcore.WriteError, which httpcore may forgive."""
        unsent = memoryview(buffer)
        while unsent:
            self._wait_at_most(timeout)
            try:
                unsent = unsent[self._connected.send(unsent) :]
            except TimeoutError:
                raise _Failed(LATE) from None
            except OSError as error:
                raise httpcore.WriteError(str(error)) from None

    def close(self) -> None:
        """End it at once; may be called again."""
        self._connected.close()

    def _wait_at_most(self, timeout: float | None) -> None:
        left = self._deadline.seconds_left()
        self._connected.settimeout(left if timeout is None else min(timeout, left))
