"""`batchway prepare`: what `serve` runs before it starts the API and the workers.

It is a process of its own because the libraries that it needs would stay in the memory of `serve`
for as long as that runs.
"""

import typer

from batchway.cli.operator_options import start_process
from batchway.database_setup import check_database, migrate_database, prepare_installation
from batchway.supervisor import follow_supervisor


def register(app: typer.Typer) -> None:
    """Add the command, which no help shows."""
    app.command("prepare", hidden=True)(prepare_command)


def prepare_command() -> None:
    """Bring an embedded database up to date, check any other one, and join the installation."""
    settings = start_process()
    follow_supervisor()
    if settings.is_embedded:
        migrate_database(settings)
    check_database(settings)
    prepare_installation(settings)
