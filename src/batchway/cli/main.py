"""The entry point. The module of a command is imported only when the command is called."""

import sys
from collections.abc import Iterable
from importlib import import_module

import typer

from batchway.cli.terminal import exit_on_error, tolerate_narrow_encodings

# Command → its module in this package, in the order in which `batchway --help` shows them. Each
# module has a function `register`, which adds the command to the application.
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


def build(commands: Iterable[str] = COMMANDS) -> typer.Typer:
    """The command line with these commands."""
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
    """Run the command line: exits with 0, with 1 if it failed, with 2 if it was called wrongly."""
    tolerate_narrow_encodings()
    with exit_on_error():
        build(choose_commands(sys.argv[1:]))()


def choose_commands(arguments: list[str]) -> Iterable[str]:
    """The command that is called; all of them if help, or something unknown, is wanted."""
    called = arguments[0] if arguments else ""
    return [called] if called in COMMANDS else COMMANDS


if __name__ == "__main__":
    main()
