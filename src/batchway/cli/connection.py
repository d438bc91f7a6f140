"""A client of /3.0 for the command line: clear errors, time-outs, and patience where it is safe."""

import ipaddress
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from time import sleep as _sleep
from types import TracebackType
from typing import IO, Self, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from batchway.cli.options import DEFAULT_URL
from batchway.cli.terminal import CommandError, printable

Answer = TypeVar("Answer")
Sleep = Callable[[float], None]
Params = Mapping[str, str | int]

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 130.0  # a single request may take 120 s by contract
SUBMIT_SECONDS = 610.0  # POST /batches may take 600 s
PIECE_BYTES = 64 * 1024  # of a file, sent at a time
ANSWER_BYTES_MAX = 64 * 1024 * 1024
LINE_BYTES_MAX = ANSWER_BYTES_MAX  # of a streamed answer
SILENCE_SECONDS_MAX = 60.0  # of a stream; the server sends a sign of life every 15 s
ARCHIVE_BYTES_MAX = 16 * 1024**3
RETRY_AFTER_SECONDS_MAX = 60.0
SHOWN_CHARACTERS_MAX = 300
SEE_ERRORS = "For field-specific details, see the 'errors' array."  # they are shown already
# A server that never answered is probably not there; one that did may be starting again.
FIRST_WAITS_SECONDS = (0.1, 0.2, 0.4, 0.8)
LATER_WAITS_SECONDS = (*FIRST_WAITS_SECONDS, 1.6, *(2.0,) * 14)
assert ANSWER_SECONDS > RETRY_AFTER_SECONDS_MAX

JSON = "application/json"
IDEMPOTENCY_KEY = "Idempotency-Key"

_BUSY = frozenset({429})  # refused before anything was done: safe to send again, whatever it was
_BUSY_OR_ABSENT = frozenset({429, 502, 503, 504})  # for calls that change nothing


def as_segment(text: str) -> str:
    """An id as one segment of a path, whatever it holds."""
    if not text.strip():
        message = "The id is empty."
        raise CommandError(message)
    return quote(text.strip(), safe="")


class FieldMistake(msgspec.Struct, frozen=True):
    """One entry of a problem document's `errors`."""

    field: str = ""
    message: str = ""


class ProblemDocument(msgspec.Struct, frozen=True):
    """What an answer that is not 2xx says, as far as it is read here."""

    title: str = ""
    detail: str = ""
    errors: tuple[FieldMistake, ...] = ()

    def __str__(self) -> str:
        mistakes = "; ".join(f"{each.field}: {each.message}".lstrip(": ") for each in self.errors)
        detail = self.detail.removesuffix(SEE_ERRORS).strip() if mistakes else self.detail
        text = ": ".join(part for part in (self.title, detail) if part)
        return f"{text} ({mistakes})" if mistakes else text


class Refusal(CommandError):
    """The server answered with a problem; `fields` are those that it found wrong."""

    def __init__(
        self, status_code: int, message: str, next_step: str, fields: Sequence[str] = ()
    ) -> None:
        super().__init__(message, next_step)
        self.status_code = status_code
        self.fields = fields


@contextmanager
def advice(next_steps: Mapping[int, str]) -> Iterator[None]:
    """Tell what to do next about refusals with these status codes within the block."""
    try:
        yield
    except Refusal as refusal:
        refusal.next_step = next_steps.get(refusal.status_code, refusal.next_step)
        raise


class Connection:
    """Calls one server's /3.0 with one key; for one thread.

    GET, and POST with an idempotency key, are sent again after a lost connection, 429, 502, 503
    or 504. Other calls are sent again only if they had no effect: no connection was made, or the
    answer was 429. Everything that fails in the end is a CommandError.
    """

    def __init__(self, url: str, key: str, *, sleep: Sleep = _sleep) -> None:
        self.url = _server_address(url)
        self._auth = httpx.BasicAuth("batchway", key) if key else None
        self._sleep = sleep
        self._has_answered = False
        self._client = httpx.Client(
            timeout=_timeout(ANSWER_SECONDS),
            trust_env=not _is_loopback(self.url),  # a proxy cannot reach this machine's loopback
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def get(self, path: str, answer: type[Answer], params: Params | None = None) -> Answer:
        """The decoded answer to GET of a path below /3.0."""
        request = self._client.build_request("GET", self._api(path), params=params)
        return self._call(request, lambda response: self._decoded(response, answer), self._auth)

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
        """The decoded answer to POST; a file is sent from its beginning, no bytes as no body.

        With the same idempotency key the same body has its effect once, however often it is sent.
        """
        headers = {"Content-Type": media_type} if content else {}
        body = content if isinstance(content, bytes) else _FileBody(content)
        if isinstance(body, _FileBody):
            headers["Content-Length"] = str(body.length)
        if idempotency_key:
            headers[IDEMPOTENCY_KEY] = idempotency_key
        request = self._client.build_request(
            "POST",
            self._api(path),
            headers=headers,
            content=body,
            params=params,
            timeout=_timeout(SUBMIT_SECONDS if path == "/batches" else ANSWER_SECONDS),
        )
        return self._call(request, lambda response: self._decoded(response, answer), self._auth)

    def patch(self, path: str, content: bytes, answer: type[Answer]) -> Answer:
        """The decoded answer to PATCH of a path below /3.0 with JSON."""
        headers = {"Content-Type": JSON}
        request = self._client.build_request(
            "PATCH", self._api(path), headers=headers, content=content
        )
        return self._call(request, lambda response: self._decoded(response, answer), self._auth)

    def stream(
        self,
        path: str,
        media_type: str,
        read: Callable[[Iterator[bytes]], Answer],
        *,
        params: Params | None = None,
        waits: Sequence[float] | None = None,
    ) -> Answer:
        """What `read` makes of the lines of a streamed answer to GET, each as it comes.

        Once the stream has begun it is not asked for again: it may have been read in part.
        `waits` are the seconds between attempts to begin, instead of the usual ones.
        """
        headers = {"Accept": media_type, "Accept-Encoding": "identity"}
        request = self._client.build_request(
            "GET",
            self._api(path),
            headers=headers,
            params=params,
            timeout=_timeout(SILENCE_SECONDS_MAX),
        )

        def read_lines(response: httpx.Response) -> Answer:
            return read(self._lines(self._checked(response), media_type))

        return self._call(request, read_lines, self._auth, waits)

    def delete(self, path: str, *, waits: Sequence[float] | None = None) -> None:
        """DELETE a path below /3.0; `waits` as in `stream`."""
        request = self._client.build_request("DELETE", self._api(path))
        self._call(request, self._checked, self._auth, waits)

    def download(self, url: str, file: IO[bytes]) -> None:
        """Write what an archive link answers into the file, replacing what it holds.

        No key is sent: a link speaks for itself, and may lead to another host.
        """
        # The archive is compressed already: nobody shall compress it once more on its way.
        headers = {"Accept-Encoding": "identity"}
        try:
            request = self._client.build_request("GET", url, headers=headers)
        except httpx.InvalidURL as error:
            message = f"The server gave an archive link that is not an address ({error})."
            raise CommandError(message) from None
        self._call(request, lambda response: _store(self._checked(response), file), None)

    def _api(self, path: str) -> str:
        return f"{self.url}/3.0{path}"

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
                    wait = _retry_after(response, wait)
            except httpx.RequestError as error:
                if wait is None or not _had_no_effect(request, error):
                    raise self._lost(request, error) from None
            self._sleep(wait)

    def _checked(self, response: httpx.Response) -> httpx.Response:
        if not response.is_success:
            raise self._refusal(response)
        return response

    def _decoded(self, response: httpx.Response, answer: type[Answer]) -> Answer:
        body = _body(self._checked(response))
        try:
            return msgspec.json.decode(body, type=answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            message = f"{self.url} answered something that is not the Batch API: {error}"
            raise CommandError(message, "Check the address that --url gives.") from None

    def _lines(self, response: httpx.Response, media_type: str) -> Iterator[bytes]:
        """Without their ends; the last one, too, if it has none."""
        if response.headers.get("content-type", "").partition(";")[0].strip() != media_type:
            message = f"{self.url} did not answer with a stream of {media_type}."
            raise CommandError(message, "Is the server older than this command? Upgrade it.")
        waiting = bytearray()
        try:
            for piece in response.iter_bytes():
                waiting += piece
                *whole, rest = waiting.split(b"\n") if b"\n" in piece else [waiting]
                yield from (bytes(line.removesuffix(b"\r")) for line in whole)
                waiting = rest
                if len(waiting) > LINE_BYTES_MAX:
                    message = f"A line of the answer is longer than {LINE_BYTES_MAX} bytes."
                    raise CommandError(message)
        except httpx.RequestError as error:
            message = f"The answer broke off before its end ({_cause(error)})."
            raise CommandError(message, "Try again, and look at the server's log.") from None
        if waiting:
            yield bytes(waiting)

    def _refusal(self, response: httpx.Response) -> Refusal:
        status_code = response.status_code
        if response.is_redirect:
            where = printable(response.headers.get("location", ""))
            message = f"{self.url} answered {status_code} and sends us to {where}"
            return Refusal(status_code, message, "If that is the server, give it with --url.")
        body = _body(response)
        problem = _problem(body)
        message = f"The server answered {status_code} {_reason(response, problem, body)}"
        fields = [each.field for each in problem.errors]
        return Refusal(status_code, message, self._next_step(response), fields)

    def _next_step(self, response: httpx.Response) -> str:
        if response.status_code == httpx.codes.UNAUTHORIZED and self._auth is None:
            return "Give your API key with --key or BATCHWAY_API_KEY."
        return _NEXT_STEPS.get(response.status_code) or _next_step_by_path(response)

    def _lost(self, request: httpx.Request, error: httpx.RequestError) -> CommandError:
        where = f"{request.url.scheme}://{request.url.netloc.decode()}"
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
            message = f"No server answers at {where}."
            if "refused" not in str(error).lower() and str(error):
                message += f" ({printable(error)})"
            return CommandError(message, "Start one with: batchway serve")
        message = f"The connection to {where} broke before the answer came ({_cause(error)})."
        if _is_repeatable(request):
            return CommandError(message, "Try again, and look at the server's log.")
        return CommandError(
            f"{message} The server may have taken the request or not.",
            "Look before you send it again: batchway batches list, batchway lists list, "
            "batchway webhooks list",
        )


class _FileBody:
    """A file as the body of a request; it can be sent more than once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.length = file.seek(0, os.SEEK_END)

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(0)
        while piece := self._file.read(PIECE_BYTES):
            yield piece


_NEXT_STEPS = {
    401: "Check the key that --key or BATCHWAY_API_KEY gives. "
    "On the server's machine, a new one is made with: batchway keys create",
    403: "This key may not do that; an archive link may have expired: ask again for the results.",
    413: "Split the input into several batches.",
    429: "Wait until some batches have finished, then try again. See them: batchway batches list",
    503: "The server cannot take this now; try again later, and look at its log.",
}
_COMMANDS = {"lists": "lists", "batches": "batches", "batch-webhooks": "webhooks"}


def _next_step_by_path(response: httpx.Response) -> str:
    if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        return "Try again, and look at the server's log."
    if response.status_code != httpx.codes.NOT_FOUND:
        return ""
    for noun, command in _COMMANDS.items():
        if f"/3.0/{noun}/" in response.request.url.path:
            return f"Check the id. See what there is with: batchway {command} list"
    return "Check the address that --url gives."


def _server_address(url: str) -> str:
    address = url.strip().rstrip("/").removesuffix("/3.0").rstrip("/")
    try:
        parsed = httpx.URL(address)
    except httpx.InvalidURL as error:
        message = f"{printable(url)} is not an address ({error})."
        raise CommandError(message, f"An address looks like {DEFAULT_URL}") from None
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        message = f"{printable(url)!r} is not an address of a server."
        raise CommandError(message, f"An address looks like {DEFAULT_URL}")
    return address


def _timeout(seconds: float) -> httpx.Timeout:
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
        return False  # will not get better
    never_arrived = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
    return never_arrived or _is_repeatable(request)


def _is_repeatable(request: httpx.Request) -> bool:
    """Whether sending it twice has the effect of sending it once."""
    return request.method == "GET" or IDEMPOTENCY_KEY in request.headers


def _retry_after(response: httpx.Response, wait: float) -> float:
    asked = response.headers.get("retry-after", "")
    seconds = float(asked) if asked.isascii() and asked.isdigit() else 0.0
    return min(max(wait, seconds), RETRY_AFTER_SECONDS_MAX)


def _body(response: httpx.Response) -> bytes:
    body = bytearray()
    for piece in response.iter_bytes():
        body += piece
        if len(body) > ANSWER_BYTES_MAX:
            message = f"The answer is longer than {ANSWER_BYTES_MAX} bytes; it was not read."
            raise CommandError(message)
    return bytes(body)


def _store(response: httpx.Response, file: IO[bytes]) -> None:
    file.seek(0)
    file.truncate()
    for piece in response.iter_raw():
        file.write(piece)
        if file.tell() > ARCHIVE_BYTES_MAX:
            message = f"The archive is longer than {ARCHIVE_BYTES_MAX} bytes; it was not kept."
            raise CommandError(message)
    file.flush()


def _problem(body: bytes) -> ProblemDocument:
    """What the body says, if it is a problem document."""
    try:
        return msgspec.json.decode(body, type=ProblemDocument)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ProblemDocument()


def _reason(response: httpx.Response, problem: ProblemDocument, body: bytes) -> str:
    """The problem in words, or the beginning of whatever came instead."""
    text = str(problem) or f"{response.reason_phrase}: {body.decode(errors='replace').strip()}"
    return printable(text.strip(": "))[:SHOWN_CHARACTERS_MAX]


def _cause(error: httpx.RequestError) -> str:
    return printable(error) or type(error).__name__
