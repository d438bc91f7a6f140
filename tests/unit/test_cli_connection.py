"""The command line's HTTP client, against a real server on a real socket."""

import io
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import msgspec
import pytest

from batchway.cli.connection import (
    FIRST_WAITS_SECONDS,
    LATER_WAITS_SECONDS,
    RETRY_AFTER_SECONDS_MAX,
    Connection,
    quote_segment,
)
from batchway.cli.following import POLL_SECONDS_MAX, POLL_SECONDS_MIN, poll_batch
from batchway.cli.refusals import Refusal, advise
from batchway.cli.terminal import CommandError

PROBLEM = {
    "type": "about:blank",
    "title": "Resource Not Found",
    "status": 404,
    "detail": "The requested resource could not be found.",
    "instance": "x",
}
HANG_UP = 0


class Thing(msgspec.Struct):
    """A resource that the tests request."""

    id: str


@dataclass
class Answer:
    """One answer of the server; the status code HANG_UP closes the connection instead."""

    status_code: int = 200
    body: bytes = b'{"id": "a"}'
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Received:
    """A request that the server received."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Stage:
    """A server that gives prepared answers in order, and then repeats the last one."""

    url: str
    answers: list[Answer] = field(default_factory=lambda: [Answer()])
    received: list[Received] = field(default_factory=list)

    def next_answer(self) -> Answer:
        """Return the next answer."""
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def problem(status_code: int, **changes: object) -> Answer:
    """Return an answer with a problem document."""
    body = json.dumps({**PROBLEM, "status": status_code, **changes}).encode()
    return Answer(status_code, body, {"Content-Type": "application/problem+json"})


@contextmanager
def staging() -> Iterator[Stage]:
    """Run a server on a free port until the block ends."""
    stage = Stage("")

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(length)
            stage.received.append(Received(self.command, self.path, headers, body))
            answer = stage.next_answer()
            if answer.status_code == HANG_UP:
                self.close_connection = True
                return
            self.send_response(answer.status_code)
            for name, value in {"Content-Length": len(answer.body), **answer.headers}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815 - the base's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as above
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stage.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield stage
        server.shutdown()
        thread.join()


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A server on a free port."""
    with staging() as stage:
        yield stage


@pytest.fixture
def waits() -> list[float]:
    """The waits of the connection, in order."""
    return []


@pytest.fixture
def connection(stage: Stage, waits: list[float]) -> Iterator[Connection]:
    """A connection to the server that does not really wait."""
    with Connection(stage.url, "secret-us1", sleep=waits.append) as connection:
        yield connection


@pytest.mark.parametrize("suffix", ["", "/", "/3.0", "/3.0/"])
def test_a_call_carries_the_key_and_decodes_the_answer(stage: Stage, suffix: str) -> None:
    """The path has /3.0 once, however the address is written, and the key is the password."""
    with Connection(stage.url + suffix, "secret-us1") as connection:
        thing = connection.get("/things", Thing, {"count": 3})

    assert Thing("a") == thing
    assert "/3.0/things?count=3" == stage.received[0].path
    assert "Basic YmF0Y2h3YXk6c2VjcmV0LXVzMQ==" == stage.received[0].headers["authorization"]


def test_a_file_is_sent_with_its_length_and_again_after_429(
    stage: Stage, connection: Connection, waits: list[float]
) -> None:
    """A refused request had no effect, so it is sent again with the complete file."""
    stage.answers = [problem(429), Answer()]
    file = io.BytesIO(b'{"operations":[]}')
    file.read(5)

    connection.post("/batches", file, Thing)

    assert [b'{"operations":[]}'] * 2 == [request.body for request in stage.received]
    assert "17" == stage.received[1].headers["content-length"]
    assert [FIRST_WAITS_SECONDS[0]] == waits


@pytest.mark.parametrize(
    ("retry_after", "expected"),
    [
        ("7", 7.0),
        ("100000", RETRY_AFTER_SECONDS_MAX),
        ("0", FIRST_WAITS_SECONDS[0]),
        ("Wed, 21 Oct 2026 07:28:00 GMT", FIRST_WAITS_SECONDS[0]),
    ],
)
def test_retry_after_is_obeyed_within_bounds(
    stage: Stage, connection: Connection, waits: list[float], retry_after: str, expected: float
) -> None:
    """The server chooses the wait, within the bounds of the client."""
    stage.answers = [Answer(429, b"", {"Retry-After": retry_after}), Answer()]

    connection.get("/things", Thing)

    assert [expected] == waits


@pytest.mark.parametrize("failure", [Answer(HANG_UP), Answer(502), Answer(503), Answer(504)])
def test_reads_are_retried_after_an_outage(
    stage: Stage, connection: Connection, failure: Answer
) -> None:
    """A request that changes nothing is sent again after a lost connection or a 5xx of a proxy."""
    stage.answers = [failure, failure, Answer()]

    assert Thing("a") == connection.get("/things", Thing)
    assert 3 == len(stage.received)


def test_a_post_is_not_sent_twice_after_a_lost_connection(
    stage: Stage, connection: Connection, waits: list[float]
) -> None:
    """A POST that may have been accepted is not repeated; the error says how to find out."""
    stage.answers = [Answer(HANG_UP)]

    with pytest.raises(CommandError, match="may or may not have accepted the request") as caught:
        connection.post("/batches", b"{}", Thing)

    assert 1 == len(stage.received)
    assert not waits
    assert "batchway batches list" in caught.value.next_step


@pytest.mark.parametrize("failure", [Answer(HANG_UP), Answer(503)])
def test_a_post_with_an_idempotency_key_is_sent_again(
    stage: Stage, connection: Connection, failure: Answer
) -> None:
    """The same key, type and body are sent again, which the server accepts only once."""
    stage.answers = [failure, Answer()]

    connection.post(
        "/batches", b"{}", Thing, media_type="application/x-ndjson", idempotency_key="night-1"
    )

    sent = [
        (request.headers["idempotency-key"], request.headers["content-type"], request.body)
        for request in stage.received
    ]
    assert [("night-1", "application/x-ndjson", b"{}")] * 2 == sent


def test_an_action_has_parameters_and_no_body(stage: Stage, connection: Connection) -> None:
    """A request without a body has no content type."""
    connection.post("/things/1/actions/retry", b"", Thing, params={"errored": "true"})

    assert "/3.0/things/1/actions/retry?errored=true" == stage.received[0].path
    assert (b"", "0") == (stage.received[0].body, stage.received[0].headers["content-length"])
    assert "content-type" not in stage.received[0].headers


def test_a_patch_is_json_and_is_not_sent_twice(stage: Stage, connection: Connection) -> None:
    """A lost PATCH may have had its effect."""
    stage.answers = [Answer(), Answer(HANG_UP)]

    connection.patch("/things/1", b'{"a":1}', Thing)
    with pytest.raises(CommandError, match="may or may not have accepted the request"):
        connection.patch("/things/1", b'{"a":1}', Thing)

    assert [("PATCH", b'{"a":1}')] * 2 == [
        (request.method, request.body) for request in stage.received
    ]
    assert "application/json" == stage.received[0].headers["content-type"]


LINES = {"Content-Type": "application/x-ndjson"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", []),
        (b"a\nb\n", [b"a", b"b"]),
        (b"a\r\n\nb", [b"a", b"", b"b"]),
        ("\u2028\x85\n".encode(), ["\u2028\x85".encode()]),
        (b"x" * 300_000 + b"\ny\n", [b"x" * 300_000, b"y"]),
    ],
)
def test_a_stream_comes_in_lines(
    stage: Stage, connection: Connection, body: bytes, expected: list[bytes]
) -> None:
    """Only a line feed ends a line, and the last line may be without it."""
    stage.answers = [Answer(503), Answer(200, body, LINES)]

    lines = connection.stream("/things", "application/x-ndjson", list, params={"count": 3})

    assert expected == lines
    assert "/3.0/things?count=3" == stage.received[1].path
    assert "application/x-ndjson" == stage.received[1].headers["accept"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(200, b"{}", {"Content-Type": "application/json"}), "did not reply with a stream"),
        (Answer(200, b"a\nb", LINES | {"Content-Length": "1000"}), "The reply ended too early"),
        (problem(404), "404 Resource Not Found"),
        (Answer(503), "503"),
    ],
)
def test_a_missing_or_broken_stream_is_an_error(
    stage: Stage, connection: Connection, answer: Answer, message: str
) -> None:
    """A broken stream is not requested again, because its beginning may have been used."""
    stage.answers = [answer]

    with pytest.raises(CommandError, match=message):
        connection.stream("/things", "application/x-ndjson", list, waits=())

    assert 1 == len(stage.received)


def test_a_server_that_has_answered_gets_more_retries(
    stage: Stage, connection: Connection, waits: list[float]
) -> None:
    """A server that has answered before may be restarting, so it gets more time."""
    stage.answers = [Answer(503)]
    with pytest.raises(Refusal):
        connection.get("/things", Thing)
    assert list(FIRST_WAITS_SECONDS) == waits

    waits.clear()
    with pytest.raises(Refusal):
        connection.get("/things", Thing)

    assert list(LATER_WAITS_SECONDS) == waits


def test_a_refused_connection_names_the_server_command(waits: list[float]) -> None:
    """The error names the address, and says how to start a server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        connection = Connection(url, "key", sleep=waits.append)

        with connection, pytest.raises(CommandError) as caught:
            connection.post("/batches", b"{}", Thing)

    assert f"No server answers at {url}." == str(caught.value)
    assert "Start one with: batchway serve" == caught.value.next_step
    assert list(FIRST_WAITS_SECONDS) == waits


@pytest.mark.parametrize(
    ("path", "status_code", "next_step"),
    [
        ("/lists/nope/members", 404, "batchway lists list"),
        ("/batches/nope", 404, "batchway batches list"),
        ("/batch-webhooks/nope", 404, "batchway webhooks list"),
        ("/nope", 404, "--url"),
        ("/lists", 401, "batchway keys create"),
        ("/lists", 403, "may not"),
        ("/lists", 413, "Split"),
        ("/lists", 500, "log"),
    ],
)
def test_a_problem_has_a_next_step(
    stage: Stage, connection: Connection, path: str, status_code: int, next_step: str
) -> None:
    """The error has the title, the detail, and a next step for the status code."""
    stage.answers = [problem(status_code)]

    with pytest.raises(Refusal) as caught:
        connection.get(path, Thing)

    assert status_code == caught.value.status_code
    expected = f"The server answered {status_code} Resource Not Found: {PROBLEM['detail']}"
    assert expected == str(caught.value)
    assert next_step in caught.value.next_step


def test_a_missing_key_is_not_a_wrong_key(stage: Stage) -> None:
    """Without a key, the error says how to give one, and no key is sent."""
    stage.answers = [problem(401)]

    with Connection(stage.url, "") as connection, pytest.raises(Refusal) as caught:
        connection.get("/lists", Thing)

    assert "Give your API key with --key or BATCHWAY_API_KEY." == caught.value.next_step
    assert "authorization" not in stage.received[0].headers


def test_field_errors_are_shown(stage: Stage, connection: Connection) -> None:
    """The errors are shown with their fields, or without one if they have none."""
    errors = [{"field": "operations.item:0.params", "message": "No."}, {"message": "Nor this."}]
    detail = "Not valid. For field-specific details, see the 'errors' array."
    stage.answers = [problem(400, title="Invalid Resource", detail=detail, errors=errors)]

    with pytest.raises(Refusal) as caught:
        connection.delete("/batches/x")

    details = "Invalid Resource: Not valid. (operations.item:0.params: No.; Nor this.)"
    assert f"The server answered 400 {details}" == str(caught.value)
    assert ["operations.item:0.params", ""] == caught.value.fields


@pytest.mark.parametrize(("status_code", "expected"), [(409, "Wait."), (400, ""), (500, "log")])
def test_a_command_knows_what_to_do_about_a_refusal(
    stage: Stage, connection: Connection, status_code: int, expected: str
) -> None:
    """The advice of the command replaces the general one for the status codes that it names."""
    stage.answers = [problem(status_code)]

    with pytest.raises(Refusal) as caught, advise({409: "Wait."}):
        connection.post("/things", b"", Thing)

    assert expected in caught.value.next_step
    assert bool(expected) == bool(caught.value.next_step)


@pytest.mark.parametrize(
    "body", [b"<html>\x1b[2J Bad Gateway</html>", b"", b"\xff\xfe", b'["a"]', b"{}"]
)
def test_any_answer_becomes_one_line(stage: Stage, connection: Connection, body: bytes) -> None:
    """An answer that is not a problem document is shown as text, without control characters."""
    stage.answers = [Answer(500, body)]

    with pytest.raises(Refusal) as caught:
        connection.get("/things", Thing)

    assert str(caught.value).startswith("The server answered 500 Internal Server Error")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"id": 5}', b"\xff"])
def test_a_success_of_another_kind_is_an_error(
    stage: Stage, connection: Connection, body: bytes
) -> None:
    """A 200 reply of another program is an error."""
    stage.answers = [Answer(200, body)]

    with pytest.raises(CommandError, match="is not one of the Batch API"):
        connection.get("/things", Thing)


def test_a_redirect_is_shown_and_not_followed(stage: Stage, connection: Connection) -> None:
    """The key is only sent to the address that was given."""
    stage.answers = [Answer(301, b"", {"Location": "https://elsewhere.example.com/"})]

    with pytest.raises(Refusal, match=r"redirects to https://elsewhere\.example\.com/"):
        connection.get("/things", Thing)

    assert 1 == len(stage.received)


def test_a_download_carries_no_key_and_starts_anew(stage: Stage, connection: Connection) -> None:
    """No key is sent, and the bytes of an incomplete attempt are replaced."""
    cut_short = Answer(200, b"longer than the archive", {"Content-Length": "1000"})
    stage.answers = [cut_short, Answer(200, b"archive")]
    file = io.BytesIO()

    connection.download(f"{stage.url}/archives/x?t=token", file)

    assert b"archive" == file.getvalue()
    assert "/archives/x?t=token" == stage.received[1].path
    assert all("authorization" not in request.headers for request in stage.received)
    assert "identity" == stage.received[0].headers["accept-encoding"]


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "ftp://host", "http://", "http://[::1"])
def test_an_invalid_address_is_refused(url: str) -> None:
    """The error has an example of an address."""
    with pytest.raises(CommandError) as caught:
        Connection(url, "key")

    assert "An address looks like http://127.0.0.1:8080" == caught.value.next_step


def test_an_id_stays_one_segment_of_a_path() -> None:
    """Slashes and question marks in an id are escaped, and an empty id is an error."""
    assert "a%2Fb%3Fc" == quote_segment(" a/b?c ")
    with pytest.raises(CommandError):
        quote_segment("  ")


def test_polling_slows_down_and_ends_with_the_finished_batch(
    stage: Stage, connection: Connection
) -> None:
    """The pauses grow to two seconds, and no request follows when the batch is finished."""

    def state(status: str, finished: int) -> Answer:
        batch = {
            "id": "b1",
            "status": status,
            "total_operations": 9,
            "finished_operations": finished,
            "errored_operations": 0,
        }
        return Answer(200, json.dumps(batch).encode())

    stage.answers = [*(state("started", number) for number in range(9)), state("finished", 9)]
    waits: list[float] = []

    seen = list(poll_batch(connection, "b1", waits.append))

    assert [*range(10)] == [batch.finished_operations for batch in seen]
    assert POLL_SECONDS_MIN == waits[0]
    assert POLL_SECONDS_MAX == waits[-1]
    assert sorted(waits) == waits
    assert 9 == len(waits)
