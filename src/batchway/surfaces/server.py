"""The ASGI application: which path is answered by what."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from batchway.surfaces.documentation import Documentation
from batchway.surfaces.health import Health
from batchway.surfaces.mailchimp.calls import PREFIX, Calls
from batchway.surfaces.result_downloads import ResultDownloads


@dataclass(frozen=True)
class _Endpoint:
    """An endpoint for every method, even one that nobody has heard of: it gets a problem, too."""

    answer: Callable[[Scope, Receive, Send], Awaitable[None]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.answer(scope, receive, send)


class _EveryPath(Convertor[str]):
    """Any path at all: that of Starlette ends at a newline, and `%0A` is one."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("every", _EveryPath())


def asgi_app(
    calls: Calls, results: ResultDownloads, health: Health, documentation: Documentation
) -> Starlette:
    """Everything that is served over HTTP."""
    answer = _Endpoint(calls.answer)
    return Starlette(
        routes=[
            Route("/healthz", health.get, methods=["GET"]),
            Route("/openapi.json", documentation.openapi, methods=["GET"]),
            Route("/docs", documentation.docs, methods=["GET"]),
            Route("/results/{batch_id:str}-response.tar.gz", _Endpoint(results.answer)),
            Route(PREFIX, answer),
            Route(PREFIX + "/{path:every}", answer),
        ]
    )
