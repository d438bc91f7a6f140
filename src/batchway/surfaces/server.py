"""The ASGI application: which path is answered by what."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import URLPath
from starlette.routing import BaseRoute, Match, NoMatchFound, Route
from starlette.types import Receive, Scope, Send

from batchway.surfaces.base import SurfaceEndpoint, find_root_path
from batchway.surfaces.documentation import Documentation
from batchway.surfaces.health import Health
from batchway.surfaces.result_downloads import ResultDownloads


@dataclass(frozen=True)
class _AnyMethod:
    """An endpoint for every method: Starlette would answer an unknown one without a problem."""

    answer: Callable[[Scope, Receive, Send], Awaitable[None]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.answer(scope, receive, send)


@dataclass(frozen=True)
class SurfaceRoute(BaseRoute):
    """Every path below a prefix, with any method.

    Starlette's own path patterns end at a newline, and `%0A` in a path is one.
    """

    prefix: str
    answer: Callable[[Scope, Receive, Send], Awaitable[None]]

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the prefix itself and all that follows a slash behind it."""
        path = scope["path"].removeprefix(find_root_path(scope))
        is_below = path == self.prefix or path.startswith(f"{self.prefix}/")
        is_ours = scope["type"] == "http" and is_below
        return (Match.FULL if is_ours else Match.NONE), {}

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:  # noqa: ANN401 - as above
        """Name no path: nothing of ours asks for one."""
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        await self.answer(scope, receive, send)


def make_asgi_app(
    surfaces: Sequence[SurfaceEndpoint],
    results: ResultDownloads,
    health: Health,
    documentation: Documentation,
) -> Starlette:
    """Return everything that is served over HTTP; it can be mounted at any path."""
    return Starlette(
        routes=[
            Route("/healthz", health.get, methods=["GET"]),
            Route("/openapi.json", documentation.openapi, methods=["GET"]),
            Route("/docs", documentation.docs, methods=["GET"]),
            Route("/results/{batch_id:str}-response.tar.gz", _AnyMethod(results.answer)),
            *(SurfaceRoute(each.surface.prefix, each.answer) for each in surfaces),
        ]
    )
