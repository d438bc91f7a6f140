"""`batchway worker`: one worker process, against the same database as the API."""

import typer

from batchway.cli.operator_options import (
    DatabaseUrlOption,
    DataDirOption,
    LogLevelOption,
    start_process,
)
from batchway.kit.memory import use_one_heap
from batchway.processes.worker import run_worker

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
    run_worker(settings)
