"""`batchway batches`: submit, follow, look into, retry, cancel and delete batches."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated

import msgspec
import typer

from batchway import limits
from batchway.cli import operations
from batchway.cli.connection import JSON, Connection, advice, as_segment
from batchway.cli.options import (
    DEFAULT_URL,
    BatchArgument,
    CountOption,
    KeyOption,
    OffsetOption,
    QuietOption,
    UrlOption,
)
from batchway.cli.results import Tally, download, read_results, replace_file, unpack
from batchway.cli.terminal import printable, say, show_rest, table
from batchway.cli.watching import (
    Batch,
    ErrorGroup,
    Pace,
    WatchOption,
    find_batch,
    show_groups,
    tell_accepted,
    watch_and_tell,
)

COUNT_DEFAULT = 20
ARCHIVE_NAME = "results.tar.gz"
NDJSON = "application/x-ndjson"
NDJSON_SUFFIX = ".ndjson"
BAD_REQUEST, CONFLICT = 400, 409

SUBMIT_EXAMPLES = """Examples:

  batchway batches submit operations.json --watch

  batchway batches submit operations.ndjson --validate-only

  batchway batches submit operations.json --idempotency-key night-of-2026-03-01

  echo '{"operations": [{"method": "GET", "path": "/lists"}]}' | batchway batches submit -"""
LIST_EXAMPLES = """Examples:

  batchway batches list

  batchway batches list --count 100 | grep started"""
WATCH_EXAMPLES = "Example:\n\n  batchway batches watch 5cfa0d22b8"
RESULTS_EXAMPLES = """Examples:

  batchway batches results 5cfa0d22b8

  batchway batches results 5cfa0d22b8 --out results"""
CANCEL_EXAMPLES = """Examples:

  batchway batches cancel 5cfa0d22b8

  batchway batches cancel 5cfa0d22b8 --watch"""
DELETE_EXAMPLES = "Example:\n\n  batchway batches delete 5cfa0d22b8"


class Batches(msgspec.Struct, frozen=True):
    """A page of batches."""

    batches: list[Batch]
    total_items: int


class Validation(msgspec.Struct, frozen=True):
    """What would become of a batch."""

    valid: bool
    total_operations: int
    checked_operations: int
    errored_operations: int
    groups: list[ErrorGroup]


def register(app: typer.Typer) -> None:
    """Add `batchway batches`."""
    batches = typer.Typer(
        no_args_is_help=True, help="Submit, follow, look into and delete batches."
    )
    batches.command("submit", epilog=SUBMIT_EXAMPLES)(submit_command)
    batches.command("list", epilog=LIST_EXAMPLES)(list_command)
    batches.command("watch", epilog=WATCH_EXAMPLES)(watch_command)
    batches.command("results", epilog=RESULTS_EXAMPLES)(results_command)
    operations.add_to(batches)
    batches.command("cancel", epilog=CANCEL_EXAMPLES)(cancel_command)
    batches.command("delete", epilog=DELETE_EXAMPLES)(delete_command)
    app.add_typer(batches, name="batches")


def submit_command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|-",
            help='A JSON object {"operations": …} as POST /3.0/batches wants it, or a file .ndjson '
            "with an operation on each line; - reads JSON from standard input.",
        ),
    ],
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = "",
    follow: WatchOption = False,
    validate_only: Annotated[
        bool,
        typer.Option(
            "--validate-only",
            envvar="BATCHWAY_VALIDATE_ONLY",
            help="Only try what would fail; nothing is kept. Ends with 1 if something would.",
        ),
    ] = False,
    idempotency_key: Annotated[
        str,
        typer.Option(
            envvar="BATCHWAY_IDEMPOTENCY_KEY",
            metavar="TEXT",
            help="Submitted again with the same text within a day, the file makes no new batch.",
        ),
    ] = "",
    quiet: QuietOption = False,
) -> None:
    """Submit a batch."""
    _check_submit(idempotency_key, follow=follow, validate_only=validate_only)
    media_type = NDJSON if file.suffix.lower() == NDJSON_SUFFIX else JSON
    with Connection(url, key) as connection, _opened(file) as body:
        if validate_only:
            _validate(connection, body, media_type, quiet=quiet)
            return
        pace = Pace.since_now()
        with advice({CONFLICT: "Give another --idempotency-key, or the same file as before."}):
            batch = connection.post(
                "/batches", body, Batch, media_type=media_type, idempotency_key=idempotency_key
            )
        if not quiet:
            say(f"Batch {batch.id} was accepted with {batch.total_operations} operations.")
        tell_accepted(connection, batch, pace, follow=follow, quiet=quiet)


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
        watch_and_tell(connection, batch_id)


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


def cancel_command(
    batch_id: BatchArgument,
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = "",
    follow: WatchOption = False,
) -> None:
    """End a batch early; what it has done stays done, and its results are kept.

    Each operation that was not done gets the status code 499.
    """
    with Connection(url, key) as connection:
        batch = connection.post(f"/batches/{as_segment(batch_id)}/actions/cancel", b"", Batch)
        if batch.is_finished:
            say(f"Batch {batch.id} is finished: batchway batches results {batch.id}")
            return
        done = f"{batch.finished_operations} of {batch.total_operations} operations"
        say(f"Batch {batch.id} is being cancelled; {done} were done.")
        if follow:
            watch_and_tell(connection, batch.id)


def delete_command(
    batch_id: BatchArgument, url: UrlOption = DEFAULT_URL, key: KeyOption = ""
) -> None:
    """Delete a batch; a running one stops, and what it has done stays done."""
    with Connection(url, key) as connection:
        connection.delete(f"/batches/{as_segment(batch_id)}")
    say(f"Batch {printable(batch_id)} was deleted.")


def _check_submit(idempotency_key: str, *, follow: bool, validate_only: bool) -> None:
    most = limits.idempotency_key_characters_max
    is_plain = idempotency_key.isascii() and idempotency_key.isprintable()
    if len(idempotency_key) > most or not is_plain:
        message = f"must be at most {most} printable ASCII characters"
        raise typer.BadParameter(message, param_hint="--idempotency-key")
    if validate_only and (follow or idempotency_key):
        message = "keeps nothing: give it without --watch and --idempotency-key"
        raise typer.BadParameter(message, param_hint="--validate-only")


def _validate(connection: Connection, body: IO[bytes], media_type: str, *, quiet: bool) -> None:
    found = connection.post(
        "/batches", body, Validation, params={"validate_only": "true"}, media_type=media_type
    )
    if not quiet:
        show_groups(found.groups)
        tried = f"{found.checked_operations} of {found.total_operations} operations were tried"
        say(f"{tried}, {found.errored_operations} would fail. Nothing was kept.")
    if not found.valid:
        raise typer.Exit(1)


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
        raise typer.BadParameter(message, param_hint="FILE")
    with file.open("rb") as body:
        yield body


def _summed_up(archive: IO[bytes]) -> Tally:
    tally = Tally()
    for result in read_results(archive):
        tally.add(result)
    say(f"{tally.succeeded_count} operations succeeded, {tally.errored_count} errored.", "bold")
    tally.show_failures()
    return tally
