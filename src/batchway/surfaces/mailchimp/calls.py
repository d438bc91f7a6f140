"""Calls of the API over HTTP: read a request, authenticate it, answer it, write the reply.

The only module of the surface that knows HTTP. Calls of the surface's own routes are answered by
these, all others by the target of their path.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from urllib.parse import quote

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
from batchway.contract.routing import RouteTable
from batchway.contract.stream import Stream
from batchway.contract.version import SCHEMA_PREFIX
from batchway.errors import ArchiveMissing, DatabaseBusy, Refusal
from batchway.kit.clock import Clock
from batchway.kit.ids import new_request_id
from batchway.kit.logs import log_exception
from batchway.lifecycle.no_answer import explain_no_answer
from batchway.model.account import Identity
from batchway.model.result import NoAnswer
from batchway.surfaces.base import Surface, find_base_url, find_root_path
from batchway.surfaces.connections import Connections
from batchway.surfaces.mailchimp.refusals import find_problem
from batchway.surfaces.mailchimp.route import Answer, CountedAs, Route
from batchway.surfaces.threads import in_thread

log = structlog.get_logger(__name__)

_JSON = "application/json; charset=utf-8"
_PROBLEM = "application/problem+json; charset=utf-8"
_BODILESS = ("GET", "DELETE")  # what they come with is never read; the web server drops it
_OVERRIDES = ("PUT", "PATCH", "DELETE")
_HEADERS = ("accept", "content-encoding", "content-type", "idempotency-key")


@dataclass(frozen=True)
class Calls:
    """The endpoint of the surface."""

    surface: Surface
    routes: RouteTable[Route]
    clock: Clock
    connections: Connections
    event_streams: Connections

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
            reply = _reply(response, called, find_base_url(http, self.surface.public_url))
            await reply(scope, receive, send)

    async def _answer(self, http: HttpRequest, held: ExitStack) -> Response:
        request, identity = await in_thread(partial(self._begin, http))
        links = Links(find_base_url(http, self.surface.public_url))
        if not self._has_own_route(request):
            held.enter_context(self.connections.one(identity.api_key_id))
            return await self._answer_whole(http, request, self._answer_by_target, identity, links)
        check_params(request.params)
        route, request.path_params = self.routes.match(request.method, request.path)
        self._count(route.find_limit(request), identity, held)
        if route.answer is not None:
            response = await self._answer_whole(http, request, route.answer, identity, links)
        else:
            response = await self._answer_from_body(http, request, route, identity, links)
        return select_fields(response, request.params)

    def _has_own_route(self, request: Request) -> bool:
        """Whether the first segment of the path is one of the surface's own."""
        return request.path.strip("/").split("/", 1)[0] in self._own_segments

    @cached_property
    def _own_segments(self) -> frozenset[str]:
        return frozenset(template.split("/")[1] for _, template, _ in self.routes.routes)

    def _count(self, counted_as: CountedAs, identity: Identity, held: ExitStack) -> None:
        if counted_as is CountedAs.EVENT_STREAM:
            held.enter_context(self.event_streams.one(identity.api_key_id))
        elif counted_as is CountedAs.REQUEST:
            held.enter_context(self.connections.one(identity.api_key_id))

    async def _answer_whole(
        self, http: HttpRequest, request: Request, answer: Answer, identity: Identity, links: Links
    ) -> Response:
        limits = self.surface.limits
        with _limited(limits.request_seconds_max):
            if request.method not in _BODILESS:
                request.body = await _body(http, limits.call_body_bytes_max)
            return await in_thread(partial(answer, request, identity, links))

    async def _answer_from_body(
        self, http: HttpRequest, request: Request, route: Route, identity: Identity, links: Links
    ) -> Response:
        assert route.answer_from_body is not None
        limits = self.surface.limits
        _check_length(http, limits.request_body_bytes_max)
        with _limited(limits.batch_request_seconds_max):
            return await route.answer_from_body(request, identity, links, http.stream())

    def _begin(self, http: HttpRequest) -> tuple[Request, Identity]:
        """All of a request but its body, and who it comes from."""
        params = dict(http.query_params)
        method = _method(http)
        authorization = http.headers.get("authorization")
        identity = self.surface.authenticate(authorization, method, params)
        params.pop("apikey", None)
        headers = {name: http.headers[name] for name in _HEADERS if name in http.headers}
        path = _path(http, self.surface.prefix)
        return Request(method, path, params, headers=headers), identity

    def _answer_by_target(self, request: Request, identity: Identity, links: Links) -> Response:
        caller = Caller(identity.account.id, identity.account.name, self.clock(), links)
        answer = self.surface.targets.find(request.path).target.answer_single(caller, request)
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


def _path(http: HttpRequest, prefix: str) -> str:
    """The path below the prefix, still percent-encoded: a `%2F` in an id separates nothing."""
    raw: bytes = http.scope.get("raw_path") or http.scope["path"].encode()
    path = raw.split(b"?", 1)[0].decode("latin-1")
    return path.removeprefix(quote(find_root_path(http.scope))).removeprefix(prefix) or "/"


def _reply(response: Response, called: str, base: str) -> HttpResponse:
    headers: dict[str, str] = {"X-Request-Id": called}
    is_problem = isinstance(response.body, Problem)
    if is_problem:
        schema = f"{base}{SCHEMA_PREFIX}/Definitions/ProblemDetailDocument.json"
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
