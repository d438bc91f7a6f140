"""`batchway migrate`: bring the tables of a database up to date."""

from typing import Annotated

import typer

from batchway.cli.commands import add_command
from batchway.cli.operator_options import InstallationOptions
from batchway.database_setup import migrate_database


def register(app: typer.Typer) -> None:
    """Add `batchway migrate`."""
    add_command(
        app,
        "migrate",
        migrate_command,
        "batchway migrate --database-url postgresql://batchway@db/batchway",
        "batchway migrate --data-dir ./batchway-data",
    )


def migrate_command(
    installation: InstallationOptions,
    forget_installation: Annotated[
        bool,
        typer.Option(
            "--forget-installation",
            help="Let the next process that starts decide which archive folder and secret key all "
            "processes must share. Stop all processes first.",
        ),
    ] = False,
) -> None:
    """Create the tables of the database, or bring them up to date.

    It is safe to run this more than once. With SQLite, `serve` does it at each start.
    """
    migrate_database(installation.start_process(), forgets_installation=forget_installation)
    typer.echo("The database is up to date.")
