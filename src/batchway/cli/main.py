"""The entry point: every command registers itself here."""

import sys

import typer

from batchway.cli import (
    accounts,
    batches,
    import_csv,
    keys,
    limits,
    lists,
    migrate,
    serve,
    webhooks,
    worker,
)
from batchway.cli.terminal import fail, tolerate_narrow_encodings
from batchway.errors import BatchwayError

# In the order in which `batchway --help` shows them: each module's `register` adds its commands.
COMMANDS = (
    serve,
    worker,
    migrate,
    accounts,
    keys,
    lists,
    import_csv,
    batches,
    webhooks,
    limits,
)


def build() -> typer.Typer:
    """The command with all its subcommands."""
    app = typer.Typer(
        name="batchway",
        help="The Batch endpoint as software one can run.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        epilog="Each option can also be given as the environment variable that its help names.",
    )
    for command in COMMANDS:
        command.register(app)
    return app


def main() -> None:
    """Run the command line: exits with 0, with 1 if nothing could be done, with 2 on wrong use."""
    tolerate_narrow_encodings()
    try:
        build()()
    except BatchwayError as error:
        fail(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
