"""`batchway serve`: the API and its workers as one process tree.

This process imports everything once and forks the others. It opens no database itself: what it
needs from one is done by forks that end at once.
"""

import socket
from contextlib import closing
from functools import partial
from typing import Annotated

import structlog
import typer
from sqlalchemy.exc import SQLAlchemyError

from batchway import __version__
from batchway.cli.api_keys import ensure_key
from batchway.cli.commands import add_command
from batchway.cli.operator_options import (
    DatabaseUrlOption,
    DataDirOption,
    LogLevelOption,
    setting_option,
    start_process,
)
from batchway.cli.terminal import exit_on_error
from batchway.database_setup import check_database, migrate_database, prepare_installation
from batchway.errors import DataFolderInUse, SettingsError
from batchway.kit.forks import Forks
from batchway.kit.memory import freeze_objects, use_one_heap
from batchway.kit.processes import Locked, lock
from batchway.processes.api import run_api
from batchway.processes.supervisor import Child, Supervisor
from batchway.processes.worker import run_worker
from batchway.settings import Settings, prepare_data_folder
from batchway.store import leases
from batchway.store.database import Database

log = structlog.get_logger(__name__)

_LOCK_FILE = "batchway.lock"
_BACKLOG = 2048


def register(app: typer.Typer) -> None:
    """Add `batchway serve`."""
    add_command(
        app,
        "serve",
        serve_command,
        "batchway serve",
        "batchway serve --port 9000 --data-dir /srv/batchway --workers 2",
        "batchway serve --database-url postgresql://batchway@db/batchway "
        "--public-url https://batch.example.com",
    )


def serve_command(
    *,
    host: Annotated[str | None, setting_option("host")] = None,
    port: Annotated[int | None, setting_option("port")] = None,
    data_dir: DataDirOption = None,
    workers: Annotated[int | None, setting_option("workers")] = None,
    database_url: DatabaseUrlOption = None,
    api_key: Annotated[str | None, setting_option("api_key")] = None,
    public_url: Annotated[str | None, setting_option("public_url")] = None,
    log_level: LogLevelOption = None,
) -> None:
    """Start the API and its workers.

    The first start creates an account and an API key, and prints the key once. On SIGTERM or
    Ctrl-C current steps finish, queued steps return to the queue, and the command exits with 0.
    """
    use_one_heap()
    settings = start_process(
        host=host,
        port=port,
        data_dir=data_dir,
        workers=workers,
        database_url=database_url,
        api_key=api_key,
        public_url=public_url,
        log_level=log_level,
    )
    settings.get_secret_keys()
    _check_public_url(settings)
    data_folder = _lock_data_folder(settings)
    listener = _listen(settings)
    # The children make links from the address, so they must know the port that was really taken.
    settings = settings.model_copy(update={"port": listener.getsockname()[1]})
    freeze_objects()
    forks = Forks(data_folder)
    _prepare_in_fork(settings, forks)
    Supervisor(_plan_children(settings, forks, listener)).run()


def _check_public_url(settings: Settings) -> None:
    """A Host header can be trusted only if all clients are on this machine."""
    is_loopback = settings.host in {"127.0.0.1", "::1", "localhost"}
    if not is_loopback and not settings.public_url:
        message = (
            f"BATCHWAY_PUBLIC_URL is missing. A server that listens on {settings.host} cannot "
            "build links from the Host header that a client sends. Set it to the address under "
            "which clients reach this server, such as https://batch.example.com"
        )
        raise SettingsError(message)


def _lock_data_folder(settings: Settings) -> list[int]:
    """Lock an embedded server's data folder; the descriptor of the lock."""
    if not settings.is_embedded:
        return []
    prepare_data_folder(settings.data_dir)
    try:
        return [lock(settings.data_dir / _LOCK_FILE)]
    except Locked as locked:
        message = (
            f"The data folder {settings.data_dir} is in use by process {locked.pid}. Stop that "
            "process, or choose another folder with --data-dir."
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
            "port with --port; 0 selects a free one."
        )
        raise SettingsError(message) from None
    listener.listen(_BACKLOG)
    return listener


def _prepare_in_fork(settings: Settings, forks: Forks) -> None:
    """Prepare the database and print the greeting; exit with 1 if that fails."""
    preparation = forks.start("batchway preparation", partial(_prepare, settings))
    preparation.join()
    if preparation.exitcode:
        raise typer.Exit(1)  # it has printed why


def _prepare(settings: Settings) -> None:
    """Prepare the database, join the installation, and print the greeting."""
    with exit_on_error():
        if settings.is_embedded:
            migrate_database(settings)
        check_database(settings)
        prepare_installation(settings)
        _print_greeting(settings, _take_over(settings))


def _take_over(settings: Settings) -> str | None:
    """End the leases of an earlier run, and ensure that there is a key; return it if it is new."""
    with closing(Database(settings.database_in_use)) as database:
        if settings.is_embedded:
            # The lock proves that our children are dead. Other workers renew their own leases.
            with database.write() as connection:
                leases.release_all(connection)
        wanted = settings.api_key
        return ensure_key(database, wanted.get_secret_value() if wanted else None)


def _plan_children(settings: Settings, forks: Forks, listener: socket.socket) -> list[Child]:
    def answer(_name: str) -> None:
        with exit_on_error():
            run_api(settings, listener)

    def work(name: str) -> None:
        listener.close()
        with exit_on_error():
            run_worker(settings, name)

    workers = [
        Child("worker", forks, work, partial(_end_lease, settings)) for _ in range(settings.workers)
    ]
    return [Child("api", forks, answer), *workers]


def _end_lease(settings: Settings, name: str) -> None:
    try:
        with (
            closing(Database(settings.database_in_use)) as database,
            database.write() as connection,
        ):
            leases.release(connection, name)
    except SQLAlchemyError as error:  # then the lease expires by itself
        log.warning("lease_not_ended", child=name, reason=str(error))


def _print_greeting(settings: Settings, new_key: str | None) -> None:
    url = settings.base_url
    typer.echo(f"Batchway {__version__} listens at {url}/3.0")
    if settings.is_embedded:
        typer.echo(f"  data folder  {settings.data_dir}")
    if new_key:
        typer.echo(f"  API key      {new_key}   (shown only this once, so keep it)")
    key = new_key or "YOUR_API_KEY"
    typer.echo(f"  try          curl --user any:{key} {url}/3.0/ping")
