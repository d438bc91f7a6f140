"""`batchway batches errors`, `operations` and `retry`: the operations of a batch."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Annotated

import msgspec
import typer

from batchway.cli.connection import Connection, as_segment
from batchway.cli.error_groups import print_error_groups
from batchway.cli.options import (
    COUNT_DEFAULT,
    COUNT_MAX,
    DEFAULT_URL,
    BatchArgument,
    KeyOption,
    OffsetOption,
    QuietOption,
    UrlOption,
    WatchOption,
)
from batchway.cli.progress import Pace
from batchway.cli.refusals import ProblemDocument, advice
from batchway.cli.terminal import OUT, print_note, print_page, print_text, printable
from batchway.cli.watching import watch_accepted
from batchway.surfaces.mailchimp.bodies.batches import (
    BatchBody,
    BatchErrors,
    OperationResult,
    OperationResults,
)

NDJSON = "application/x-ndjson"
BAD_REQUEST, CONFLICT = 400, 409
RESPONSE_CHARACTERS_MAX = 200  # shown of each

ERRORS_EXAMPLES = "Example:\n\n  batchway batches errors 5cfa0d22b8"
OPERATIONS_EXAMPLES = """Examples:

  batchway batches operations 5cfa0d22b8 --errored

  batchway batches operations 5cfa0d22b8 --operation-id crm-7

  batchway batches operations 5cfa0d22b8 --status-code 404 --json | jq -r .operation_id"""
RETRY_EXAMPLES = """Examples:

  batchway batches retry 5cfa0d22b8

  batchway batches retry 5cfa0d22b8 --status-code 500 --watch"""

ErroredOption = Annotated[
    bool | None,
    typer.Option(
        "--errored/--succeeded",
        envvar="BATCHWAY_ERRORED",
        help="Only operations that errored; with --succeeded, only those that succeeded.",
        show_default="both; for retry, errored unless a status code is given",
    ),
]
StatusCodeOption = Annotated[
    int | None,
    typer.Option(
        envvar="BATCHWAY_STATUS_CODE",
        min=100,
        max=599,
        metavar="N",
        help="Only operations with this status code.",
        show_default="any",
    ),
]
OperationIdOption = Annotated[
    str,
    typer.Option(envvar="BATCHWAY_OPERATION_ID", help="Only operations with this operation_id."),
]
PathOption = Annotated[
    str,
    typer.Option(
        "--path", envvar="BATCHWAY_OPERATION_PATH", help="Only operations with exactly this path."
    ),
]


def register(batches: typer.Typer) -> None:
    """Add the commands to those of `batchway batches`."""
    batches.command("errors", epilog=ERRORS_EXAMPLES)(errors_command)
    batches.command("operations", epilog=OPERATIONS_EXAMPLES)(operations_command)
    batches.command("retry", epilog=RETRY_EXAMPLES)(retry_command)


def errors_command(
    batch_id: BatchArgument, url: UrlOption = DEFAULT_URL, key: KeyOption = ""
) -> None:
    """Show why operations have failed so far, grouped by reason."""
    with Connection(url, key) as connection:
        found = connection.get(f"/batches/{as_segment(batch_id)}/errors", BatchErrors)
    name = printable(batch_id)
    if not found.errored_operations:
        print_text(f"No operation of batch {name} has errored.")
        return
    print_error_groups(found.groups)
    print_note(
        f"{found.errored_operations} operations errored. "
        f"List them: batchway batches operations {name} --errored\n"
        f"Retry them when the batch is finished: batchway batches retry {name}"
    )


def operations_command(
    batch_id: BatchArgument,
    *,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = "",
    errored: ErroredOption = None,
    status_code: StatusCodeOption = None,
    operation_id: OperationIdOption = "",
    path: PathOption = "",
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            envvar="BATCHWAY_JSON",
            help="Print complete results, one JSON object per line.",
        ),
    ] = False,
    count: Annotated[
        int | None,
        typer.Option(
            envvar="BATCHWAY_COUNT",
            min=1,
            max=COUNT_MAX,
            help="How many to show.",
            show_default=f"{COUNT_DEFAULT}; all with --json",
        ),
    ] = None,
    offset: OffsetOption = 0,
) -> None:
    """List the operations that have results so far, with their results."""
    params = _build_filter(errored, status_code, operation_id, path)
    where = f"/batches/{as_segment(batch_id)}/operations"
    with Connection(url, key) as connection:
        if as_json:
            _print_json(connection, where, params, count, offset)
            return
        params |= {"count": count or COUNT_DEFAULT, "offset": offset}
        page = connection.get(where, OperationResults, params)
    columns = ("position", "page", "operation_id", "method", "path", "status code", "response")
    print_page(columns, map(_build_row, page.operations), offset, page.total_items)


def retry_command(
    batch_id: BatchArgument,
    *,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = "",
    errored: ErroredOption = None,
    status_code: StatusCodeOption = None,
    operation_id: OperationIdOption = "",
    path: PathOption = "",
    follow: WatchOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run the errored operations of a finished batch again, as a new batch."""
    name = printable(batch_id)
    params = _build_filter(errored, status_code, operation_id, path)
    next_steps = {
        CONFLICT: f"Wait until it is finished: batchway batches watch {name}",
        BAD_REQUEST: f"List its operations with: batchway batches operations {name}",
    }
    with Connection(url, key) as connection:
        pace = Pace.start()
        where = f"/batches/{as_segment(batch_id)}/actions/retry"
        with advice(next_steps):
            batch = connection.post(where, b"", BatchBody, params=params)
        if not quiet:
            count = batch.total_operations
            print_text(
                f"Batch {batch.id} was accepted: {count} operations of batch {name} run again."
            )
        watch_accepted(connection, batch, pace, follow=follow, quiet=quiet)


def _build_filter(
    errored: bool | None, status_code: int | None, operation_id: str, path: str
) -> dict[str, str | int]:
    """The parameters of a call that selects operations."""
    wanted: dict[str, str | int | None] = {
        "errored": None if errored is None else str(errored).lower(),
        "status_code": status_code,
        "operation_id": operation_id or None,
        "path": path or None,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _build_row(result: OperationResult) -> tuple[object, ...]:
    return (
        result.position,
        result.page,
        "" if result.operation_id is None else result.operation_id,
        result.method,
        result.path,
        "" if result.status_code is None else result.status_code,
        _format_response(result),
    )


def _format_response(result: OperationResult) -> str:
    """The message of an error, or the beginning of the response of a success."""
    text = bytes(result.response).decode(errors="replace")
    if result.status_code is not None and result.status_code >= BAD_REQUEST:
        with suppress(msgspec.DecodeError):
            text = str(msgspec.json.decode(result.response, type=ProblemDocument)) or text
    return text if len(text) <= RESPONSE_CHARACTERS_MAX else f"{text[:RESPONSE_CHARACTERS_MAX]}…"


def _print_json(
    connection: Connection, path: str, params: dict[str, str | int], count: int | None, offset: int
) -> None:
    skipped = offset if count is None else 0  # otherwise the server skips them
    if count is not None:
        params |= {"count": count, "offset": offset}
    connection.stream(
        path, NDJSON, lambda lines: _print_lines(islice(lines, skipped, None)), params=params
    )


def _print_lines(lines: Iterator[bytes]) -> None:
    """Print lines unchanged for other programs; on a terminal, without control characters."""
    for line in lines:
        if OUT.is_terminal:
            print_text(line.decode(errors="replace"))
        else:
            sys.stdout.buffer.write(line + b"\n")
    sys.stdout.flush()
