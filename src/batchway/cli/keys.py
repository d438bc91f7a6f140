"""`batchway keys`: the API keys of accounts. A key is printed once and never stored."""

from typing import Annotated

import typer

from batchway.app import opened
from batchway.cli.accounts import DatabaseUrl, DataDir
from batchway.cli.operator import add_key, load_settings
from batchway.errors import SettingsError
from batchway.kit.clock import format_iso, system_clock
from batchway.store import accounts, batch_webhooks

_EPILOG = """
Examples:

  batchway keys create --account 1 --label crm

  batchway keys list

  batchway keys revoke 3
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)
    group.command("create", epilog=_EPILOG)(create)
    group.command("list", epilog=_EPILOG)(list_keys)
    group.command("revoke", epilog=_EPILOG)(revoke)
    app.add_typer(group, name="keys")


def create(
    *,
    account: Annotated[
        int, typer.Option(envvar="BATCHWAY_ACCOUNT", help="Number of the account.")
    ] = 1,
    label: Annotated[str, typer.Option(envvar="BATCHWAY_LABEL", help="What the key is for.")] = "",
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make a key and print it: it is shown this once."""
    with opened(load_settings(data_dir=data_dir, database_url=database_url)) as app:
        with app.database.read() as connection:
            owner = accounts.find(connection, account)
        if owner is None:
            message = f"There is no account {account}. See them with: batchway accounts list"
            raise SettingsError(message)
        key = add_key(app.database, owner, label)
    typer.echo(f"{key}   (shown this once: keep it)")


def list_keys(*, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """List all keys by the last digits of their first part."""
    with (
        opened(load_settings(data_dir=data_dir, database_url=database_url)) as app,
        app.database.read() as connection,
    ):
        for key in accounts.keys(connection):
            state = f"revoked {format_iso(key.revoked_at)}" if key.revoked_at else "valid"
            typer.echo(
                f"{key.id:>4}  account {key.account_id}  …{key.hint}  "
                f"{format_iso(key.created_at)}  {state}  {key.label}"
            )


def revoke(
    key_id: Annotated[int, typer.Argument(help="Number of the key, as `keys list` shows it.")],
    *,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Revoke a key for good: calls get 401, and so does what is left of its running batches.

    The batch webhooks that were made with it are deleted.
    """
    with (
        opened(load_settings(data_dir=data_dir, database_url=database_url)) as app,
        app.database.write() as connection,
    ):
        if not accounts.revoke_key(connection, key_id, system_clock()):
            message = f"There is no valid key {key_id}. See them with: batchway keys list"
            raise SettingsError(message)
        webhooks = batch_webhooks.of_key(connection, key_id)
        for webhook in webhooks:
            batch_webhooks.delete(connection, webhook)
    typer.echo(f"Key {key_id} is revoked, and {len(webhooks)} batch webhooks of it are deleted.")
