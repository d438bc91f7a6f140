"""Arguments, options and groups of options that several client commands share."""

from dataclasses import dataclass, field
from typing import Annotated

import typer

from batchway import limits
from batchway.cli.connection import DEFAULT_URL, Connection, Params

COUNT_MAX = limits.page_count_max
COUNT_DEFAULT = 20

CountOption = Annotated[
    int, typer.Option(envvar="BATCHWAY_COUNT", min=1, max=COUNT_MAX, help="How many to show.")
]
OffsetOption = Annotated[
    int, typer.Option(envvar="BATCHWAY_OFFSET", min=0, help="How many to skip.")
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", envvar="BATCHWAY_QUIET", help="Print only the id.")
]
WatchOption = Annotated[
    bool,
    typer.Option("--watch", envvar="BATCHWAY_WATCH", help="Follow the batch until it finishes."),
]
BatchArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the batch.")]
WebhookArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the batch webhook.")]


@dataclass(frozen=True)
class ServerOptions:
    """The server that a command calls, and the API key of its calls."""

    url: Annotated[
        str, typer.Option("--url", envvar="BATCHWAY_URL", help="Address of the server.")
    ] = DEFAULT_URL
    key: Annotated[
        str,
        typer.Option(
            "--key",
            envvar="BATCHWAY_API_KEY",
            help="API key. Prefer the environment variable: other users can see a command line.",
            show_default=False,
        ),
    ] = field(default="", repr=False)

    def connect(self) -> Connection:
        """Return a connection to the server."""
        return Connection(self.url, self.key)


@dataclass(frozen=True)
class PageOptions:
    """The part of a collection that a command shows."""

    count: CountOption = COUNT_DEFAULT
    offset: OffsetOption = 0

    @property
    def params(self) -> Params:
        """The parameters that request this part."""
        return {"count": self.count, "offset": self.offset}
