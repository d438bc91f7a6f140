"""Bounds what anyone can send on a connection, before a key is looked at.

uvicorn's protocol class parses a request with httptools and calls methods of its own. This one
overrides these methods to count, to wait and to refuse. It gives the parser at most
`parsed_bytes_max` at once, so that it can stop between two requests.
"""

import asyncio
import resource
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from batchway import limits
from batchway.limits import Limits

_HEAD_BYTES_MAX = limits.request_line_bytes_max + limits.header_bytes_max


class _Refused(Exception):
    """Raised inside of the parser to end it."""


@dataclass
class Connections:
    """The open connections of this process, and which of them have no request under way."""

    in_force: Limits
    _open: int = 0
    _by_address: Counter[str] = field(default_factory=Counter)
    _idle: dict[str, dict["BoundedHttp", None]] = field(default_factory=dict)
    _all_idle: dict["BoundedHttp", None] = field(default_factory=dict)

    def add(self, connection: "BoundedHttp", address: str) -> bool:
        """Count a connection. Return False if there is no room for it.

        Room is made by ending the connection that has waited longest for a request: of the same
        address if this has too many, or else of all.
        """
        self._open += 1
        self._by_address[address] += 1
        self.mark_idle(connection, address)
        if self._by_address[address] > self.in_force.connections_per_address_max:
            return self._end_oldest(self._idle[address], connection)
        if self._open > self._get_maximum():
            return self._end_oldest(self._all_idle, connection)
        return True

    def mark_idle(self, connection: "BoundedHttp", address: str) -> None:
        """Note that a connection waits for a request."""
        self._all_idle[connection] = None
        self._idle.setdefault(address, {})[connection] = None

    def mark_busy(self, connection: "BoundedHttp", address: str) -> None:
        """Note that a connection has sent the headers of a request."""
        self._all_idle.pop(connection, None)
        of_address = self._idle.get(address, {})
        of_address.pop(connection, None)
        if not of_address:
            self._idle.pop(address, None)

    def remove(self, connection: "BoundedHttp", address: str) -> None:
        """Forget a connection that has ended."""
        self.mark_busy(connection, address)
        self._open -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]

    def _get_maximum(self) -> int:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files == resource.RLIM_INFINITY:
            return self.in_force.connections_max
        return max(1, min(self.in_force.connections_max, files - limits.reserved_files))

    def _end_oldest(self, idle: dict["BoundedHttp", None], newest: "BoundedHttp") -> bool:
        oldest = next(iter(idle))
        if oldest is newest:
            return False
        oldest.end_now()
        return True


class HttpConfig(uvicorn.Config):
    """uvicorn's configuration, with our bounds. Every connection reads it."""

    def __init__(self, app: Any, in_force: Limits, **options: Any) -> None:  # noqa: ANN401 - as above
        super().__init__(app, http=BoundedHttp, ws="none", **options)
        self.in_force = in_force
        self.open_connections = Connections(in_force)


class _HeldFlow(FlowControl):
    """Reads on only if no request waits for the one before it."""

    def __init__(self, connection: "BoundedHttp", transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._connection = connection

    def resume_reading(self) -> None:
        """Read on, unless requests wait."""
        if not self._connection.has_waiting:
            super().resume_reading()


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    config: HttpConfig

    def __init__(
        self,
        config: HttpConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._in_force = config.in_force
        self._address = ""
        self._is_counted = False
        self._unparsed = memoryview(b"")  # bytes that wait until requests before them are answered
        self._in_head = False
        self._in_body = False
        self._has_advanced = False
        self._bytes_without_advance = 0
        self._header_bytes = 0
        self._body_bytes = 0
        self._refusal: HTTPStatus | None = None
        self._is_over = False
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._end_timer: asyncio.TimerHandle | None = None

    @property
    def has_waiting(self) -> bool:
        """Whether reading must stop, because requests wait or nothing more is answered."""
        return bool(self.pipeline or self._unparsed) or self._refusal is not None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection, and give it a time for its first request."""
        super().connection_made(transport)
        self.flow = _HeldFlow(self, transport)
        self._address = self.client[0] if self.client else ""
        self._is_counted = True
        if not self.config.open_connections.add(self, self._address):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)
            transport.close()
            return
        self._start_read_timer(self._in_force.head_seconds_max)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._is_counted:
            self._is_counted = False
            self.config.open_connections.remove(self, self._address)
        self._is_over = True
        self._unparsed = memoryview(b"")
        for timer in (self._read_timer, self._write_timer, self._end_timer):
            if timer:
                timer.cancel()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def end_now(self) -> None:
        """End a connection without an answer."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse what has come, in pieces, until a request has to wait for another."""
        if self._is_over or self._refusal is not None:
            return
        self._unparsed = memoryview(bytes(self._unparsed) + data if self._unparsed else data)
        self._parse()

    def _parse(self) -> None:
        while self._unparsed and not self.pipeline and not self._is_over:
            piece = self._unparsed[: limits.parsed_bytes_max]
            self._unparsed = self._unparsed[limits.parsed_bytes_max :]
            self._has_advanced = False
            super().data_received(piece)  # type: ignore[arg-type]
            if self._refusal is not None:
                return
            self._bytes_without_advance += len(piece)
            if self._has_advanced:
                self._bytes_without_advance = 0
            if self._bytes_without_advance > _HEAD_BYTES_MAX:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                return
        if self.has_waiting:
            self.flow.pause_reading()
        if self._read_timer is None:
            if self._in_body:
                self._body_bytes = 0
                self._start_read_timer(self._in_force.body_seconds_max)
            elif self._in_head or self._bytes_without_advance:
                self._start_read_timer(self._in_force.head_seconds_max)

    def on_message_begin(self) -> None:
        """Begin to count."""
        super().on_message_begin()
        self._in_head = True
        self._header_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Refuse a request line that is too long."""
        super().on_url(url)
        if len(self.url) > limits.request_line_bytes_max:
            self._stop_parser(HTTPStatus.REQUEST_URI_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Refuse headers that are too many or too large, also those after a body."""
        super().on_header(name, value)
        self._header_bytes += len(name) + len(value) + len(b": \r\n")
        if (
            self._header_bytes > limits.header_bytes_max
            or len(self.headers) > limits.request_headers_max
        ):
            self._stop_parser(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """Start the request, or let it wait."""
        self._in_head, self._in_body, self._has_advanced = False, True, True
        self._stop_read_timer()
        self.config.open_connections.mark_busy(self, self._address)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count the bytes of a body."""
        self._has_advanced = True
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the time for the body."""
        self._in_body, self._has_advanced = False, True
        self._stop_read_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Parse what has waited."""
        super().on_response_complete()
        if self._is_over or self.transport.is_closing() or self.pipeline:
            return
        if self._refusal is not None:
            if self.cycle.response_complete:
                self._send_refusal(self._refusal)
            return
        if self._unparsed:
            self._unset_keepalive_if_required()
            self._parse()
        if not self.has_waiting:
            self.flow.resume_reading()
        self._mark_idle_if_so()

    def _mark_idle_if_so(self) -> None:
        cycle = self._get_newest()
        is_idle = cycle is not None and cycle.response_complete
        if is_idle and self._is_counted and not self.flow.write_paused:
            self.config.open_connections.mark_idle(self, self._address)

    def pause_writing(self) -> None:
        """Expect the client to read."""
        super().pause_writing()
        if self._write_timer is None and not self._is_over:
            self._expect_reading(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        super().resume_writing()
        if self._write_timer:
            self._write_timer.cancel()
            self._write_timer = None
        self._mark_idle_if_so()

    def _expect_reading(self, size: int) -> None:
        self._write_timer = self.loop.call_later(
            self._in_force.reader_seconds_max, self._check_reading, size
        )

    def _check_reading(self, size_before: int) -> None:
        """End the connection of a client that has read nothing for the whole time."""
        self._write_timer = None
        size = self.transport.get_write_buffer_size()
        if size >= size_before:
            self.end_now()
        else:
            self._expect_reading(size)

    def _start_read_timer(self, seconds: float) -> None:
        self._read_timer = self.loop.call_later(seconds, self._check_progress)

    def _stop_read_timer(self) -> None:
        if self._read_timer:
            self._read_timer.cancel()
            self._read_timer = None

    def _check_progress(self) -> None:
        """Refuse a head that is not complete in its time, and a body that hardly comes."""
        self._read_timer = None
        if self._is_over or self._refusal is not None:
            return
        if self.has_waiting:  # we do not read
            self._start_read_timer(self._in_force.head_seconds_max)
        elif not self._in_body and not self._in_head and not self._bytes_without_advance:
            self.transport.close()  # nothing was sent, so nothing is answered
        elif not self._in_body or self._is_body_too_slow():
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self._body_bytes = 0
            self._start_read_timer(self._in_force.body_seconds_max)

    def _is_body_too_slow(self) -> bool:
        is_awaited = not self.flow.read_paused and not self.cycle.waiting_for_100_continue
        return is_awaited and self._body_bytes < limits.body_window_bytes_min

    def _stop_parser(self, status: HTTPStatus) -> None:
        if self._refusal is None:
            self._refuse(status)
        raise _Refused

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser does not understand, or what we made it refuse."""
        del msg
        if self._refusal is None:
            self._refuse(HTTPStatus.BAD_REQUEST)

    def _get_newest(self) -> RequestResponseCycle | None:
        return self.cycle  # None before the first request, which uvicorn's types do not say

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer nothing after this, and the request itself when those before it are answered."""
        self._refusal = status
        self._unparsed = memoryview(b"")
        self._stop_read_timer()
        cycle = self._get_newest()
        if cycle is None or cycle.response_complete:
            self._send_refusal(status)
        elif self._in_body and not self.pipeline:  # what is refused is the body of this request
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.end_now()
            else:
                self._send_refusal(status)
        else:
            self.flow.pause_reading()

    def _send_refusal(self, status: HTTPStatus) -> None:
        """Answer, and read on for a moment: bytes that nobody reads would reset the connection."""
        if self.transport.is_closing():
            return
        text = f"{_REASONS[status]}\n".encode("ascii")
        retry = b"retry-after: 1\r\n" if status is HTTPStatus.SERVICE_UNAVAILABLE else b""
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: text/plain; charset=utf-8\r\n%s"
            b"content-length: %d\r\nconnection: close\r\n\r\n%s"
            % (status, status.phrase.encode("ascii"), retry, len(text), text)
        )
        self._unset_keepalive_if_required()
        self._end_timer = self.loop.call_later(limits.refusal_seconds, self.end_now)
        if self.flow.read_paused:
            FlowControl.resume_reading(self.flow)
        if self.transport.can_write_eof():
            self.transport.write_eof()


_REASONS = {
    HTTPStatus.BAD_REQUEST: "Invalid HTTP request received.",
    HTTPStatus.REQUEST_TIMEOUT: "The request took too long to arrive.",
    HTTPStatus.REQUEST_URI_TOO_LONG: "The request line is too long.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The headers are too many or too large.",
    HTTPStatus.SERVICE_UNAVAILABLE: "There are too many connections. Try again in a moment.",
}
