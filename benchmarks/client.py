"""Two clients with little overhead, so that mainly the server is measured.

`Client` sends one call after the other over a keep-alive connection. `Connection` sends prepared
requests, for many connections at once in one process.
"""

import asyncio
import json
import re
import time
from collections.abc import Iterable
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

_TIMEOUT_SECONDS = 600
_IDLE_SECONDS = 2  # a server may close a connection that was silent for longer
_OK = range(200, 300)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)")


class Refused(Exception):
    """An answer that is not a success."""


class Client:
    """Calls on one server, with one key."""

    def __init__(self, url: str, key: str = "") -> None:
        where = urlsplit(url)
        assert where.hostname
        self._connection = HTTPConnection(where.hostname, where.port, timeout=_TIMEOUT_SECONDS)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._base = where.path
        self._used_at = 0.0

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a call that must succeed, and return its JSON. A `dict` body is encoded."""
        content = self.send(method, path, body, **headers)
        return json.loads(content) if content else None

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> bytes:
        """Send a call that must succeed, and return the bytes of its answer."""
        if body is None or isinstance(body, dict):
            body = None if body is None else json.dumps(body).encode()
            headers = {"Content-Type": "application/json", **headers}
        if time.monotonic() - self._used_at > _IDLE_SECONDS:
            self._connection.close()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, self._base + path, body, self._headers | named)
        reply = self._connection.getresponse()
        content = reply.read()
        self._used_at = time.monotonic()
        if reply.status not in _OK:
            raise Refused(f"{method} {path}: {reply.status} {content[:2000]!r}")
        return content


def make_request(url: str, key: str, method: str, path: str, body: bytes = b"") -> bytes:
    """Return the bytes of a request under /3.0."""
    return make_request_to(url, key, method, f"/3.0{path}", body)


def make_request_to(url: str, key: str, method: str, path: str, body: bytes = b"") -> bytes:
    """Return the bytes of a request."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n"
        f"Authorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection:
    """One of many connections to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, url: str) -> "Connection":
        """Open a connection."""
        where = urlsplit(url)
        return cls(*await asyncio.open_connection(where.hostname, where.port))

    async def exchange(self, sent: bytes) -> bytes:
        """Send a request that must succeed, and return the body of its answer."""
        self._writer.write(sent)
        head = await self._reader.readuntil(b"\r\n\r\n")
        content = await self._content(head.lower())
        assert head.startswith(b"HTTP/1.1 200"), head + content
        return content

    async def _content(self, head: bytes) -> bytes:
        if b"\r\ntransfer-encoding: chunked" not in head:
            return await self._reader.readexactly(int(_LENGTH.findall(head)[0]))
        content = b""
        while size := int(await self._reader.readline(), 16):
            content += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readline()
        return content

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


async def send_all(url: str, requests: Iterable[bytes], connections: int) -> float:
    """Return the seconds that all requests take; each connection sends one after the other."""
    left = iter(requests)
    opened = [await Connection.open(url) for _ in range(connections)]
    begin = time.perf_counter()
    await asyncio.gather(*(_send(connection, left) for connection in opened))
    taken = time.perf_counter() - begin
    for connection in opened:
        connection.close()
    return taken


async def _send(connection: Connection, requests: Iterable[bytes]) -> None:
    for request in requests:
        await connection.exchange(request)
