"""`batchway worker`: one worker process, against the same database as the API."""

import typer

from batchway.cli.commands import add_command
from batchway.cli.operator_options import InstallationOptions, LogLevelOption
from batchway.kit.memory import use_one_heap
from batchway.processes.worker import run_worker


def register(app: typer.Typer) -> None:
    """Add `batchway worker`."""
    add_command(
        app,
        "worker",
        worker_command,
        "batchway worker --data-dir ./batchway-data",
        "batchway worker --database-url postgresql://batchway@db/batchway",
    )


def worker_command(installation: InstallationOptions, log_level: LogLevelOption = None) -> None:
    """Run the steps of batches until SIGTERM or Ctrl-C.

    Then the current step finishes, queued steps return to the queue, and the command exits with 0.
    """
    use_one_heap()
    run_worker(installation.start_process(log_level=log_level))
