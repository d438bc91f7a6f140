"""The entry point. It imports only the module of the command that is called."""

import sys
from collections.abc import Iterable
from importlib import import_module

import typer

from batchway.cli.terminal import exit_on_error, tolerate_narrow_encodings

# The module of each command, in the order of `batchway --help`. A module has a function `register`,
# which adds the command to the application.
COMMANDS = {
    "serve": "serve",
    "worker": "worker",
    "migrate": "migrate",
    "accounts": "accounts",
    "keys": "keys",
    "lists": "lists",
    "import": "import_csv",
    "batches": "batches",
    "webhooks": "webhooks",
    "limits": "limits",
}


def build_app(commands: Iterable[str] = COMMANDS) -> typer.Typer:
    """Return the command line with these commands."""
    app = typer.Typer(
        name="batchway",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        epilog="Every option can also be given as the environment variable that its help names.",
    )
    app.callback()(batchway)
    for command in commands:
        import_module(f"batchway.cli.{COMMANDS[command]}").register(app)
    return app


def batchway() -> None:
    """Run a Batch endpoint, and use one, from the command line."""


def main() -> None:
    """Run the command line. Exits with 1 if a command fails, and with 2 if it is called wrongly."""
    tolerate_narrow_encodings()
    with exit_on_error():
        build_app(choose_commands(sys.argv[1:]))()


def choose_commands(arguments: list[str]) -> Iterable[str]:
    """Return the command that is called, or all commands if there is none."""
    called = arguments[0] if arguments else ""
    return [called] if called in COMMANDS else COMMANDS


if __name__ == "__main__":
    main()
