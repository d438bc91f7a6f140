"""A small HTTP server on this machine that receives the events of a batch webhook."""

import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from queue import Empty, SimpleQueue
from socketserver import ThreadingTCPServer
from threading import BoundedSemaphore, Thread
from typing import Any, Self

from batchway.cli.terminal import CommandError, printable
from batchway.kit.clock import Clock, Microseconds, system_clock

EVENT_BYTES_MAX = 64 * 1024  # an event has about 2,000
EVENTS_WAITING_MAX = 100  # to be printed; others are answered with 503, and are sent again later
CONNECTIONS_MAX = 16  # at a time; others are closed
REQUEST_SECONDS_MAX = 10.0
END_POLL_SECONDS = 0.05
SIGNAL_POLL_SECONDS = 0.2  # a signal that another thread receives does not wake this one


@dataclass(frozen=True)
class Event:
    """A POST as it was received. The names of headers are in lower case."""

    headers: Mapping[str, str]
    body: bytes
    received_at: Microseconds


class Receiver:
    """Within a `with` block, answers GET and POST with 200, and keeps the bodies of POSTs."""

    def __init__(self, host: str, port: int, clock: Clock = system_clock) -> None:
        """Bind the port; 0 selects a free one. Raises CommandError if the port is in use."""
        self._clock = clock
        self._waiting: SimpleQueue[Event | None] = SimpleQueue()
        try:
            self._server = _Server(host, port, self._keep_event)
        except OSError as error:
            message = f"Cannot listen on {printable(host)}:{port}: {error.strerror}."
            next_step = "Choose another address with --host and --port; port 0 takes a free one."
            raise CommandError(message, next_step) from None
        self._thread = Thread(
            target=self._server.serve_forever, args=(END_POLL_SECONDS,), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """The URL on which the receiver listens."""
        host, port = (str(part) for part in self._server.server_address[:2])
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    def receive_events(self) -> Iterator[Event]:
        """Yield the events as they arrive, until `end` is called."""
        while True:
            try:
                event = self._waiting.get(timeout=SIGNAL_POLL_SECONDS)
            except Empty:
                continue
            if event is None:
                return
            yield event

    def end(self) -> None:
        """End `receive_events` after the events that have arrived.

        A signal handler may call this, also more than once.
        """
        self._waiting.put(None)

    def _keep_event(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Keep an event. Returns False if too many are waiting."""
        if self._waiting.qsize() >= EVENTS_WAITING_MAX:
            return False
        self._waiting.put(Event(headers, body, self._clock()))
        return True


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 2 * CONNECTIONS_MAX

    def __init__(
        self, host: str, port: int, keep_event: Callable[[Mapping[str, str], bytes], bool]
    ) -> None:
        self.keep_event = keep_event
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._free = BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__((host, port), _RequestHandler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the base's
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as above
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as above
        """Print nothing: lost connections and invalid requests do not matter here."""


class _RequestHandler(BaseHTTPRequestHandler):
    server: _Server
    timeout = REQUEST_SECONDS_MAX
    server_version = "Batchway"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer the server that checks whether the URL works."""
        self._answer(HTTPStatus.OK)

    def do_POST(self) -> None:
        """Receive an event."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self._answer(HTTPStatus.LENGTH_REQUIRED)
        elif len(length) > len(str(EVENT_BYTES_MAX)) or int(length) > EVENT_BYTES_MAX:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            self._receive(int(length))

    def log_message(self, *_: object) -> None:
        """Print nothing: the command prints the events."""

    def _receive(self, length: int) -> None:
        body = self.rfile.read(length)
        if len(body) < length:
            return  # the connection was lost
        headers = {name.lower(): value for name, value in self.headers.items()}
        is_kept = self.server.keep_event(headers, body)
        self._answer(HTTPStatus.OK if is_kept else HTTPStatus.SERVICE_UNAVAILABLE)

    def _answer(self, status: HTTPStatus) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
