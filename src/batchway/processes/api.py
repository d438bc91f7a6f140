"""The process that answers HTTP, on the socket that `serve` holds."""

import socket

import uvicorn
from starlette.applications import Starlette

from batchway.app import open_app
from batchway.kit.memory import tune_garbage_collector
from batchway.limits import Limits
from batchway.processes.bounded_http import HttpConfig
from batchway.settings import Settings

_NEW_OBJECTS = 10_000  # before the collector looks; it took a fifth of the time of a large POST
_KEEP_ALIVE_SECONDS = 75


def run_api(settings: Settings, listener: socket.socket) -> None:
    """Answer HTTP until SIGTERM or SIGINT."""
    app = open_app(settings)
    _answer(app.asgi(), app.parts.limits, listener)
    app.close()


def _answer(asgi: Starlette, in_force: Limits, listener: socket.socket) -> None:
    config = HttpConfig(
        asgi,
        in_force,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # a stranger could send `X-Forwarded-*` as well
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )
    config.load()
    tune_garbage_collector(_NEW_OBJECTS)
    uvicorn.Server(config).run(sockets=[listener])
