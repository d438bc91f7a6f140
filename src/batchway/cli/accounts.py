"""`batchway accounts`: who owns keys, batches and audiences."""

from pathlib import Path
from typing import Annotated

import typer

from batchway.app import opened
from batchway.cli.operator import add_key, description, load_settings
from batchway.kit.clock import format_iso, system_clock
from batchway.store import accounts

_EPILOG = """
Examples:

  batchway accounts create "Acme Ltd"

  batchway accounts list
"""

DataDir = Annotated[
    Path | None, typer.Option(envvar="BATCHWAY_DATA_DIR", help=description("data_dir"))
]
DatabaseUrl = Annotated[
    str | None, typer.Option(envvar="BATCHWAY_DATABASE_URL", help=description("database_url"))
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Make and list accounts.", no_args_is_help=True)
    group.command("create", epilog=_EPILOG)(create)
    group.command("list", epilog=_EPILOG)(list_accounts)
    app.add_typer(group, name="accounts")


def create(
    name: Annotated[str, typer.Argument(help="What the account is called.")],
    *,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make an account with a first API key, and print the key: it is shown this once."""
    with opened(load_settings(data_dir=data_dir, database_url=database_url)) as app:
        with app.database.write() as connection:
            account = accounts.create(connection, name, system_clock())
        key = add_key(app.database, account, "first")
    typer.echo(f"account {account.id}  {account.name}")
    typer.echo(f"API key {key}   (shown this once: keep it)")


def list_accounts(*, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """List all accounts."""
    with (
        opened(load_settings(data_dir=data_dir, database_url=database_url)) as app,
        app.database.read() as connection,
    ):
        for account in accounts.every(connection):
            typer.echo(f"{account.id:>4}  {format_iso(account.created_at)}  {account.name}")
