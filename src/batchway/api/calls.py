"""`/3.0/…` over HTTP: read a request, find out who asks, answer it, write the reply.

The only place where a call becomes HTTP. Batches are answered here, all else by the target.
"""

from dataclasses import dataclass

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse

from batchway import limits
from batchway.api.auth import authenticate
from batchway.api.batches import BatchCalls
from batchway.contract.fields import check_params, select_fields
from batchway.contract.links import Links
from batchway.contract.problems import (
    Problem,
    Refused,
    internal_error,
    invalid_method_override,
    too_large,
)
from batchway.contract.request import Caller, Request
from batchway.contract.response import Response, encode_body, refusal
from batchway.kit.clock import Clock
from batchway.kit.ids import request_id
from batchway.model.account import Identity
from batchway.store.database import Database
from batchway.targets.base import Target

log = structlog.get_logger(__name__)

PREFIX = "/3.0"
_JSON = "application/json; charset=utf-8"
_PROBLEM = "application/problem+json; charset=utf-8"
_OVERRIDES = ("PUT", "PATCH", "DELETE")
_OWN = "batches"


@dataclass(frozen=True)
class Calls:
    """Answers every call under /3.0."""

    database: Database
    target: Target
    batch_calls: BatchCalls
    clock: Clock
    public_url: str

    async def answer(self, http: HttpRequest) -> HttpResponse:
        """Answer one HTTP request; never raises for what a client can do."""
        called = request_id()
        try:
            request, identity = await run_in_threadpool(self._begin, http)
            request.body = await _body(http)  # a large one is read for those who have a key
            links = Links(base_url(http, self.public_url))
            response = await run_in_threadpool(self._answer, request, identity, links)
        except Refused as refused:
            response = refusal(refused)
        except ClientDisconnect:
            response = Response(400)  # nobody is there to read it
        except Exception:
            log.exception("request_failed", request=called, path=http.url.path)
            response = refusal(internal_error())
        return _reply(response, called, base_url(http, self.public_url))

    def _begin(self, http: HttpRequest) -> tuple[Request, Identity]:
        """All of a request but its body, and who it comes from."""
        params = dict(http.query_params)
        method = _method(http)
        identity = authenticate(self.database, http.headers.get("authorization"), method, params)
        params.pop("apikey", None)
        return Request(method, _path(http), params), identity

    def _answer(self, request: Request, identity: Identity, links: Links) -> Response:
        if request.path.strip("/").split("/", 1)[0] == _OWN:
            return self._answer_own(request, identity, links)
        caller = Caller(identity.account.id, identity.account.name, self.clock(), links)
        return self.target.answer_single(caller, request)

    def _answer_own(self, request: Request, identity: Identity, links: Links) -> Response:
        check_params(request.params)
        answer, request.path_params = self.batch_calls.routes.match(request.method, request.path)
        return select_fields(answer(request, identity, links), request.params)


def base_url(http: HttpRequest, public_url: str) -> str:
    """What links begin with: the setting, or else the address that the client used."""
    return public_url or f"{http.url.scheme}://{http.url.netloc}"


async def _body(http: HttpRequest) -> bytes:
    """The whole body; raises 413 as soon as it is known to be too large."""
    most = limits.request_body_bytes_max
    declared = http.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > most:
        raise too_large(_TOO_LARGE)
    parts, size = [], 0
    async for part in http.stream():
        size += len(part)
        if size > most:
            raise too_large(_TOO_LARGE)
        parts.append(part)
    return b"".join(parts)


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
    return HttpResponse(
        content=encode_body(response, called),
        status_code=response.status,
        headers=headers,
        media_type=_PROBLEM if is_problem else _JSON,
    )


_TOO_LARGE = (
    f"The body of a request may have {limits.request_body_bytes_max} bytes. Send the operations "
    "in several batches."
)
