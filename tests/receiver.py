"""A receiver of webhooks for tests: a real HTTP server that records requests, and can fail.

    with open_receiver() as receiver:
        receiver.script(Reply(500), Reply(behaviour="hang"))  # the first two POSTs; then 200
        ...
        [delivery] = receiver.wait_for(1)

No test sleeps: `wait_for` polls, and fails after a limit.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any, Literal

import pytest

from tests.scenario import GIVE_UP_SECONDS, wait_until

Behaviour = Literal["answer", "hang", "close", "drip"]

_DRIP_SECONDS = 0.05
_DRIPPED = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


@dataclass(frozen=True)
class Reply:
    """How the receiver answers one request.

    "hang" never answers, "close" closes the connection without an answer, and "drip" sends a 200
    byte by byte without an end. "hang" and "drip" last until the receiver is closed or the client
    disconnects. `delay_seconds` pass first.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_seconds: float = 0.0
    behaviour: Behaviour = "answer"

    @classmethod
    def redirect(cls, location: str, status: int = 302) -> "Reply":
        """Return a redirect to a location."""
        return cls(status, {"Location": location})


@dataclass(frozen=True)
class Delivery:
    """One request. Names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Receiver:
    """Answers 200 to each request unless a test sets another reply. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._closed = Event()
        self._requests: list[Delivery] = []
        self._scripted: deque[Reply] = deque()
        self._usual = Reply()
        self._to_gets = Reply()
        self._server = _Server(("127.0.0.1", 0), self)
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """A URL that it answers. Any other path works, too."""
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1."""
        return int(self._server.server_address[1])

    def script(self, *replies: Reply) -> None:
        """Answer the next POSTs with these replies, in this order."""
        with self._lock:
            self._scripted.extend(replies)

    def answer_posts(self, reply: Reply) -> None:
        """Answer all POSTs after the script with this reply."""
        with self._lock:
            self._usual = reply

    def answer_gets(self, reply: Reply) -> None:
        """Answer all following GETs with this reply."""
        with self._lock:
            self._to_gets = reply

    def deliveries(self) -> list[Delivery]:
        """Return all POSTs so far, in the order of their arrival."""
        return self._recorded("POST")

    def visits(self) -> list[Delivery]:
        """Return all GETs so far."""
        return self._recorded("GET")

    def wait_for(self, count: int, seconds: float = GIVE_UP_SECONDS) -> list[Delivery]:
        """Wait until there are at least `count` POSTs, and return all of them."""
        wait_until(lambda: len(self.deliveries()) >= count, f"{count} deliveries", seconds)
        return self.deliveries()

    def close(self) -> None:
        """Close the server and all of its connections. A second call does nothing."""
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def record_request(self, request: Delivery) -> Reply:
        """Record a request, and return the reply to it."""
        with self._lock:
            self._requests.append(request)
            if request.method == "GET":
                return self._to_gets
            return self._scripted.popleft() if self._scripted else self._usual

    def wait_until_closed(self, seconds: float | None) -> bool:
        """Wait up to `seconds`, or forever; return whether the receiver was closed meanwhile."""
        return self._closed.wait(seconds)

    def _recorded(self, method: str) -> list[Delivery]:
        with self._lock:
            return [request for request in self._requests if request.method == method]


@contextmanager
def open_receiver() -> Iterator[Receiver]:
    """Run a receiver until the end of the block."""
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks."""
    with open_receiver() as opened:
        yield opened


class _Server(ThreadingHTTPServer):
    def __init__(self, address: tuple[str, int], receiver: Receiver) -> None:
        self.receiver = receiver
        super().__init__(address, _Requests)

    def handle_error(self, *_: Any) -> None:
        """Ignore clients that disconnect: many tests make them do so."""


class _Requests(BaseHTTPRequestHandler):
    server: _Server
    timeout = 60  # seconds for a request to come in

    def do_GET(self) -> None:
        self._take()

    def do_POST(self) -> None:
        self._take()

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def _take(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.receiver.record_request(
            Delivery(self.command, self.path, headers, body)
        )
        self.close_connection = True
        if reply.delay_seconds and self.server.receiver.wait_until_closed(reply.delay_seconds):
            return
        self._behave(reply)

    def _behave(self, reply: Reply) -> None:
        if reply.behaviour == "hang":
            self.server.receiver.wait_until_closed(None)
        elif reply.behaviour == "drip":
            self._drip()
        elif reply.behaviour == "answer":
            self._answer(reply)

    def _drip(self) -> None:
        for byte in _DRIPPED:
            self.wfile.write(bytes([byte]))
            if self.server.receiver.wait_until_closed(_DRIP_SECONDS):
                return
        while not self.server.receiver.wait_until_closed(_DRIP_SECONDS):
            self.wfile.write(b".")

    def _answer(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status not in {204, 304}:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)
