"""The ASGI application: which path is answered by what."""

from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from batchway.api.calls import PREFIX, Calls
from batchway.api.health import Health
from batchway.api.results import Results


@dataclass(frozen=True)
class _AnyMethod:
    """An endpoint for every method, even one that nobody has heard of: it gets a problem, too."""

    calls: Calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self.calls.answer(HttpRequest(scope, receive))
        await response(scope, receive, send)


def asgi_app(calls: Calls, results: Results, health: Health) -> Starlette:
    """Everything that is served over HTTP."""
    answer = _AnyMethod(calls)
    return Starlette(
        routes=[
            Route("/healthz", health.get, methods=["GET"]),
            Route("/results/{batch_id:str}-response.tar.gz", results.get, methods=["GET"]),
            Route(PREFIX, answer),
            Route(PREFIX + "/{path:path}", answer),
        ]
    )
