"""The endpoint of the surface: reads, authenticates and answers HTTP requests.

This is the only module of the surface that knows HTTP. The routes of the surface answer its own
calls, and the targets answer all others.
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
from batchway.contract.response import Response, build_error_response, encode_body
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
from batchway.surfaces.concurrency_limit import ConcurrencyLimit
from batchway.surfaces.mailchimp.refusals import find_problem
from batchway.surfaces.mailchimp.route import Answer, CountedAs, Route
from batchway.surfaces.threads import run_in_thread

log = structlog.get_logger(__name__)

_JSON = "application/json; charset=utf-8"
_PROBLEM = "application/problem+json; charset=utf-8"
_METHODS_WITHOUT_BODY = ("GET", "DELETE")  # the web server drops a body that is not read
_OVERRIDES = ("PUT", "PATCH", "DELETE")
_HEADERS = ("accept", "content-encoding", "content-type", "idempotency-key")


@dataclass(frozen=True)
class MailchimpEndpoint:
    """Answers every request below the prefix of the surface."""

    surface: Surface
    routes: RouteTable[Route]
    clock: Clock
    connections: ConcurrencyLimit
    event_streams: ConcurrencyLimit

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request. No request of a client makes this raise."""
        http = HttpRequest(scope, receive)
        request_id = new_request_id()
        with ExitStack() as slots:  # held until the last byte is sent
            try:
                response = await self._answer(http, slots)
            except Refused as refused:
                response = build_error_response(refused)
            except Refusal as refused_by_core:
                response = build_error_response(find_problem(refused_by_core))
            except ArchiveMissing:  # most likely, the batch was deleted while its results were read
                log.warning("archive_missing", request=request_id, path=http.url.path)
                response = build_error_response(not_found())
            except DatabaseBusy as busy:
                log.warning(
                    "database_busy", request=request_id, path=http.url.path, reason=str(busy)
                )
                response = build_error_response(database_busy())
            except ClientDisconnect:
                return  # the client does not wait for an answer
            except Exception:
                log_exception(log, "request_failed", request=request_id, path=http.url.path)
                response = build_error_response(internal_error())
            reply = _build_reply(response, request_id, find_base_url(http, self.surface.public_url))
            await reply(scope, receive, send)

    async def _answer(self, http: HttpRequest, slots: ExitStack) -> Response:
        request, identity = await run_in_thread(partial(self._read_request, http))
        links = Links(find_base_url(http, self.surface.public_url))
        if not self._has_own_route(request):
            slots.enter_context(self.connections.hold_slot(identity.api_key_id))
            return await self._answer_in_thread(
                http, request, self._answer_by_target, identity, links
            )
        check_params(request.params)
        route, request.path_params = self.routes.match(request.method, request.path)
        self._hold_slot(route.find_limit(request), identity, slots)
        if route.answer is not None:
            response = await self._answer_in_thread(http, request, route.answer, identity, links)
        else:
            response = await self._answer_from_stream(http, request, route, identity, links)
        return select_fields(response, request.params)

    def _has_own_route(self, request: Request) -> bool:
        """Whether the first segment of the path is one of the surface's own."""
        return request.path.strip("/").split("/", 1)[0] in self._own_segments

    @cached_property
    def _own_segments(self) -> frozenset[str]:
        return frozenset(template.split("/")[1] for _, template, _ in self.routes.routes)

    def _hold_slot(self, counted_as: CountedAs, identity: Identity, slots: ExitStack) -> None:
        if counted_as is CountedAs.EVENT_STREAM:
            slots.enter_context(self.event_streams.hold_slot(identity.api_key_id))
        elif counted_as is CountedAs.REQUEST:
            slots.enter_context(self.connections.hold_slot(identity.api_key_id))

    async def _answer_in_thread(
        self, http: HttpRequest, request: Request, answer: Answer, identity: Identity, links: Links
    ) -> Response:
        limits = self.surface.limits
        with _limit_time(limits.request_seconds_max):
            if request.method not in _METHODS_WITHOUT_BODY:
                request.body = await _read_body(http, limits.call_body_bytes_max)
            return await run_in_thread(partial(answer, request, identity, links))

    async def _answer_from_stream(
        self, http: HttpRequest, request: Request, route: Route, identity: Identity, links: Links
    ) -> Response:
        assert route.answer_from_stream is not None
        limits = self.surface.limits
        _check_length(http, limits.request_body_bytes_max)
        with _limit_time(limits.batch_request_seconds_max):
            return await route.answer_from_stream(request, identity, links, http.stream())

    def _read_request(self, http: HttpRequest) -> tuple[Request, Identity]:
        """Return a request without its body, and the identity of its sender."""
        params = dict(http.query_params)
        method = _read_method(http)
        authorization = http.headers.get("authorization")
        identity = self.surface.authenticate(authorization, method, params)
        params.pop("apikey", None)
        headers = {name: http.headers[name] for name in _HEADERS if name in http.headers}
        path = _read_path(http, self.surface.prefix)
        return Request(method, path, params, headers=headers), identity

    def _answer_by_target(self, request: Request, identity: Identity, links: Links) -> Response:
        caller = Caller(identity.account.id, identity.account.name, self.clock(), links)
        answer = self.surface.targets.find(request.path).target.answer_single(caller, request)
        if isinstance(answer, NoAnswer):
            raise explain_no_answer(answer)
        return answer


@contextmanager
def _limit_time(seconds: float) -> Iterator[None]:
    """Raise a 504 if the block takes longer. A TimeoutError of the block itself is passed on."""
    with move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise request_timeout(seconds)


async def _read_body(http: HttpRequest, most: int) -> bytes:
    """Return the complete body. Raises a 413 as soon as it is known to be too large."""
    _check_length(http, most)
    inflater = Inflater(http.headers.get("content-encoding"), most)
    body = b"".join([piece async for piece in _inflate(http.stream(), inflater)])
    inflater.finish()
    return body


def _check_length(http: HttpRequest, most: int) -> None:
    """Refuse a body whose declared length is too large, before it is sent."""
    declared = http.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > most:
        detail = f"This request's body may have {most} bytes. Send it in several requests."
        raise too_large(detail)


async def _inflate(stream: AsyncIterator[bytes], inflater: Inflater) -> AsyncIterator[bytes]:
    async for data in stream:
        for piece in inflater.feed(data):
            yield piece


def _read_method(http: HttpRequest) -> str:
    override = http.headers.get("x-http-method-override")
    if override is None:
        return "GET" if http.method == "HEAD" else http.method
    if http.method != "POST" or override.upper() not in _OVERRIDES:
        raise invalid_method_override()
    return override.upper()


def _read_path(http: HttpRequest, prefix: str) -> str:
    """Return the path below the prefix, percent-encoded, because an id may contain `%2F`."""
    raw: bytes = http.scope.get("raw_path") or http.scope["path"].encode()
    path = raw.split(b"?", 1)[0].decode("latin-1")
    return path.removeprefix(quote(find_root_path(http.scope))).removeprefix(prefix) or "/"


def _build_reply(response: Response, request_id: str, base: str) -> HttpResponse:
    headers: dict[str, str] = {"X-Request-Id": request_id}
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
        content=encode_body(response, request_id),
        status_code=response.status,
        headers=headers,
        media_type=_PROBLEM if is_problem else _JSON,
    )
