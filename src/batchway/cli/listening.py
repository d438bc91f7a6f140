"""`batchway webhooks listen`: a receiver on this machine that makes its own batch webhook.

It takes events, puts them into words, and deletes the webhook at the end.
"""

import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from queue import Empty, SimpleQueue
from socketserver import ThreadingTCPServer
from threading import BoundedSemaphore, Thread
from types import FrameType, TracebackType
from typing import Annotated, Any, Self
from urllib.parse import parse_qsl, urlsplit

import msgspec
import typer

from batchway.cli.connection import FIRST_WAITS_SECONDS, Connection, Refusal, as_segment
from batchway.cli.options import DEFAULT_URL, KeyOption, UrlOption
from batchway.cli.terminal import CommandError, printable, say
from batchway.kit.clock import SECOND, Clock, Microseconds, format_iso, system_clock
from batchway.kit.webhook_signatures import verify

EVENT_BYTES_MAX = 64 * 1024  # ours have about 2,000
EVENT_FIELDS_MAX = 1_000
EVENTS_WAITING_MAX = 100  # to be printed; more are answered 503, and sent again later
CONNECTIONS_MAX = 16  # at a time; more are hung up on
SILENCE_SECONDS_MAX = 10.0  # of who sends a request
ENDING_POLL_SECONDS = 0.05
SIGNAL_POLL_SECONDS = 0.2  # a signal that another thread got does not wake the waiting one
BAD_REQUEST, NOT_FOUND = 400, 404

LISTEN_EXAMPLES = """Examples:

  batchway webhooks listen

  batchway webhooks listen --port 9000 --public-url https://tunnel.example.com/"""

_ANY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104 - they are refused


class Webhook(msgspec.Struct, frozen=True):
    """A batch webhook; the secret is there only when it has just been made."""

    id: str
    url: str
    enabled: bool
    signing_enabled: bool
    signing_secret: str = ""


@dataclass(frozen=True)
class Event:
    """A POST as it came; names of headers are lower-case."""

    headers: Mapping[str, str]
    body: bytes
    received_at: Microseconds


def listen_command(
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = "",
    port: Annotated[
        int,
        typer.Option(
            envvar="BATCHWAY_LISTEN_PORT",
            min=0,
            max=65535,
            help="Port to listen on; 0 takes a free one.",
        ),
    ] = 0,
    host: Annotated[
        str, typer.Option(envvar="BATCHWAY_LISTEN_HOST", help="Address to listen on.")
    ] = "127.0.0.1",
    public_url: Annotated[
        str,
        typer.Option(
            envvar="BATCHWAY_LISTEN_PUBLIC_URL",
            metavar="URL",
            help="How the server reaches this machine, if not by that address and port.",
        ),
    ] = "",
) -> None:
    """Receive events on this machine and print them, until Ctrl-C.

    Makes a batch webhook of its own, and deletes it at the end.
    """
    if host in _ANY_ADDRESS and not public_url:
        message = f"is missing: {host} does not say how the server reaches this machine"
        raise typer.BadParameter(message, param_hint="--public-url")
    with (
        Connection(url, key) as connection,
        Receiver(host, port) as receiver,
        ended_by_signals(receiver.end),
    ):
        with registered(connection, receiver.url, public_url) as webhook:
            where = printable(public_url or receiver.url)
            say(f"Batch webhook {webhook.id} listens at {where} until Ctrl-C.")
            for event in receiver.events():
                say(told(event, webhook.signing_secret))
        say(f"Batch webhook {webhook.id} was deleted.")


def webhook_path(webhook_id: str, delivery_id: str | None = None) -> str:
    """The path of a batch webhook, or of one of its deliveries."""
    path = f"/batch-webhooks/{as_segment(webhook_id)}"
    return path if delivery_id is None else f"{path}/deliveries/{as_segment(delivery_id)}"


def create_webhook(
    connection: Connection, url: str, *, enabled: bool = True, signing_enabled: bool = True
) -> Webhook:
    """Make a batch webhook."""
    wanted = {"url": url, "enabled": enabled, "signing_enabled": signing_enabled}
    return connection.post("/batch-webhooks", msgspec.json.encode(wanted), Webhook)


@contextmanager
def url_advice(webhook_url: str) -> Iterator[None]:
    """Say what can be done if the server refuses a URL."""
    try:
        yield
    except Refusal as refusal:
        if "url" in refusal.fields:
            refusal.next_step = _about_url(webhook_url)
        elif refusal.status_code == BAD_REQUEST:
            refusal.next_step = "See what there is with: batchway webhooks list"
        raise


def _about_url(webhook_url: str) -> str:
    network = private_network(webhook_url)
    text = "The server must be able to reach the URL, and must get 200 when it sends a GET."
    if not network:
        return text
    return (
        f"{text}\nIt calls addresses of private networks only if it was started with the setting "
        f"BATCHWAY_EGRESS_ALLOW={network}"
    )


def private_network(url: str) -> str:
    """The networks that a server must be allowed to call for this URL; empty if none is needed."""
    try:
        host = urlsplit(url).hostname or ""
        if host == "localhost" or host.endswith(".localhost"):
            return "127.0.0.0/8,::1/128"
        address = ipaddress.ip_address(host)
    except ValueError:  # no address, or a name: where that leads only the server knows
        return ""
    if address.is_global:
        return ""
    if isinstance(address, ipaddress.IPv4Address) and address.is_loopback:
        return "127.0.0.0/8"
    return f"{address}/{address.max_prefixlen}"


@contextmanager
def registered(connection: Connection, own_url: str, public_url: str) -> Iterator[Webhook]:
    """A batch webhook that is there within the block."""
    try:
        with url_advice(public_url or own_url):
            webhook = create_webhook(connection, public_url or own_url)
    except Refusal as refusal:
        if "url" in refusal.fields:
            refusal.next_step += _about_listening(own_url, public_url)
        raise
    try:
        yield webhook
    finally:
        _unregister(connection, webhook.id)


def _about_listening(own_url: str, public_url: str) -> str:
    if public_url:
        return f"\nIt must lead to {own_url} on this machine."
    return "\nIf it runs on another machine, give --public-url with an address that it can reach."


def _unregister(connection: Connection, webhook_id: str) -> None:
    try:
        connection.delete(webhook_path(webhook_id), waits=FIRST_WAITS_SECONDS)
    except (CommandError, KeyboardInterrupt) as error:
        if isinstance(error, Refusal) and error.status_code == NOT_FOUND:
            return  # somebody else has deleted it
        message = f"Batch webhook {webhook_id} may still be there. {error}"
        next_step = f"Delete it: batchway webhooks delete {webhook_id}"
        raise CommandError(message, next_step) from None


class Receiver:
    """Listens within a `with` block: answers 200 to GET and POST, and keeps what is posted."""

    def __init__(self, host: str, port: int, clock: Clock = system_clock) -> None:
        """Take the port, 0 for a free one; a CommandError if it cannot be had."""
        self._clock = clock
        self._waiting: SimpleQueue[Event | None] = SimpleQueue()
        try:
            self._server = _Server(host, port, self._take)
        except OSError as error:
            message = f"Cannot listen on {printable(host)}:{port}: {error.strerror}."
            next_step = "Choose another one with --host and --port; port 0 takes a free one."
            raise CommandError(message, next_step) from None
        self._thread = Thread(
            target=self._server.serve_forever, args=(ENDING_POLL_SECONDS,), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = (str(part) for part in self._server.server_address[:2])
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    def events(self) -> Iterator[Event]:
        """What is posted, as it comes, until `end` is called."""
        while True:
            try:
                event = self._waiting.get(timeout=SIGNAL_POLL_SECONDS)
            except Empty:
                continue
            if event is None:
                return
            yield event

    def end(self) -> None:
        """End `events`, after those that have come. A signal may call this, and more than once."""
        self._waiting.put(None)

    def _take(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Keep an event; False if too many are waiting already."""
        if self._waiting.qsize() >= EVENTS_WAITING_MAX:
            return False
        self._waiting.put(Event(headers, body, self._clock()))
        return True


@contextmanager
def ended_by_signals(end: Callable[[], None]) -> Iterator[None]:
    """Within the block the first Ctrl-C, SIGTERM or SIGHUP calls `end`, and nothing else happens.

    So what is under way is finished. A second one raises KeyboardInterrupt.
    """
    is_ending = False

    def ask_to_end(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_ending
        if is_ending:
            raise KeyboardInterrupt
        is_ending = True
        end()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as `nohup` wants it
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, ask_to_end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def told(event: Event, secret: str) -> str:
    """An event in lines of text, and whether it was signed with the secret."""
    now_seconds = event.received_at / SECOND
    is_genuine = bool(secret) and verify(secret, event.headers, event.body, now_seconds)
    signature = "signature verified" if is_genuine else "SIGNATURE WRONG"
    name = printable(event.headers.get("webhook-id", "without an id"))
    head = f"{_utc(event.received_at)}  event {name}  {signature}"
    fields = _fields(event.body)
    if "type" not in fields:
        return f"{head}\n  {len(event.body)} bytes that are no event of a batch"
    shown = {key: printable(value) for key, value in fields.items()}
    return "\n".join([head, *(f"  {line}" for line in _lines(shown))])


def _lines(fields: Mapping[str, str]) -> Iterator[str]:
    def data(name: str) -> str:
        return fields.get(f"data[{name}]", "")

    yield f"{fields['type']}, fired at {fields.get('fired_at', '')} UTC"
    yield (
        f"batch {data('id')} {data('status')}: {data('finished_operations')} of "
        f"{data('total_operations')} operations, {data('errored_operations')} errored"
    )
    if data("response_body_url"):
        yield data("response_body_url")


def _fields(body: bytes) -> dict[str, str]:
    """The fields of a form; none if it is not one."""
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, max_num_fields=EVENT_FIELDS_MAX, errors="strict"
        )
    except ValueError:  # not UTF-8, or too many
        return {}
    return dict(pairs)


def _utc(moment: Microseconds) -> str:
    return f"{format_iso(moment)[:19].replace('T', ' ')} UTC"


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 2 * CONNECTIONS_MAX

    def __init__(
        self, host: str, port: int, take: Callable[[Mapping[str, str], bytes], bool]
    ) -> None:
        self.take = take
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._free = BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__((host, port), _Requests)

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
        """Say nothing: who hangs up or sends nonsense is of no interest here."""


class _Requests(BaseHTTPRequestHandler):
    server: _Server
    timeout = SILENCE_SECONDS_MAX
    server_version = "Batchway"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer the server that looks whether anybody is here."""
        self._answer(HTTPStatus.OK)

    def do_POST(self) -> None:
        """Take an event."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self._answer(HTTPStatus.LENGTH_REQUIRED)
        elif len(length) > len(str(EVENT_BYTES_MAX)) or int(length) > EVENT_BYTES_MAX:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            self._take(int(length))

    def log_message(self, *_: object) -> None:
        """Print nothing: that is the command's business."""

    def _take(self, length: int) -> None:
        body = self.rfile.read(length)
        if len(body) < length:
            return  # who sent it has hung up
        headers = {name.lower(): value for name, value in self.headers.items()}
        is_taken = self.server.take(headers, body)
        self._answer(HTTPStatus.OK if is_taken else HTTPStatus.SERVICE_UNAVAILABLE)

    def _answer(self, status: HTTPStatus) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
