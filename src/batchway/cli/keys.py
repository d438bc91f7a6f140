"""`batchway keys`: create, list and revoke the API keys of accounts."""

from typing import Annotated

import typer

from batchway.app import opened
from batchway.cli.api_keys import add_key
from batchway.cli.commands import add_command
from batchway.cli.operator_options import InstallationOptions
from batchway.errors import SettingsError
from batchway.kit.clock import format_iso, system_clock
from batchway.store import accounts, batch_webhooks

EXAMPLES = (
    "batchway keys create --account 1 --label crm",
    "batchway keys list",
    "batchway keys revoke 3",
)


def register(app: typer.Typer) -> None:
    """Add `batchway keys`."""
    group = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)
    add_command(group, "create", create_command, *EXAMPLES)
    add_command(group, "list", list_command, *EXAMPLES)
    add_command(group, "revoke", revoke_command, *EXAMPLES)
    app.add_typer(group, name="keys")


def create_command(
    *,
    account: Annotated[
        int, typer.Option(envvar="BATCHWAY_ACCOUNT", help="Number of the account.")
    ] = 1,
    label: Annotated[str, typer.Option(envvar="BATCHWAY_LABEL", help="What the key is for.")] = "",
    installation: InstallationOptions,
) -> None:
    """Create an API key and print it. It is shown only this once."""
    with opened(installation.start_process()) as app:
        with app.database.read() as connection:
            owner = accounts.find(connection, account)
        if owner is None:
            message = f"There is no account {account}. List them with: batchway accounts list"
            raise SettingsError(message)
        key = add_key(app.database, owner, label)
    typer.echo(f"{key}   (shown only this once, so keep it)")


def list_command(installation: InstallationOptions) -> None:
    """List all API keys, each by the last characters of its first part."""
    with opened(installation.start_process()) as app, app.database.read() as connection:
        for key in accounts.find_keys(connection):
            state = f"revoked {format_iso(key.revoked_at)}" if key.revoked_at else "valid"
            typer.echo(
                f"{key.id:>4}  account {key.account_id}  …{key.hint}  "
                f"{format_iso(key.created_at)}  {state}  {key.label}"
            )


def revoke_command(
    key_id: Annotated[int, typer.Argument(help="Number of the key, from `batchway keys list`.")],
    installation: InstallationOptions,
) -> None:
    """Revoke an API key permanently.

    Calls with the key are answered with 401, and so are the remaining operations of its batches.
    The batch webhooks that were created with the key are deleted.
    """
    with opened(installation.start_process()) as app, app.database.write() as connection:
        if not accounts.revoke_key(connection, key_id, system_clock()):
            message = f"There is no valid key {key_id}. List the keys with: batchway keys list"
            raise SettingsError(message)
        webhooks = batch_webhooks.find_by_key(connection, key_id)
        for webhook in webhooks:
            batch_webhooks.delete(connection, webhook)
    typer.echo(f"Key {key_id} was revoked, and its {len(webhooks)} batch webhooks were deleted.")
