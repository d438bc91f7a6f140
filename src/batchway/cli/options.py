"""Arguments and options that several client commands share."""

from typing import Annotated

import typer

DEFAULT_URL = "http://127.0.0.1:8080"
COUNT_MAX = 1_000  # the contract's longest page
COUNT_DEFAULT = 20

UrlOption = Annotated[
    str, typer.Option("--url", envvar="BATCHWAY_URL", help="Address of the server.")
]
KeyOption = Annotated[
    str,
    typer.Option(
        "--key",
        envvar="BATCHWAY_API_KEY",
        help="API key. Prefer the environment variable: other users can see a command line.",
        show_default=False,
    ),
]
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
