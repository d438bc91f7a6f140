"""The endpoint of the surface: reads, authenticates and answers HTTP requests.

This is the only module of the surface that knows HTTP. The routes of the surface answer its own
calls, and the targets answer all others.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple
from urllib.parse import quote

import structlog
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from batchway import limits
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
from batchway.model.account import Account, Identity
from batchway.model.result import NoAnswer
from batchway.surfaces.base import Surface, find_base_url, find_root_path
from batchway.surfaces.concurrency_limit import ConcurrencyLimit
from batchway.surfaces.gathering import Gatherer
from batchway.surfaces.mailchimp.refusals import find_problem
from batchway.surfaces.mailchimp.route import Answer, CountedAs, Route
from batchway.surfaces.threads import run_in_thread
from batchway.targets.table import Mount

log = structlog.get_logger(__name__)

_JSON = "application/json; charset=utf-8"
_PROBLEM = "application/problem+json; charset=utf-8"
_METHODS_WITHOUT_BODY = ("GET", "DELETE")  # the web server drops a body that is not read
_OVERRIDES = ("PUT", "PATCH", "DELETE")
_HEADERS = (b"accept", b"content-encoding", b"content-type", b"idempotency-key")


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
        request = _read_request(http, self.surface.prefix)
        identity = await self._identify(http, request)
        links = Links(find_base_url(http, self.surface.public_url))
        if not self._has_own_route(request):
            slots.enter_context(self.connections.hold_slot(identity.api_key_id))
            return await self._answer_by_target(http, request, identity, links)
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

    async def _identify(self, http: HttpRequest, request: Request) -> Identity:
        """Return who sends a request; afterwards its parameters no longer contain the key."""
        authenticator = self.surface.authenticator
        credentials = (http.headers.get("authorization"), request.method, request.params)
        identity = authenticator.recall(*credentials)
        if identity is None:
            identity = await run_in_thread(partial(authenticator.authenticate, *credentials))
        if "apikey" in request.params:
            request.params = {k: v for k, v in request.params.items() if k != "apikey"}
        return (
            identity if http.client is None else replace(identity, client_address=http.client.host)
        )

    async def _answer_in_thread(
        self, http: HttpRequest, request: Request, answer: Answer, identity: Identity, links: Links
    ) -> Response:
        limits = self.surface.limits
        async with _limit_time(limits.request_seconds_max):
            await _read_body_into(request, http, limits.call_body_bytes_max)
            return await run_in_thread(partial(answer, request, identity, links))

    async def _answer_from_stream(
        self, http: HttpRequest, request: Request, route: Route, identity: Identity, links: Links
    ) -> Response:
        assert route.answer_from_stream is not None
        limits = self.surface.limits
        _check_length(http, limits.request_body_bytes_max)
        async with _limit_time(limits.batch_request_seconds_max):
            return await route.answer_from_stream(request, identity, links, http.stream())

    async def _answer_by_target(
        self, http: HttpRequest, request: Request, identity: Identity, links: Links
    ) -> Response:
        """Let the target of the path answer, if possible together with other calls that wait."""
        limits = self.surface.limits
        async with _limit_time(limits.request_seconds_max):
            await _read_body_into(request, http, limits.call_body_bytes_max)
            mount = self.surface.targets.find(request.path)
            key = _CallSet(
                mount,
                identity.account,
                identity.client_address,
                links,
                mount.target.find_set(request),
            )
            if key.name is None:
                [answer] = await run_in_thread(partial(self._answer_set, key, [request]))
            else:
                answer = await self._gatherer.answer(key, request)
        if isinstance(answer, NoAnswer):
            raise explain_no_answer(answer)
        return answer

    @cached_property
    def _gatherer(self) -> "Gatherer[_CallSet, Request, Response | NoAnswer]":
        return Gatherer(self._answer_set, limits.gathered_calls_max)

    def _answer_set(
        self, key: "_CallSet", requests: Sequence[Request]
    ) -> Sequence[Response | NoAnswer]:
        target, account = key.mount.target, key.account
        caller = Caller(account.id, account.name, self.clock(), key.links, key.client_address)
        if key.name is None:
            return [target.answer_single(caller, request) for request in requests]
        return target.answer_set(caller, requests)


class _CallSet(NamedTuple):
    """What single calls that are answered together have in common."""

    mount: Mount
    account: Account
    client_address: str
    links: Links
    name: str | None  # by `Target.find_set`


@asynccontextmanager
async def _limit_time(seconds: float) -> AsyncIterator[None]:
    """Raise a 504 if the block takes longer. A TimeoutError of the block itself is passed on."""
    time_limit = asyncio.timeout(seconds)
    try:
        async with time_limit:
            yield
    except TimeoutError:
        if not time_limit.expired():
            raise
        raise request_timeout(seconds) from None


async def _read_body_into(request: Request, http: HttpRequest, most: int) -> None:
    if request.method not in _METHODS_WITHOUT_BODY:
        request.body = await _read_body(http, most)


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


def _read_request(http: HttpRequest, prefix: str) -> Request:
    """Return a request without its body."""
    headers = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in reversed(http.scope["headers"])  # the first one of a name counts
        if name in _HEADERS
    }
    path = _read_path(http, prefix)
    params = dict(http.query_params) if http.scope["query_string"] else {}
    return Request(_read_method(http), path, params, headers=headers)


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
