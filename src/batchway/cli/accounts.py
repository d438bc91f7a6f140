"""`batchway accounts`: create and list accounts, each with its own keys, batches and audience."""

from typing import Annotated

import typer

from batchway.app import opened
from batchway.cli.api_keys import add_key
from batchway.cli.commands import add_command
from batchway.cli.operator_options import InstallationOptions
from batchway.kit.clock import format_iso, system_clock
from batchway.store import accounts

EXAMPLES = ('batchway accounts create "Acme Ltd"', "batchway accounts list")


def register(app: typer.Typer) -> None:
    """Add `batchway accounts`."""
    group = typer.Typer(help="Create and list accounts.", no_args_is_help=True)
    add_command(group, "create", create_command, *EXAMPLES)
    add_command(group, "list", list_command, *EXAMPLES)
    app.add_typer(group, name="accounts")


def create_command(
    name: Annotated[str, typer.Argument(help="Name of the account.")],
    installation: InstallationOptions,
) -> None:
    """Create an account with a first API key, and print the key. It is shown only this once."""
    with opened(installation.start_process()) as app:
        with app.database.write() as connection:
            account = accounts.create(connection, name, system_clock())
        key = add_key(app.database, account, "first")
    typer.echo(f"account {account.id}  {account.name}")
    typer.echo(f"API key {key}   (shown only this once, so keep it)")


def list_command(installation: InstallationOptions) -> None:
    """List all accounts."""
    with opened(installation.start_process()) as app, app.database.read() as connection:
        for account in accounts.find_all(connection):
            typer.echo(f"{account.id:>4}  {format_iso(account.created_at)}  {account.name}")
