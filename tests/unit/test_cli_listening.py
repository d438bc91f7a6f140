"""The local receiver of webhooks: what it accepts, how it ends, how it describes events."""

import signal
import socket
from collections.abc import Iterator
from threading import Thread
from urllib.parse import urlsplit

import httpx
import pytest

from batchway.cli.listen import end_on_signals
from batchway.cli.terminal import CommandError
from batchway.cli.webhook_events import format_event
from batchway.cli.webhook_receiver import (
    CONNECTIONS_MAX,
    EVENT_BYTES_MAX,
    EVENTS_WAITING_MAX,
    Event,
    Receiver,
)
from batchway.kit.clock import SECOND, parse_iso
from batchway.kit.webhook_signatures import sign_standard

NOW = 1_770_000_000
SECRET = "whsec_" + "c2VjcmV0" * 4  # a fixed one: it stands in the names of tests
OTHER_SECRET = "whsec_" + "b3RoZXIh" * 4


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A local receiver on a free port, at a fixed time."""
    with Receiver("127.0.0.1", 0, lambda: NOW * SECOND) as receiver:
        yield receiver


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    """A client that calls it."""
    with httpx.Client(trust_env=False, timeout=30) as client:
        yield client


def test_it_answers_a_get(receiver: Receiver, client: httpx.Client) -> None:
    """A server that checks the URL gets 200, and the check is not an event."""
    assert 200 == client.get(receiver.url).status_code

    receiver.end()
    assert [] == list(receiver.receive_events())


def test_it_keeps_what_is_posted(receiver: Receiver, client: httpx.Client) -> None:
    """Events are returned in order, with headers, body and time."""
    for name in ("one", "two"):
        headers = {"Webhook-Id": name}
        assert 200 == client.post(receiver.url, content=b"a=b", headers=headers).status_code

    receiver.end()
    receiver.end()
    assert [("one", b"a=b", NOW * SECOND), ("two", b"a=b", NOW * SECOND)] == [
        (event.headers["webhook-id"], event.body, event.received_at)
        for event in receiver.receive_events()
    ]


def test_a_large_body_is_not_read(receiver: Receiver) -> None:
    """A large body is refused because of its Content-Length."""
    assert b" 413 " in sent(receiver, f"Content-Length: {EVENT_BYTES_MAX + 1}")
    assert b" 413 " in sent(receiver, f"Content-Length: {'9' * 5_000}")


@pytest.mark.parametrize(
    "header", ["X: y", "Content-Length: -1", "Content-Length: x", "Transfer-Encoding: chunked"]
)
def test_a_body_without_a_length_is_refused(receiver: Receiver, header: str) -> None:
    """Without a length, the end of a body is unknown."""
    assert b" 411 " in sent(receiver, header)


def sent(receiver: Receiver, header: str) -> bytes:
    """Send a POST with this header, and return the first line of the answer."""
    address = urlsplit(receiver.url)
    with socket.create_connection((str(address.hostname), address.port or 0), 30) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
        with connection.makefile("rb") as reply:
            return reply.readline()


def test_too_many_waiting_events_get_503(receiver: Receiver, client: httpx.Client) -> None:
    """The number of events in memory is limited; further ones get a 503."""
    statuses = [client.post(receiver.url).status_code for _ in range(EVENTS_WAITING_MAX + 1)]

    assert [200] * EVENTS_WAITING_MAX + [503] == statuses


def test_too_many_connections_are_closed(receiver: Receiver) -> None:
    """Idle connections do not exhaust the machine."""
    address = urlsplit(receiver.url)
    where = (str(address.hostname), address.port or 0)
    silent = [socket.create_connection(where, 30) for _ in range(CONNECTIONS_MAX)]
    try:
        with socket.create_connection(where, 30) as one_more:
            assert b"" == one_more.recv(1)
    finally:
        for connection in silent:
            connection.close()


def test_a_port_in_use_is_an_error(receiver: Receiver) -> None:
    """The error says how to choose another port."""
    with pytest.raises(CommandError, match=r"Cannot listen on 127\.0\.0\.1:") as caught:
        Receiver("127.0.0.1", urlsplit(receiver.url).port or 0)

    assert "--port" in caught.value.next_step


@pytest.fixture
def default_signals() -> Iterator[None]:
    """No signal is ignored; the tests may run under `nohup`, or in the background of a script."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("default_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_waiting(receiver: Receiver, number: signal.Signals) -> None:
    """The first signal raises nothing, so that work is completed; the second one does."""
    before = signal.getsignal(number)

    with end_on_signals(receiver.end):
        signal.raise_signal(number)
        assert [] == list(receiver.receive_events())
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)

    assert before == signal.getsignal(number)


def test_hangup_stays_ignored(receiver: Receiver) -> None:
    """A command that `nohup` has started continues when its terminal closes."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with end_on_signals(receiver.end):
            assert signal.SIG_IGN == signal.getsignal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("default_signals")
def test_a_signal_ends_a_wait_without_events(receiver: Receiver) -> None:
    """The signal also ends the wait if no event arrives."""
    with end_on_signals(receiver.end):
        Thread(target=lambda: signal.raise_signal(signal.SIGTERM)).start()

        assert [] == list(receiver.receive_events())


# --- Words ---------------------------------------------------------------------------------------

FORM = (
    "type=batch_operation_completed&fired_at=2026-03-01%2008%3A00%3A00&data%5Bid%5D=5cfa0d22b8"
    "&data%5Bstatus%5D=finished&data%5Btotal_operations%5D=3&data%5Bfinished_operations%5D=3"
    "&data%5Berrored_operations%5D=1&data%5Bresponse_body_url%5D=https%3A%2F%2Fa.example.com%2Fx"
)


def signed(body: bytes, secret: str = SECRET) -> Event:
    """Return an event that is signed like one of the server."""
    signature = sign_standard([secret], "msg_1", NOW, body)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(NOW),
        "webhook-signature": signature,
    }
    return Event(headers, body, NOW * SECOND)


def test_an_event_becomes_text() -> None:
    """The text has the time, id, signature, type, batch, counters and link."""
    expected = [
        "2026-02-02 02:40:00 UTC  event msg_1  signature verified",
        "  batch_operation_completed, fired at 2026-03-01 08:00:00 UTC",
        "  batch 5cfa0d22b8 finished: 3 of 3 operations, 1 errored",
        "  https://a.example.com/x",
    ]
    assert expected == format_event(signed(FORM.encode()), SECRET).splitlines()
    assert parse_iso("2026-02-02T02:40:00Z") == NOW * SECOND


@pytest.mark.parametrize(
    ("event", "secret"),
    [
        (signed(FORM.encode(), OTHER_SECRET), SECRET),
        (Event(signed(b"other").headers, FORM.encode(), NOW * SECOND), SECRET),
        (Event(signed(FORM.encode()).headers, FORM.encode(), (NOW + 3_600) * SECOND), SECRET),
        (Event({}, FORM.encode(), NOW * SECOND), SECRET),
        (signed(FORM.encode()), ""),
    ],
)
def test_a_wrong_signature_is_shown(event: Event, secret: str) -> None:
    """The text says that the signature is wrong, or why it cannot be verified."""
    text = format_event(event, secret)

    assert "SIGNATURE WRONG" in text
    assert "verified" not in text


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"{}", b"&".join([b"type=a"] * 2_000), b"%ff"])
def test_any_body_becomes_lines(body: bytes) -> None:
    """A body that is not an event is described by its size."""
    [_, line] = format_event(signed(body), SECRET).splitlines()

    assert f"  {len(body)} bytes that are not an event of a batch" == line


def test_an_event_cannot_steer_the_terminal_or_add_lines() -> None:
    """Control characters and line ends of an event are escaped."""
    body = b"type=%1b%5b2J%0asignature%20verified"
    event = Event({"webhook-id": "a\x1b[1m"}, body, NOW * SECOND)

    text = format_event(event, SECRET)

    assert 3 == len(text.splitlines())
    assert "\x1b" not in text
