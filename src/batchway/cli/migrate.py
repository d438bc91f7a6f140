"""`batchway migrate`: the schema, explicitly."""

from pathlib import Path
from typing import Annotated

import typer

from batchway.app import migrate_all
from batchway.cli.operator import description, load_settings

_EPILOG = """
Examples:

  batchway migrate --database-url postgresql://batchway@db/batchway

  batchway migrate --data-dir ./batchway-data
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_EPILOG)(migrate)


def migrate(
    *,
    data_dir: Annotated[
        Path | None, typer.Option(envvar="BATCHWAY_DATA_DIR", help=description("data_dir"))
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(envvar="BATCHWAY_DATABASE_URL", help=description("database_url")),
    ] = None,
) -> None:
    """Make the database's tables, or bring them up to date. May be run any number of times.

    The embedded default does this by itself at each start of `serve`.
    """
    migrate_all(load_settings(data_dir=data_dir, database_url=database_url))
    typer.echo("The database is up to date.")
