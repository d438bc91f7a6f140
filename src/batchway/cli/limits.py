"""`batchway limits`: how many batches, webhooks and events there may be, and are."""

from collections.abc import Mapping

import msgspec
import typer

from batchway.cli.connection import Connection
from batchway.cli.options import DEFAULT_URL, KeyOption, UrlOption
from batchway.cli.terminal import table

LIMITS_EXAMPLES = "Example:\n\n  batchway limits"


class LimitsInForce(msgspec.Struct, frozen=True):
    """What an account may have, and what it has."""

    limits: dict[str, float]
    usage: dict[str, int]


def register(app: typer.Typer) -> None:
    """Add `batchway limits`."""
    app.command("limits", epilog=LIMITS_EXAMPLES)(limits_command)


def limits_command(url: UrlOption = DEFAULT_URL, key: KeyOption = "") -> None:
    """Show the limits of the server, and how much of them this account uses."""
    with Connection(url, key) as connection:
        found = connection.get("/limits", LimitsInForce)
    rows = [
        (name, _number(value), _used(name, found.usage)) for name, value in found.limits.items()
    ]
    table(("limit", "value", "used"), rows)


def _number(value: float) -> str:
    return str(int(value) if value == int(value) else value)


def _used(limit: str, usage: Mapping[str, int]) -> object:
    """What counts against a limit: the limit's name begins with its name."""
    return next((count for name, count in usage.items() if limit.startswith(name)), "")
