"""A receiver of webhooks for tests: a real HTTP server that records what comes, and misbehaves.

    with open_receiver() as receiver:
        receiver.script(Reply(500), Reply(behaviour="hang"))  # the first two POSTs; then 200
        ...
        [delivery] = receiver.wait_for(1)

No test sleeps: `wait_for` polls, with a limit after which the test fails.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any, Literal

from tests.scenario import GIVE_UP_SECONDS, wait_until

Behaviour = Literal["answer", "hang", "close", "drip"]

_DRIP_SECONDS = 0.05
_DRIPPED = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


@dataclass(frozen=True)
class Reply:
    """What one request gets.

    "hang" takes the request and never answers, "close" hangs up without a word, and "drip" sends a
    200 byte by byte that does not end; each lasts until the receiver is closed or the other side
    gives up. `delay_seconds` passes before any of them.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_seconds: float = 0.0
    behaviour: Behaviour = "answer"

    @classmethod
    def redirect(cls, location: str, status: int = 302) -> "Reply":
        """An answer that points elsewhere."""
        return cls(status, {"Location": location})


@dataclass(frozen=True)
class Delivery:
    """One request as it came; names of headers are lower-case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Receiver:
    """Answers 200 to everything until it is told otherwise; for any number of threads."""

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
        """Where it listens, with a path; any other path below its origin does as well."""
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def port(self) -> int:
        """Its free port, of 127.0.0.1."""
        return int(self._server.server_address[1])

    def script(self, *replies: Reply) -> None:
        """Answer the next POSTs like this, one after the other; then as usual again."""
        with self._lock:
            self._scripted.extend(replies)

    def answer_posts(self, reply: Reply) -> None:
        """Answer POSTs like this from now on, once the script is done."""
        with self._lock:
            self._usual = reply

    def answer_gets(self, reply: Reply) -> None:
        """Answer GETs like this from now on."""
        with self._lock:
            self._to_gets = reply

    def deliveries(self) -> list[Delivery]:
        """Every POST so far, in the order they came, whatever they were answered."""
        return self._recorded("POST")

    def visits(self) -> list[Delivery]:
        """Every GET so far."""
        return self._recorded("GET")

    def wait_for(self, count: int, seconds: float = GIVE_UP_SECONDS) -> list[Delivery]:
        """The POSTs, once there are so many or more; fails after a while."""
        wait_until(lambda: len(self.deliveries()) >= count, f"{count} deliveries", seconds)
        return self.deliveries()

    def close(self) -> None:
        """End it, with everything that hangs; may be called again."""
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, request: Delivery) -> Reply:
        """Record a request; how to answer it."""
        with self._lock:
            self._requests.append(request)
            if request.method == "GET":
                return self._to_gets
            return self._scripted.popleft() if self._scripted else self._usual

    def is_closed_within(self, seconds: float | None) -> bool:
        """Wait so long, or for ever, but not beyond the end of the receiver."""
        return self._closed.wait(seconds)

    def _recorded(self, method: str) -> list[Delivery]:
        with self._lock:
            return [each for each in self._requests if each.method == method]


@contextmanager
def open_receiver() -> Iterator[Receiver]:
    """A receiver, closed with the block."""
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()


class _Server(ThreadingHTTPServer):
    def __init__(self, address: tuple[str, int], receiver: Receiver) -> None:
        self.receiver = receiver
        super().__init__(address, _Requests)

    def handle_error(self, *_: Any) -> None:
        """Say nothing: that the other side gives up is what many tests are about."""


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
        reply = self.server.receiver.take(Delivery(self.command, self.path, headers, body))
        self.close_connection = True
        if reply.delay_seconds and self.server.receiver.is_closed_within(reply.delay_seconds):
            return
        self._behave(reply)

    def _behave(self, reply: Reply) -> None:
        if reply.behaviour == "hang":
            self.server.receiver.is_closed_within(None)
        elif reply.behaviour == "drip":
            self._drip()
        elif reply.behaviour == "answer":
            self._answer(reply)

    def _drip(self) -> None:
        for byte in _DRIPPED:
            self.wfile.write(bytes([byte]))
            if self.server.receiver.is_closed_within(_DRIP_SECONDS):
                return
        while not self.server.receiver.is_closed_within(_DRIP_SECONDS):
            self.wfile.write(b".")

    def _answer(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status not in {204, 304}:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)
