"""`batchway api`: the process that answers HTTP. `serve` starts it."""

import socket

import typer
import uvicorn
from starlette.applications import Starlette

from batchway.app import open_app
from batchway.cli.operator_options import start_process
from batchway.errors import SettingsError
from batchway.kit.memory import calm_collector, use_one_heap
from batchway.supervisor import follow_supervisor, inherited_socket

_NEW_OBJECTS = 10_000  # before the collector looks; it took a fifth of the time of a large POST
_KEEP_ALIVE_SECONDS = 75


def register(app: typer.Typer) -> None:
    """Add the command, which no help shows."""
    app.command("api", hidden=True)(api_command)


def api_command() -> None:
    """Answer HTTP on the socket that `serve` holds."""
    use_one_heap()
    settings = start_process()
    listener = inherited_socket()
    if listener is None:
        message = "`batchway serve` starts this command. Run `batchway serve` instead."
        raise SettingsError(message)
    follow_supervisor()
    app = open_app(settings)
    _answer(app.asgi(), listener)
    app.close()


def _answer(asgi: Starlette, listener: socket.socket) -> None:
    config = uvicorn.Config(
        asgi,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )
    config.load()
    calm_collector(_NEW_OBJECTS)
    uvicorn.Server(config).run(sockets=[listener])
