"""The ASGI application: the paths and what answers them."""

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
    """An endpoint for every method. Starlette's own answer to an unknown one is no problem."""

    answer: Callable[[Scope, Receive, Send], Awaitable[None]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.answer(scope, receive, send)


@dataclass(frozen=True)
class SurfaceRoute(BaseRoute):
    """Matches every path below a prefix, with any method.

    Starlette's path patterns do not match a newline, which `%0A` in a path stands for.
    """

    prefix: str
    answer: Callable[[Scope, Receive, Send], Awaitable[None]]

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the prefix, and every path that begins with the prefix and a slash."""
        path = scope["path"].removeprefix(find_root_path(scope))
        is_below = path == self.prefix or path.startswith(f"{self.prefix}/")
        is_ours = scope["type"] == "http" and is_below
        return (Match.FULL if is_ours else Match.NONE), {}

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:  # noqa: ANN401 - as above
        """Raise NoMatchFound, because no URL is built from the name of this route."""
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
    """Return the application with everything that is served. It can be mounted at any path."""
    return Starlette(
        routes=[
            Route("/healthz", health.get, methods=["GET"]),
            Route("/openapi.json", documentation.openapi, methods=["GET"]),
            Route("/docs", documentation.docs, methods=["GET"]),
            Route("/results/{batch_id:str}-response.tar.gz", _AnyMethod(results.answer)),
            *(SurfaceRoute(each.surface.prefix, each.answer) for each in surfaces),
        ]
    )
