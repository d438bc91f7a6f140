"""`batchway worker`: one worker process, against the same database as the API."""

import os
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from batchway.app import open_app
from batchway.cli.operator import description, load_settings, parent_fd
from batchway.kit.memory import calm_collector, use_one_heap
from batchway.kit.processes import die_with_parent
from batchway.supervisor import NAME_VARIABLE, PARENT_VARIABLE

_NEW_OBJECTS = 100_000  # before the collector looks; it took a third of a chunk's time
_EPILOG = """
Examples:

  batchway worker --data-dir ./batchway-data

  batchway worker --database-url postgresql://batchway@db/batchway
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_EPILOG)(worker)


def worker(
    *,
    data_dir: Annotated[
        Path | None, typer.Option(envvar="BATCHWAY_DATA_DIR", help=description("data_dir"))
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(envvar="BATCHWAY_DATABASE_URL", help=description("database_url")),
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(envvar="BATCHWAY_LOG_LEVEL", help=description("log_level"))
    ] = None,
) -> None:
    """Run the steps of batches until SIGTERM or Ctrl-C.

    The step in hand is finished, the others are given back, and the command exits with 0.
    """
    use_one_heap()
    settings = load_settings(data_dir=data_dir, database_url=database_url, log_level=log_level)
    parent = parent_fd(PARENT_VARIABLE)
    if parent is not None:
        die_with_parent(parent)
    told_to_stop = _stop_signal()
    calm_collector(_NEW_OBJECTS)
    app = open_app(settings)
    process = app.worker(os.environ.get(NAME_VARIABLE))
    app.start(process)
    told_to_stop.wait()
    process.stop()
    app.close()


def _stop_signal() -> threading.Event:
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    return told
