"""`batchway limits`: the limits of the server, and how much of them is used."""

from collections.abc import Mapping

import msgspec
import typer

from batchway.cli.commands import add_command
from batchway.cli.options import ServerOptions
from batchway.cli.terminal import print_table
from batchway.surfaces.mailchimp.bodies.limits import LimitsBody


def register(app: typer.Typer) -> None:
    """Add `batchway limits`."""
    add_command(app, "limits", limits_command, "batchway limits")


def limits_command(server: ServerOptions) -> None:
    """Show the limits of the server, and how much of them the account uses."""
    with server.connect() as connection:
        found = connection.get("/limits", LimitsBody)
    usage = msgspec.structs.asdict(found.usage)
    rows = [
        (name, _format_number(value), _find_use(name, usage))
        for name, value in found.limits.items()
    ]
    print_table(("limit", "value", "used"), rows)


def _format_number(value: float) -> str:
    return str(int(value) if value == int(value) else value)


def _find_use(limit: str, usage: Mapping[str, int]) -> object:
    """Return the use of a limit. The name of the limit begins with the name of the use."""
    return next((count for name, count in usage.items() if limit.startswith(name)), "")
