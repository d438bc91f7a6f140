"""`batchway batches`: submit, follow, look into, retry, cancel and delete batches.

Beside it `batchway limits`: how many an account may have, and how many it has.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated

import msgspec
import typer

from batchway import limits
from batchway.cli.connection import JSON, Connection, Params, advice, as_segment
from batchway.cli.options import (
    COUNT_MAX,
    DEFAULT_URL,
    CountOption,
    KeyOption,
    OffsetOption,
    QuietOption,
    UrlOption,
)
from batchway.cli.results import Tally, download, read_results, replace_file, unpack
from batchway.cli.terminal import OUT, printable, say, show_rest, table, warn
from batchway.cli.watching import Batch, Pace, find_batch, watch

COUNT_DEFAULT = 20
ARCHIVE_NAME = "results.tar.gz"
NDJSON = "application/x-ndjson"
NDJSON_SUFFIX = ".ndjson"
NOT_FOUND, CONFLICT, BAD_REQUEST = 404, 409, 400

SUBMIT_EXAMPLES = """Examples:

  batchway batches submit operations.json --watch

  batchway batches submit operations.ndjson --validate-only

  batchway batches submit operations.json --idempotency-key night-of-2026-03-01

  echo '{"operations": [{"method": "GET", "path": "/lists"}]}' | batchway batches submit -"""
LIST_EXAMPLES = """Examples:

  batchway batches list

  batchway batches list --count 100 | grep started"""
WATCH_EXAMPLES = """Example:

  batchway batches watch 5cfa0d22b8"""
RESULTS_EXAMPLES = """Examples:

  batchway batches results 5cfa0d22b8

  batchway batches results 5cfa0d22b8 --out results"""
ERRORS_EXAMPLES = """Example:

  batchway batches errors 5cfa0d22b8"""
OPERATIONS_EXAMPLES = """Examples:

  batchway batches operations 5cfa0d22b8 --errored

  batchway batches operations 5cfa0d22b8 --operation-id crm-7

  batchway batches operations 5cfa0d22b8 --status-code 404 --json | jq -r .operation_id"""
RETRY_EXAMPLES = """Examples:

  batchway batches retry 5cfa0d22b8

  batchway batches retry 5cfa0d22b8 --status-code 500 --watch"""
CANCEL_EXAMPLES = """Examples:

  batchway batches cancel 5cfa0d22b8

  batchway batches cancel 5cfa0d22b8 --watch"""
LIMITS_EXAMPLES = """Example:

  batchway limits"""
DELETE_EXAMPLES = """Example:

  batchway batches delete 5cfa0d22b8"""

BatchArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the batch.")]
WatchOption = Annotated[
    bool, typer.Option("--watch", envvar="BATCHWAY_WATCH", help="Follow it until finished.")
]
ErroredOption = Annotated[
    bool | None,
    typer.Option(
        "--errored/--succeeded",
        envvar="BATCHWAY_ERRORED",
        help="Only operations that errored; --succeeded: only those that did not.",
        show_default="both",
    ),
]
RetriedOption = Annotated[
    bool,
    typer.Option(
        "--errored/--succeeded",
        envvar="BATCHWAY_ERRORED",
        help="Operations that errored; --succeeded: those that did not.",
        show_default="errored",
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
        "--path", envvar="BATCHWAY_OPERATION_PATH", help="Only operations with this path."
    ),
]


class Batches(msgspec.Struct, frozen=True):
    """A page of batches."""

    batches: list[Batch]
    total_items: int


class Sample(msgspec.Struct, frozen=True):
    """One operation of a group of errors."""

    position: int
    operation_id: str | None
    path: str
    detail: str

    @property
    def name(self) -> str:
        """What its owner calls it, or else its place in the batch."""
        return f"number {self.position}" if self.operation_id is None else self.operation_id


class ErrorGroup(msgspec.Struct, frozen=True):
    """Operations that failed for one reason."""

    status_code: int
    title: str
    field: str
    message: str
    count: int
    samples: list[Sample]


class BatchErrors(msgspec.Struct, frozen=True):
    """Why operations of a batch failed, the most frequent reason first."""

    errored_operations: int
    groups: list[ErrorGroup]


class Validation(msgspec.Struct, frozen=True):
    """What would become of a batch."""

    valid: bool
    total_operations: int
    checked_operations: int
    errored_operations: int
    groups: list[ErrorGroup]


class OperationResult(msgspec.Struct, frozen=True):
    """An operation with its result, as far as it is shown."""

    position: int
    page: int
    operation_id: str | None
    method: str
    path: str
    status_code: int | None
    response: msgspec.Raw


class OperationResults(msgspec.Struct, frozen=True):
    """A page of results."""

    operations: list[OperationResult]
    total_items: int


class LimitsInForce(msgspec.Struct, frozen=True):
    """What an account may have, and what it has."""

    limits: dict[str, float]
    usage: dict[str, int]


def register(app: typer.Typer) -> None:
    """Add `batchway batches`."""
    batches = typer.Typer(no_args_is_help=True, help="Submit, follow and delete batches.")
    batches.command("submit", epilog=SUBMIT_EXAMPLES)(submit_command)
    batches.command("list", epilog=LIST_EXAMPLES)(list_command)
    batches.command("watch", epilog=WATCH_EXAMPLES)(watch_command)
    batches.command("results", epilog=RESULTS_EXAMPLES)(results_command)
    batches.command("errors", epilog=ERRORS_EXAMPLES)(errors_command)
    batches.command("operations", epilog=OPERATIONS_EXAMPLES)(operations_command)
    batches.command("retry", epilog=RETRY_EXAMPLES)(retry_command)
    batches.command("cancel", epilog=CANCEL_EXAMPLES)(cancel_command)
    batches.command("delete", epilog=DELETE_EXAMPLES)(delete_command)
    app.add_typer(batches, name="batches")
    app.command("limits", epilog=LIMITS_EXAMPLES)(limits_command)


def submit_command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.json|-",
            help='A JSON object {"operations": …} as POST /3.0/batches wants it; - reads it '
            "from standard input.",
        ),
    ],
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = "",
    follow: Annotated[
        bool, typer.Option("--watch", envvar="BATCHWAY_WATCH", help="Follow it until finished.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Submit a batch."""
    with Connection(url, key) as connection, _opened(file) as body:
        pace = Pace.since_now()
        batch = connection.post("/batches", body, Batch)
        if quiet:
            say(batch.id)
        else:
            say(f"Batch {batch.id} was accepted with {batch.total_operations} operations.")
        if follow:
            watch(connection, batch.id, pace)
        elif not quiet:
            say(f"Follow it: batchway batches watch {batch.id}")


def list_command(
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = "",
    count: CountOption = COUNT_DEFAULT,
    offset: OffsetOption = 0,
) -> None:
    """Show the batches of the last seven days."""
    with Connection(url, key) as connection:
        page = connection.get("/batches", Batches, {"count": count, "offset": offset})
    rows = [
        (
            each.id,
            each.status,
            f"{each.finished_operations}/{each.total_operations}",
            each.errored_operations,
            each.submitted_at,
            each.completed_at,
        )
        for each in page.batches
    ]
    table(("id", "status", "finished", "errored", "submitted at", "completed at"), rows)
    show_rest(len(rows) + offset, page.total_items)


def watch_command(
    batch_id: BatchArgument, url: UrlOption = DEFAULT_URL, key: KeyOption = ""
) -> None:
    """Follow a batch until it is finished."""
    with Connection(url, key) as connection:
        watch(connection, batch_id)


def results_command(
    batch_id: BatchArgument,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = "",
    out: Annotated[
        Path | None,
        typer.Option(
            envvar="BATCHWAY_OUT",
            file_okay=False,
            metavar="DIR",
            help="Folder for the archive, which is also unpacked there, one JSON file each.",
            show_default="./batch-ID, not unpacked",
        ),
    ] = None,
) -> None:
    """Download the results of a finished batch and sum them up."""
    with Connection(url, key) as connection, tempfile.TemporaryFile() as archive:
        batch = find_batch(connection, batch_id)
        download(connection, batch, archive)
        tally = _summed_up(archive)
        folder = out or Path(f"batch-{as_segment(batch.id)}")
        folder.mkdir(parents=True, exist_ok=True)
        archive.seek(0)
        replace_file(folder / ARCHIVE_NAME, archive)
        say(f"The archive: {folder / ARCHIVE_NAME}")
        if out is not None:
            say(f"Its {unpack(archive, folder)} files are in {folder}")
        tally.check_whole(batch)


def delete_command(
    batch_id: BatchArgument, url: UrlOption = DEFAULT_URL, key: KeyOption = ""
) -> None:
    """Delete a batch; a running one stops, and what it has done stays done."""
    with Connection(url, key) as connection:
        connection.delete(f"/batches/{as_segment(batch_id)}")
    say(f"Batch {printable(batch_id)} was deleted.")


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    """The file, or a copy of standard input: a request may have to be sent twice."""
    if file == Path("-"):
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
            yield copy
        return
    if not file.is_file():
        message = f"there is no file {file}"
        raise typer.BadParameter(message, param_hint="FILE.json")
    with file.open("rb") as body:
        yield body


def _summed_up(archive: IO[bytes]) -> Tally:
    tally = Tally()
    for result in read_results(archive):
        tally.add(result)
    say(f"{tally.succeeded_count} operations succeeded, {tally.errored_count} errored.", "bold")
    tally.show_failures()
    return tally
