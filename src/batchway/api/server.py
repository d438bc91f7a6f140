"""The ASGI application: which path is answered by what."""

from starlette.applications import Starlette
from starlette.routing import Route

from batchway.api.calls import PREFIX, Calls
from batchway.api.health import Health
from batchway.api.results import Results

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def asgi_app(calls: Calls, results: Results, health: Health) -> Starlette:
    """Everything that is served over HTTP."""
    return Starlette(
        routes=[
            Route("/healthz", health.get, methods=["GET"]),
            Route("/results/{batch_id:str}-response.tar.gz", results.get, methods=["GET"]),
            Route(PREFIX, calls.answer, methods=_METHODS),
            Route(PREFIX + "/{path:path}", calls.answer, methods=_METHODS),
        ]
    )
