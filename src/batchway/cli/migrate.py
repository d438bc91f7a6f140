"""`batchway migrate`: bring the tables of a database up to date."""

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
    *, data_dir: DataDirOption = None, database_url: DatabaseUrlOption = None
) -> None:
    """Create the tables of the database, or bring them up to date.

    It is safe to run this more than once. With SQLite, `serve` does it at each start.
    """
    migrate_database(start_process(data_dir=data_dir, database_url=database_url))
    typer.echo("The database is up to date.")
