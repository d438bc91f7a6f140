"""`batchway batches errors`, `operations` and `retry`: the operations of a batch."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

import msgspec
import typer

from batchway.cli.commands import add_command
from batchway.cli.connection import NDJSON, Connection
from batchway.cli.error_groups import print_error_groups
from batchway.cli.following import build_batch_path
from batchway.cli.options import (
    COUNT_DEFAULT,
    COUNT_MAX,
    BatchArgument,
    OffsetOption,
    QuietOption,
    ServerOptions,
    WatchOption,
)
from batchway.cli.progress import Pace
from batchway.cli.refusals import ProblemDocument, advise
from batchway.cli.terminal import OUT, print_note, print_page, print_text, printable
from batchway.cli.watching import watch_accepted
from batchway.surfaces.mailchimp.bodies.batches import (
    BatchBody,
    BatchErrors,
    OperationResult,
    OperationResults,
)

RESPONSE_CHARACTERS_MAX = 200  # of each response that is shown


@dataclass(frozen=True)
class OperationFilter:
    """Options that select operations of a batch."""

    errored: Annotated[
        bool | None,
        typer.Option(
            "--errored/--succeeded",
            envvar="BATCHWAY_ERRORED",
            help="Only operations that errored; with --succeeded, only those that succeeded.",
            show_default="both; for retry, errored unless a status code is given",
        ),
    ] = None
    status_code: Annotated[
        int | None,
        typer.Option(
            envvar="BATCHWAY_STATUS_CODE",
            min=100,
            max=599,
            metavar="N",
            help="Only operations with this status code.",
            show_default="any",
        ),
    ] = None
    operation_id: Annotated[
        str,
        typer.Option(
            envvar="BATCHWAY_OPERATION_ID", help="Only operations with this operation_id."
        ),
    ] = ""
    path: Annotated[
        str,
        typer.Option(
            "--path",
            envvar="BATCHWAY_OPERATION_PATH",
            help="Only operations with exactly this path.",
        ),
    ] = ""

    def build_params(self) -> dict[str, str | int]:
        """Return the parameters of a call that selects these operations."""
        params: dict[str, str | int | None] = {
            "errored": None if self.errored is None else str(self.errored).lower(),
            "status_code": self.status_code,
            "operation_id": self.operation_id or None,
            "path": self.path or None,
        }
        return {name: value for name, value in params.items() if value is not None}


def register(batches: typer.Typer) -> None:
    """Add the commands to those of `batchway batches`."""
    add_command(batches, "errors", errors_command, "batchway batches errors 5cfa0d22b8")
    add_command(
        batches,
        "operations",
        operations_command,
        "batchway batches operations 5cfa0d22b8 --errored",
        "batchway batches operations 5cfa0d22b8 --operation-id crm-7",
        "batchway batches operations 5cfa0d22b8 --status-code 404 --json | jq -r .operation_id",
    )
    add_command(
        batches,
        "retry",
        retry_command,
        "batchway batches retry 5cfa0d22b8",
        "batchway batches retry 5cfa0d22b8 --status-code 500 --watch",
    )


def errors_command(batch_id: BatchArgument, server: ServerOptions) -> None:
    """Show why operations have failed so far, grouped by reason."""
    with server.connect() as connection:
        found = connection.get(f"{build_batch_path(batch_id)}/errors", BatchErrors)
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
    server: ServerOptions,
    wanted: OperationFilter,
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
    params = wanted.build_params()
    path = f"{build_batch_path(batch_id)}/operations"
    with server.connect() as connection:
        if as_json:
            _print_json(connection, path, params, count, offset)
            return
        params |= {"count": count or COUNT_DEFAULT, "offset": offset}
        page = connection.get(path, OperationResults, params)
    columns = ("position", "page", "operation_id", "method", "path", "status code", "response")
    print_page(columns, map(_build_row, page.operations), offset, page.total_items)


def retry_command(
    batch_id: BatchArgument,
    server: ServerOptions,
    wanted: OperationFilter,
    follow: WatchOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run the errored operations of a finished batch again, as a new batch."""
    name = printable(batch_id)
    next_steps: dict[int, str] = {
        HTTPStatus.CONFLICT: f"Wait until it is finished: batchway batches watch {name}",
        HTTPStatus.BAD_REQUEST: f"List its operations with: batchway batches operations {name}",
    }
    with server.connect() as connection:
        pace = Pace.start()
        path = f"{build_batch_path(batch_id)}/actions/retry"
        with advise(next_steps):
            batch = connection.post(path, b"", BatchBody, params=wanted.build_params())
        if not quiet:
            count = batch.total_operations
            print_text(
                f"Batch {batch.id} was accepted: {count} operations of batch {name} run again."
            )
        watch_accepted(connection, batch, pace, follow=follow, quiet=quiet)


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
    """Return the message of an error, or the beginning of the response of a success."""
    text = bytes(result.response).decode(errors="replace")
    if result.status_code is not None and result.status_code >= HTTPStatus.BAD_REQUEST:
        with suppress(msgspec.DecodeError):
            text = str(msgspec.json.decode(result.response, type=ProblemDocument)) or text
    return text if len(text) <= RESPONSE_CHARACTERS_MAX else f"{text[:RESPONSE_CHARACTERS_MAX]}…"


def _print_json(
    connection: Connection, path: str, params: dict[str, str | int], count: int | None, offset: int
) -> None:
    params |= {"offset": offset} if count is None else {"count": count, "offset": offset}
    connection.stream(path, NDJSON, _print_lines, params=params)


def _print_lines(lines: Iterator[bytes]) -> None:
    """Print lines unchanged for other programs; on a terminal, without control characters."""
    for line in lines:
        if OUT.is_terminal:
            print_text(line.decode(errors="replace"))
        else:
            sys.stdout.buffer.write(line + b"\n")
    sys.stdout.flush()
