"""A client of /3.0 for the command line: clear errors, time-outs, and patience where it is safe."""

import ipaddress
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
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

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 130.0  # a single request may take 120 s by contract
PIECE_BYTES = 64 * 1024  # of a file, sent at a time
ANSWER_BYTES_MAX = 64 * 1024 * 1024
ARCHIVE_BYTES_MAX = 16 * 1024**3
RETRY_AFTER_SECONDS_MAX = 60.0
SHOWN_CHARACTERS_MAX = 300
SEE_ERRORS = "For field-specific details, see the 'errors' array."  # they are shown already
# A server that never answered is probably not there; one that did may be starting again.
FIRST_WAITS_SECONDS = (0.1, 0.2, 0.4, 0.8)
LATER_WAITS_SECONDS = (*FIRST_WAITS_SECONDS, 1.6, *(2.0,) * 14)
assert ANSWER_SECONDS > RETRY_AFTER_SECONDS_MAX

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
    """The server answered with a problem."""

    def __init__(self, status_code: int, message: str, next_step: str) -> None:
        super().__init__(message, next_step)
        self.status_code = status_code


class Connection:
    """Calls one server's /3.0 with one key; for one thread.

    GET is sent again after a lost connection, 429, 502, 503 or 504. Other calls are sent again
    only if they had no effect: no connection was made, or the answer was 429. Everything that
    fails in the end is a CommandError.
    """

    def __init__(self, url: str, key: str, *, sleep: Sleep = _sleep) -> None:
        self.url = _server_address(url)
        self._auth = httpx.BasicAuth("batchway", key) if key else None
        self._sleep = sleep
        self._has_answered = False
        self._client = httpx.Client(
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
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

    def get(
        self, path: str, answer: type[Answer], params: Mapping[str, str | int] | None = None
    ) -> Answer:
        """The decoded answer to GET of a path below /3.0."""
        request = self._client.build_request("GET", self._api(path), params=params)
        return self._call(request, lambda response: self._decoded(response, answer), self._auth)

    def post(self, path: str, content: bytes | IO[bytes], answer: type[Answer]) -> Answer:
        """The decoded answer to POST of JSON; a file is sent from its beginning."""
        headers = {"Content-Type": "application/json"}
        body = content if isinstance(content, bytes) else _FileBody(content)
        if isinstance(body, _FileBody):
            headers["Content-Length"] = str(body.length)
        request = self._client.build_request("POST", self._api(path), headers=headers, content=body)
        return self._call(request, lambda response: self._decoded(response, answer), self._auth)

    def delete(self, path: str) -> None:
        """DELETE a path below /3.0."""
        request = self._client.build_request("DELETE", self._api(path))
        self._call(request, self._checked, self._auth)

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
    ) -> Answer:
        waits = iter(LATER_WAITS_SECONDS if self._has_answered else FIRST_WAITS_SECONDS)
        while True:
            wait = next(waits, None)
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

    def _refusal(self, response: httpx.Response) -> Refusal:
        status_code = response.status_code
        if response.is_redirect:
            where = printable(response.headers.get("location", ""))
            message = f"{self.url} answered {status_code} and sends us to {where}"
            return Refusal(status_code, message, "If that is the server, give it with --url.")
        message = f"The server answered {status_code} {_reason(response)}"
        return Refusal(status_code, message, self._next_step(response))

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
        if request.method == "GET":
            return CommandError(message, "Try again, and look at the server's log.")
        return CommandError(
            f"{message} The server may have taken the request or not.",
            "Look before you send it again: batchway batches list, batchway lists list",
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


def _next_step_by_path(response: httpx.Response) -> str:
    if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        return "Try again, and look at the server's log."
    if response.status_code != httpx.codes.NOT_FOUND:
        return ""
    for noun in ("lists", "batches"):
        if f"/3.0/{noun}/" in response.request.url.path:
            return f"Check the id. See what there is with: batchway {noun} list"
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


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_worth_a_retry(request: httpx.Request, status_code: int) -> bool:
    return status_code in (_BUSY_OR_ABSENT if request.method == "GET" else _BUSY)


def _had_no_effect(request: httpx.Request, error: httpx.RequestError) -> bool:
    if isinstance(error, httpx.UnsupportedProtocol):
        return False  # will not get better
    return request.method == "GET" or isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)


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


def _reason(response: httpx.Response) -> str:
    """The problem document in words, or the beginning of whatever came instead."""
    body = _body(response)
    try:
        text = str(msgspec.json.decode(body, type=ProblemDocument))
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = ""
    if not text:
        text = f"{response.reason_phrase}: {body.decode(errors='replace').strip()}"
    return printable(text.strip(": "))[:SHOWN_CHARACTERS_MAX]


def _cause(error: httpx.RequestError) -> str:
    return printable(error) or type(error).__name__
