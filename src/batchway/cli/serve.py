"""`batchway serve`: the API and its workers as one process tree."""

import os
import socket
from pathlib import Path
from typing import Annotated

import structlog
import typer
import uvicorn
from sqlalchemy.exc import SQLAlchemyError

from batchway import __version__
from batchway.app import migrate_all, open_app, open_database
from batchway.cli.operator import (
    description,
    ensure_key,
    load_settings,
    parent_fd,
    variables,
)
from batchway.errors import DataFolderInUse, SettingsError
from batchway.kit.memory import calm_collector, use_one_heap
from batchway.kit.processes import Locked, die_with_parent, lock
from batchway.settings import Settings, prepare_data_folder
from batchway.store import leases, migrate
from batchway.store.database import Database
from batchway.supervisor import (
    PARENT_VARIABLE,
    SOCKET_VARIABLE,
    Child,
    Supervisor,
    api_child,
    worker_child,
)

log = structlog.get_logger(__name__)

_LOCK_FILE = "batchway.lock"
_BACKLOG = 2048
_NEW_OBJECTS = 10_000  # before the collector looks; it took a fifth of the time of a large POST

_EPILOG = """
Examples:

  batchway serve

  batchway serve --port 9000 --data-dir /srv/batchway --workers 2

  batchway serve --database-url postgresql://batchway@db/batchway --public-url https://batch.example.com
"""


def register(app: typer.Typer) -> None:
    """Add the command, and the one that `serve` starts for itself."""
    app.command(epilog=_EPILOG)(serve)
    app.command(hidden=True)(api)


def serve(
    *,
    host: Annotated[
        str | None, typer.Option(envvar="BATCHWAY_HOST", help=description("host"))
    ] = None,
    port: Annotated[
        int | None, typer.Option(envvar="BATCHWAY_PORT", help=description("port"))
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(envvar="BATCHWAY_DATA_DIR", help=description("data_dir"))
    ] = None,
    workers: Annotated[
        int | None, typer.Option(envvar="BATCHWAY_WORKERS", help=description("workers"))
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(envvar="BATCHWAY_DATABASE_URL", help=description("database_url")),
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="BATCHWAY_API_KEY", help=description("api_key"))
    ] = None,
    public_url: Annotated[
        str | None, typer.Option(envvar="BATCHWAY_PUBLIC_URL", help=description("public_url"))
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(envvar="BATCHWAY_LOG_LEVEL", help=description("log_level"))
    ] = None,
) -> None:
    """Start the API and its workers.

    Without any key yet an account and a key are made, and the key is printed once.
    SIGTERM and Ctrl-C finish what is in hand, give back the rest and exit with 0.
    """
    settings = load_settings(
        host=host,
        port=port,
        data_dir=data_dir,
        workers=workers,
        database_url=database_url,
        api_key=api_key,
        public_url=public_url,
        log_level=log_level,
    )
    settings.secret_keys()
    _check_public_url(settings)
    _hold_data_folder(settings)
    listener = _listen(settings)
    database = _prepare(settings)
    wanted = settings.api_key.get_secret_value() if settings.api_key else None
    _greet(settings, listener, ensure_key(database, wanted))
    Supervisor(_children(settings, listener, database)).run()
    database.close()


def api() -> None:
    """Answer HTTP on the socket that `serve` holds."""
    use_one_heap()
    settings = load_settings()
    parent, descriptor = parent_fd(PARENT_VARIABLE), parent_fd(SOCKET_VARIABLE)
    if parent is None or descriptor is None:
        message = "This command is started by `batchway serve`. Run that instead."
        raise SettingsError(message)
    die_with_parent(parent)
    app = open_app(settings)
    config = uvicorn.Config(
        app.asgi(), log_config=None, access_log=False, server_header=False, timeout_keep_alive=75
    )
    config.load()
    calm_collector(_NEW_OBJECTS)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])
    app.close()


def _check_public_url(settings: Settings) -> None:
    """Elsewhere than on this machine, a Host header is not to be believed."""
    is_loopback = settings.host in {"127.0.0.1", "::1", "localhost"}
    if not is_loopback and not settings.public_url:
        message = (
            f"BATCHWAY_PUBLIC_URL is missing. Listening on {settings.host}, links cannot be made "
            "from what clients send; say how they reach this server, such as "
            "https://batch.example.com"
        )
        raise SettingsError(message)


def _hold_data_folder(settings: Settings) -> None:
    if not settings.is_embedded:
        return
    prepare_data_folder(settings.data_dir)
    try:
        lock(settings.data_dir / _LOCK_FILE)
    except Locked as locked:
        message = (
            f"The data folder {settings.data_dir} is in use by process {locked.pid}. Stop that "
            "one first, or choose another folder with --data-dir."
        )
        raise DataFolderInUse(message) from None


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        message = (
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}. Choose another "
            "port with --port (0 takes a free one)."
        )
        raise SettingsError(message) from None
    listener.listen(_BACKLOG)
    return listener


def _prepare(settings: Settings) -> Database:
    if settings.is_embedded:
        migrate_all(settings)
    database = open_database(settings)
    migrate.check(database)
    if settings.is_embedded:
        with database.write() as connection:
            leases.release_all(connection)  # our children are dead; who is not renews its own
    return database


def _children(settings: Settings, listener: socket.socket, database: Database) -> list[Child]:
    # Nothing is ever written: the pipe closes when this process ends, however it ends.
    parent, _kept_open = os.pipe()
    passed_on = variables(settings)

    def end_lease(name: str) -> None:
        try:
            with database.write() as connection:
                leases.release(connection, name)
        except SQLAlchemyError as error:  # then it runs out by itself
            log.warning("lease_not_ended", child=name, reason=str(error))

    workers = [worker_child(parent, passed_on, end_lease) for _ in range(settings.workers)]
    return [api_child(listener, parent, passed_on), *workers]


def _greet(settings: Settings, listener: socket.socket, new_key: str | None) -> None:
    host, port = listener.getsockname()[:2]
    url = settings.public_url or f"http://{f'[{host}]' if ':' in host else host}:{port}"
    typer.echo(f"Batchway {__version__} listens at {url}/3.0")
    if settings.is_embedded:
        typer.echo(f"  data folder  {settings.data_dir}")
    if new_key:
        typer.echo(f"  API key      {new_key}   (shown this once: keep it)")
    key = new_key or "YOUR_API_KEY"
    typer.echo(f"  try          curl --user any:{key} {url}/3.0/ping")
