"""`batchway worker`: one worker process, against the same database as the API."""

import signal
import threading

import typer

from batchway.app import open_app
from batchway.cli.operator_options import (
    DatabaseUrlOption,
    DataDirOption,
    LogLevelOption,
    start_process,
)
from batchway.kit.memory import calm_collector, use_one_heap
from batchway.supervisor import follow_supervisor, given_name

_NEW_OBJECTS = 100_000  # before the collector looks; it took a third of a chunk's time

EXAMPLES = """Examples:

  batchway worker --data-dir ./batchway-data

  batchway worker --database-url postgresql://batchway@db/batchway"""


def register(app: typer.Typer) -> None:
    """Add `batchway worker`."""
    app.command("worker", epilog=EXAMPLES)(worker_command)


def worker_command(
    *,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    log_level: LogLevelOption = None,
) -> None:
    """Run the steps of batches until SIGTERM or Ctrl-C.

    Then the current step finishes, queued steps return to the queue, and the command exits with 0.
    """
    use_one_heap()
    settings = start_process(data_dir=data_dir, database_url=database_url, log_level=log_level)
    follow_supervisor()
    stop_requested = _catch_stop_signals()
    calm_collector(_NEW_OBJECTS)
    app = open_app(settings, process=given_name())
    worker = app.worker()
    app.start(worker)
    stop_requested.wait()
    worker.stop()
    app.close()


def _catch_stop_signals() -> threading.Event:
    stop_requested = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop_requested.set())
    return stop_requested
