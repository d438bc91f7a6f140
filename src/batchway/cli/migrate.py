"""`batchway migrate`: bring the tables of a database up to date."""

from typing import Annotated

import typer

from batchway.cli.operator_options import DatabaseUrlOption, DataDirOption, start_process
from batchway.database_setup import migrate_database

EXAMPLES = """Examples:

  batchway migrate --database-url postgresql://batchway@db/batchway

  batchway migrate --data-dir ./batchway-data"""


def register(app: typer.Typer) -> None:
    """Add `batchway migrate`."""
    app.command("migrate", epilog=EXAMPLES)(migrate_command)


def migrate_command(
    *,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
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
    settings = start_process(data_dir=data_dir, database_url=database_url)
    migrate_database(settings, forgets_installation=forget_installation)
    typer.echo("The database is up to date.")
