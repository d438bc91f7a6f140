"""A client of /3.0 for the command line: clear errors, timeouts, and retries where safe."""

import ipaddress
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from http import HTTPStatus
from time import sleep as _sleep
from typing import IO, Self, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from batchway.cli.refusals import build_refusal
from batchway.cli.terminal import CommandError, printable
from batchway.contract.version import API_PREFIX

Answer = TypeVar("Answer")
Sleep = Callable[[float], None]
Params = Mapping[str, str | int]

DEFAULT_URL = "http://127.0.0.1:8080"
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 130.0  # a single request may take 120 s by contract
SUBMIT_SECONDS = 610.0  # POST /batches may take 600 s
PIECE_BYTES = 64 * 1024  # of a file that is sent
ANSWER_BYTES_MAX = 64 * 1024 * 1024
LINE_BYTES_MAX = ANSWER_BYTES_MAX  # of a streamed answer
SILENCE_SECONDS_MAX = 60.0  # of a stream; the server sends a comment every 15 s
ARCHIVE_BYTES_MAX = 16 * 1024**3
RETRY_AFTER_SECONDS_MAX = 60.0
# A server that has never answered is probably not running; one that has may be restarting.
FIRST_WAITS_SECONDS = (0.1, 0.2, 0.4, 0.8)
LATER_WAITS_SECONDS = (*FIRST_WAITS_SECONDS, 1.6, *(2.0,) * 14)
assert ANSWER_SECONDS > RETRY_AFTER_SECONDS_MAX

JSON = "application/json"
NDJSON = "application/x-ndjson"
IDEMPOTENCY_KEY = "Idempotency-Key"

# The status codes after which every request is sent again, because it had no effect.
_BUSY = frozenset({HTTPStatus.TOO_MANY_REQUESTS})
# The status codes after which a request is sent again if that is safe.
_BUSY_OR_ABSENT = _BUSY | {
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


def quote_segment(text: str) -> str:
    """Quote an id as one segment of a path. Raises CommandError if it is empty."""
    if not text.strip():
        message = "The id is empty."
        raise CommandError(message)
    return quote(text.strip(), safe="")


class Connection:
    """Calls /3.0 of one server with one API key. Not thread-safe.

    GET requests, and POST requests with an idempotency key, are retried after a lost connection,
    429, 502, 503 or 504. Other requests are retried only if they had no effect: no connection was
    made, or the reply was 429. A request that fails in the end raises CommandError.
    """

    def __init__(self, url: str, key: str, *, sleep: Sleep = _sleep) -> None:
        self.url = _parse_address(url)
        self._auth = httpx.BasicAuth("batchway", key) if key else None
        self._sleep = sleep
        self._has_answered = False
        self._client = httpx.Client(
            timeout=_build_timeout(ANSWER_SECONDS),
            trust_env=not _is_loopback(self.url),  # a proxy cannot reach this machine's loopback
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, answer: type[Answer], params: Params | None = None) -> Answer:
        """GET a path below /3.0 and decode the reply."""
        request = self._client.build_request("GET", self._build_url(path), params=params)
        return self._call(request, lambda response: self._decode(response, answer), self._auth)

    def post(
        self,
        path: str,
        content: bytes | IO[bytes],
        answer: type[Answer],
        *,
        params: Params | None = None,
        media_type: str = JSON,
        idempotency_key: str = "",
    ) -> Answer:
        """POST to a path below /3.0 and decode the reply; empty content is sent as no body.

        A file is sent from its beginning. With the same idempotency key, the same body has its
        effect once, however often it is sent.
        """
        headers = {"Content-Type": media_type} if content else {}
        body = content if isinstance(content, bytes) else _FileBody(content)
        if isinstance(body, _FileBody):
            headers["Content-Length"] = str(body.length)
        if idempotency_key:
            headers[IDEMPOTENCY_KEY] = idempotency_key
        request = self._client.build_request(
            "POST",
            self._build_url(path),
            headers=headers,
            content=body,
            params=params,
            timeout=_build_timeout(SUBMIT_SECONDS if path == "/batches" else ANSWER_SECONDS),
        )
        return self._call(request, lambda response: self._decode(response, answer), self._auth)

    def patch(self, path: str, content: bytes, answer: type[Answer]) -> Answer:
        """PATCH a path below /3.0 with JSON and decode the reply."""
        headers = {"Content-Type": JSON}
        request = self._client.build_request(
            "PATCH", self._build_url(path), headers=headers, content=content
        )
        return self._call(request, lambda response: self._decode(response, answer), self._auth)

    def stream(
        self,
        path: str,
        media_type: str,
        read: Callable[[Iterator[bytes]], Answer],
        *,
        params: Params | None = None,
        waits: Sequence[float] | None = None,
    ) -> Answer:
        """GET a path below /3.0, pass its lines to `read` as they arrive, and return the result.

        Once the stream has begun it is not requested again, because `read` may have used a part of
        it. `waits` replaces the usual numbers of seconds between the attempts.
        """
        headers = {"Accept": media_type, "Accept-Encoding": "identity"}
        request = self._client.build_request(
            "GET",
            self._build_url(path),
            headers=headers,
            params=params,
            timeout=_build_timeout(SILENCE_SECONDS_MAX),
        )

        def read_lines(response: httpx.Response) -> Answer:
            return read(self._read_lines(self._check_status(response), media_type))

        return self._call(request, read_lines, self._auth, waits)

    def delete(self, path: str, *, waits: Sequence[float] | None = None) -> None:
        """DELETE a path below /3.0. For `waits`, see `stream`."""
        request = self._client.build_request("DELETE", self._build_url(path))
        self._call(request, self._check_status, self._auth, waits)

    def download(self, url: str, file: IO[bytes]) -> None:
        """Download an archive link into the file, replacing its content.

        No API key is sent: the link is signed, and may point to another host.
        """
        # The archive is compressed already, so a proxy must not compress it.
        headers = {"Accept-Encoding": "identity"}
        try:
            request = self._client.build_request("GET", url, headers=headers)
        except httpx.InvalidURL as error:
            message = f"The server sent an archive link that is not a valid URL ({error})."
            raise CommandError(message) from None
        self._call(
            request, lambda response: _store_archive(self._check_status(response), file), None
        )

    def _build_url(self, path: str) -> str:
        return f"{self.url}{API_PREFIX}{path}"

    def _call(
        self,
        request: httpx.Request,
        read: Callable[[httpx.Response], Answer],
        auth: httpx.Auth | None,
        waits: Sequence[float] | None = None,
    ) -> Answer:
        usual = LATER_WAITS_SECONDS if self._has_answered else FIRST_WAITS_SECONDS
        left = iter(usual if waits is None else waits)
        while True:
            wait = next(left, None)
            try:
                with closing(self._client.send(request, auth=auth, stream=True)) as response:
                    self._has_answered = True
                    if wait is None or not _is_worth_a_retry(request, response.status_code):
                        return read(response)
                    wait = _choose_wait(response, wait)
            except httpx.RequestError as error:
                if wait is None or not _had_no_effect(request, error):
                    raise self._explain_failure(request, error) from None
            self._sleep(wait)

    def _check_status(self, response: httpx.Response) -> httpx.Response:
        if not response.is_success:
            has_key = self._auth is not None
            raise build_refusal(self.url, response, _read_body(response), has_key=has_key)
        return response

    def _decode(self, response: httpx.Response, answer: type[Answer]) -> Answer:
        body = _read_body(self._check_status(response))
        try:
            return msgspec.json.decode(body, type=answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            message = f"The reply of {self.url} is not one of the Batch API: {error}"
            raise CommandError(message, "Check the address in --url.") from None

    def _read_lines(self, response: httpx.Response, media_type: str) -> Iterator[bytes]:
        """Yield the lines of a streamed reply without their ends, which the last may lack."""
        if response.headers.get("content-type", "").partition(";")[0].strip() != media_type:
            message = f"{self.url} did not reply with a stream of {media_type}."
            raise CommandError(message, "The server may be older than this command. Upgrade it.")
        waiting = bytearray()
        try:
            for piece in response.iter_bytes():
                waiting += piece
                *whole, rest = waiting.split(b"\n") if b"\n" in piece else [waiting]
                yield from (bytes(line.removesuffix(b"\r")) for line in whole)
                waiting = rest
                if len(waiting) > LINE_BYTES_MAX:
                    message = f"A line of the reply is longer than {LINE_BYTES_MAX} bytes."
                    raise CommandError(message)
        except httpx.RequestError as error:
            message = f"The reply ended too early ({_describe_error(error)})."
            raise CommandError(message, "Try again, and check the server's log.") from None
        if waiting:
            yield bytes(waiting)

    def _explain_failure(self, request: httpx.Request, error: httpx.RequestError) -> CommandError:
        where = f"{request.url.scheme}://{request.url.netloc.decode()}"
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
            message = f"No server answers at {where}."
            if "refused" not in str(error).lower() and str(error):
                message += f" ({printable(error)})"
            return CommandError(message, "Start one with: batchway serve")
        message = f"The connection to {where} was lost before the reply ({_describe_error(error)})."
        if _is_repeatable(request):
            return CommandError(message, "Try again, and check the server's log.")
        return CommandError(
            f"{message} The server may or may not have accepted the request.",
            "Before you repeat it, look whether it had an effect: batchway batches list, "
            "batchway lists list, batchway webhooks list",
        )


class _FileBody:
    """The content of a file as the body of a request that may be sent more than once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.length = file.seek(0, os.SEEK_END)

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(0)
        while piece := self._file.read(PIECE_BYTES):
            yield piece


def _parse_address(url: str) -> str:
    address = url.strip().rstrip("/").removesuffix(API_PREFIX).rstrip("/")
    try:
        parsed = httpx.URL(address)
    except httpx.InvalidURL as error:
        message = f"{printable(url)} is not a valid address ({error})."
        raise CommandError(message, f"An address looks like {DEFAULT_URL}") from None
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        message = f"{printable(url)!r} is not the address of a server."
        raise CommandError(message, f"An address looks like {DEFAULT_URL}")
    return address


def _build_timeout(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=CONNECT_SECONDS)


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_worth_a_retry(request: httpx.Request, status_code: int) -> bool:
    return status_code in (_BUSY_OR_ABSENT if _is_repeatable(request) else _BUSY)


def _had_no_effect(request: httpx.Request, error: httpx.RequestError) -> bool:
    if isinstance(error, httpx.UnsupportedProtocol):
        return False  # a retry would fail as well
    never_arrived = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
    return never_arrived or _is_repeatable(request)


def _is_repeatable(request: httpx.Request) -> bool:
    """Whether sending the request twice has the same effect as sending it once."""
    return request.method == "GET" or IDEMPOTENCY_KEY in request.headers


def _choose_wait(response: httpx.Response, wait: float) -> float:
    asked = response.headers.get("retry-after", "")
    seconds = float(asked) if asked.isascii() and asked.isdigit() else 0.0
    return min(max(wait, seconds), RETRY_AFTER_SECONDS_MAX)


def _read_body(response: httpx.Response) -> bytes:
    body = bytearray()
    for piece in response.iter_bytes():
        body += piece
        if len(body) > ANSWER_BYTES_MAX:
            message = f"The reply is longer than {ANSWER_BYTES_MAX} bytes and was not read."
            raise CommandError(message)
    return bytes(body)


def _store_archive(response: httpx.Response, file: IO[bytes]) -> None:
    file.seek(0)
    file.truncate()
    for piece in response.iter_raw():
        file.write(piece)
        if file.tell() > ARCHIVE_BYTES_MAX:
            message = f"The archive is longer than {ARCHIVE_BYTES_MAX} bytes and was not kept."
            raise CommandError(message)
    file.flush()


def _describe_error(error: httpx.RequestError) -> str:
    return printable(error) or type(error).__name__
