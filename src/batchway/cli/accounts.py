"""`batchway accounts`: create and list accounts. Each owns its keys, batches and audience."""

from typing import Annotated

import typer

from batchway.app import opened
from batchway.cli.api_keys import add_key
from batchway.cli.operator_options import DatabaseUrlOption, DataDirOption, start_process
from batchway.kit.clock import format_iso, system_clock
from batchway.store import accounts

EXAMPLES = """Examples:

  batchway accounts create "Acme Ltd"

  batchway accounts list"""


def register(app: typer.Typer) -> None:
    """Add `batchway accounts`."""
    group = typer.Typer(help="Create and list accounts.", no_args_is_help=True)
    group.command("create", epilog=EXAMPLES)(create_command)
    group.command("list", epilog=EXAMPLES)(list_command)
    app.add_typer(group, name="accounts")


def create_command(
    name: Annotated[str, typer.Argument(help="Name of the account.")],
    *,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
) -> None:
    """Create an account with a first API key, and print the key. It is shown only this once."""
    with opened(start_process(data_dir=data_dir, database_url=database_url)) as app:
        with app.database.write() as connection:
            account = accounts.create(connection, name, system_clock())
        key = add_key(app.database, account, "first")
    typer.echo(f"account {account.id}  {account.name}")
    typer.echo(f"API key {key}   (shown only this once, so keep it)")


def list_command(*, data_dir: DataDirOption = None, database_url: DatabaseUrlOption = None) -> None:
    """List all accounts."""
    with (
        opened(start_process(data_dir=data_dir, database_url=database_url)) as app,
        app.database.read() as connection,
    ):
        for account in accounts.find_all(connection):
            typer.echo(f"{account.id:>4}  {format_iso(account.created_at)}  {account.name}")
