"""`/3.0/…` over HTTP: read a request, find out who asks, answer it, write the reply.

The only place where a call becomes HTTP. Batches are answered here, all else by the target.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import structlog
from anyio import move_on_after
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from batchway.contract.fields import check_params, select_fields
from batchway.contract.inflate import Inflater
from batchway.contract.links import Links
from batchway.contract.problems import (
    Problem,
    Refused,
    database_busy,
    internal_error,
    invalid_method_override,
    not_found,
    request_timeout,
    too_large,
)
from batchway.contract.request import Caller, Request
from batchway.contract.response import Response, encode_body, refusal
from batchway.contract.stream import Stream
from batchway.errors import ArchiveMissing, DatabaseBusy, Refusal
from batchway.kit.clock import Clock
from batchway.kit.ids import new_request_id
from batchway.kit.logs import log_exception
from batchway.lifecycle.no_answer import explain_no_answer
from batchway.limits import Limits
from batchway.model.account import Identity
from batchway.model.result import NoAnswer
from batchway.store.database import Database
from batchway.surfaces.connections import Connections
from batchway.surfaces.mailchimp.authentication import authenticate
from batchway.surfaces.mailchimp.batch_intake import Intake
from batchway.surfaces.mailchimp.batches import OwnAnswer
from batchway.surfaces.mailchimp.refusals import find_problem
from batchway.surfaces.mailchimp.routes import OwnCalls
from batchway.surfaces.threads import in_thread
from batchway.targets.table import TargetTable

log = structlog.get_logger(__name__)

PREFIX = "/3.0"
_JSON = "application/json; charset=utf-8"
_PROBLEM = "application/problem+json; charset=utf-8"
_BODILESS = ("GET", "DELETE")  # what they come with is never read; the web server drops it
_OVERRIDES = ("PUT", "PATCH", "DELETE")
_BATCHES = "batches"
_OWN = frozenset({_BATCHES, "batch-webhooks", "limits"})
_HEADERS = ("accept", "content-encoding", "content-type", "idempotency-key")


@dataclass(frozen=True)
class Calls:
    """Answers every call under /3.0."""

    database: Database
    targets: TargetTable
    own_calls: OwnCalls
    clock: Clock
    public_url: str
    connections: Connections
    event_streams: Connections
    limits: Limits

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; never raises for what a client can do."""
        http = HttpRequest(scope, receive)
        called = new_request_id()
        with ExitStack() as held:  # until the last byte is sent
            try:
                response = await self._answer(http, held)
            except Refused as refused:
                response = refusal(refused)
            except Refusal as of_core:
                response = refusal(find_problem(of_core))
            except ArchiveMissing:  # the batch was deleted while its results were read, or worse
                log.warning("archive_missing", request=called, path=http.url.path)
                response = refusal(not_found())
            except DatabaseBusy as busy:
                log.warning("database_busy", request=called, path=http.url.path, reason=str(busy))
                response = refusal(database_busy())
            except ClientDisconnect:
                return  # nobody is there to read an answer
            except Exception:
                log_exception(log, "request_failed", request=called, path=http.url.path)
                response = refusal(internal_error())
            reply = _reply(response, called, base_url(http, self.public_url))
            await reply(scope, receive, send)

    async def _answer(self, http: HttpRequest, held: ExitStack) -> Response:
        request, identity = await in_thread(partial(self._begin, http))
        links = Links(base_url(http, self.public_url))
        family = _family(request)
        if request.path.rstrip("/").endswith("/events") and family == _BATCHES:
            held.enter_context(self.event_streams.one(identity.api_key_id))
        elif not _is_exempt(request):
            held.enter_context(self.connections.one(identity.api_key_id))
        answer: OwnAnswer | Intake = self._answer_by_target
        if family in _OWN:
            check_params(request.params)
            answer, request.path_params = self.own_calls.match(request.method, request.path)
        if isinstance(answer, Intake):
            _check_length(http, self.limits.request_body_bytes_max)
            with _limited(self.limits.batch_request_seconds_max):
                response = await answer.answer(request, identity, links, http.stream())
        else:
            most = self.limits.call_body_bytes_max
            with _limited(self.limits.request_seconds_max):
                request.body = b"" if request.method in _BODILESS else await _body(http, most)
                response = await in_thread(partial(answer, request, identity, links))
        return select_fields(response, request.params) if family in _OWN else response

    def _begin(self, http: HttpRequest) -> tuple[Request, Identity]:
        """All of a request but its body, and who it comes from."""
        params = dict(http.query_params)
        method = _method(http)
        identity = authenticate(self.database, http.headers.get("authorization"), method, params)
        params.pop("apikey", None)
        headers = {name: http.headers[name] for name in _HEADERS if name in http.headers}
        return Request(method, _path(http), params, headers=headers), identity

    def _answer_by_target(self, request: Request, identity: Identity, links: Links) -> Response:
        caller = Caller(identity.account.id, identity.account.name, self.clock(), links)
        answer = self.targets.find(request.path).target.answer_single(caller, request)
        if isinstance(answer, NoAnswer):
            raise explain_no_answer(answer)
        return answer


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise 504 when the block takes longer. A TimeoutError of the block itself is no 504."""
    with move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise request_timeout(seconds)


def base_url(http: HttpRequest, public_url: str) -> str:
    """What links begin with: the setting, or else the address that the client used."""
    return public_url or f"{http.url.scheme}://{http.url.netloc}"


def _is_exempt(request: Request) -> bool:
    """Whether a call is one of the contract's on batches, which may be as many as one likes."""
    family, *rest = request.path.strip("/").split("/")
    return family == _BATCHES and len(rest) <= 1 and not request.flag("validate_only")


def _family(request: Request) -> str:
    return request.path.strip("/").split("/", 1)[0]


async def _body(http: HttpRequest, most: int) -> bytes:
    """The whole body; raises 413 as soon as it is known to be too large."""
    _check_length(http, most)
    inflater = Inflater(http.headers.get("content-encoding"), most)
    body = b"".join([piece async for piece in _inflated(http.stream(), inflater)])
    inflater.finish()
    return body


def _check_length(http: HttpRequest, most: int) -> None:
    """Refuse a body that is announced as too large before it is sent."""
    declared = http.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > most:
        detail = f"This request's body may have {most} bytes. Send it in several requests."
        raise too_large(detail)


async def _inflated(stream: AsyncIterator[bytes], inflater: Inflater) -> AsyncIterator[bytes]:
    async for data in stream:
        for piece in inflater.feed(data):
            yield piece


def _method(http: HttpRequest) -> str:
    override = http.headers.get("x-http-method-override")
    if override is None:
        return "GET" if http.method == "HEAD" else http.method
    if http.method != "POST" or override.upper() not in _OVERRIDES:
        raise invalid_method_override()
    return override.upper()


def _path(http: HttpRequest) -> str:
    """The path below /3.0, still percent-encoded: a `%2F` in an id is no border."""
    raw: bytes = http.scope.get("raw_path") or http.scope["path"].encode()
    path = raw.split(b"?", 1)[0].decode("latin-1")
    return path.removeprefix(PREFIX) or "/"


def _reply(response: Response, called: str, base: str) -> HttpResponse:
    headers: dict[str, str] = {"X-Request-Id": called}
    is_problem = isinstance(response.body, Problem)
    if is_problem:
        schema = f"{base}/schema/3.0/Definitions/ProblemDetailDocument.json"
        headers["Link"] = f'<{schema}>; rel="describedBy"'
    headers.update(response.headers)
    if isinstance(response.body, Stream):
        headers |= {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        stream = response.body
        return StreamingResponse(stream.pieces, headers=headers, media_type=stream.media_type)
    return HttpResponse(
        content=encode_body(response, called),
        status_code=response.status,
        headers=headers,
        media_type=_PROBLEM if is_problem else _JSON,
    )
