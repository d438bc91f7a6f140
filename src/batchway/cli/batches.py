"""`batchway batches`: submit, list, watch, cancel and delete batches, and get their results."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import IO, Annotated

import typer

from batchway import limits
from batchway.cli import operations
from batchway.cli.commands import add_command
from batchway.cli.connection import JSON, NDJSON, Connection, quote_segment
from batchway.cli.error_groups import print_error_groups
from batchway.cli.following import build_batch_path, find_batch, is_finished
from batchway.cli.options import (
    BatchArgument,
    PageOptions,
    QuietOption,
    ServerOptions,
    WatchOption,
)
from batchway.cli.progress import Pace
from batchway.cli.refusals import advise
from batchway.cli.results import Tally, download_archive, read_results, replace_file, unpack_archive
from batchway.cli.terminal import print_page, print_text, printable
from batchway.cli.watching import watch_accepted, watch_with_advice
from batchway.surfaces.mailchimp.bodies.batches import BatchBody, BatchList, Validation

ARCHIVE_NAME = "results.tar.gz"
NDJSON_SUFFIX = ".ndjson"


def register(app: typer.Typer) -> None:
    """Add `batchway batches`."""
    batches = typer.Typer(
        no_args_is_help=True, help="Submit batches, follow them, and get their results."
    )
    add_command(
        batches,
        "submit",
        submit_command,
        "batchway batches submit operations.json --watch",
        "batchway batches submit operations.ndjson --validate-only",
        "batchway batches submit operations.json --idempotency-key night-of-2026-03-01",
        """echo '{"operations": [{"method": "GET", "path": "/lists"}]}' | """
        "batchway batches submit -",
    )
    add_command(
        batches,
        "list",
        list_command,
        "batchway batches list",
        "batchway batches list --count 100 | grep started",
    )
    add_command(batches, "watch", watch_command, "batchway batches watch 5cfa0d22b8")
    add_command(
        batches,
        "results",
        results_command,
        "batchway batches results 5cfa0d22b8",
        "batchway batches results 5cfa0d22b8 --out results",
    )
    operations.register(batches)
    add_command(
        batches,
        "cancel",
        cancel_command,
        "batchway batches cancel 5cfa0d22b8",
        "batchway batches cancel 5cfa0d22b8 --watch",
    )
    add_command(batches, "delete", delete_command, "batchway batches delete 5cfa0d22b8")
    app.add_typer(batches, name="batches")


def submit_command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|-",
            help='A JSON file, {"operations": …}, as POST /3.0/batches expects it; or a .ndjson '
            "file with one operation per line. - reads JSON from standard input.",
        ),
    ],
    server: ServerOptions,
    follow: WatchOption = False,
    validate_only: Annotated[
        bool,
        typer.Option(
            "--validate-only",
            envvar="BATCHWAY_VALIDATE_ONLY",
            help="Only check which operations would fail; keep nothing. Exits with 1 if any would.",
        ),
    ] = False,
    idempotency_key: Annotated[
        str,
        typer.Option(
            envvar="BATCHWAY_IDEMPOTENCY_KEY",
            metavar="TEXT",
            help="Within a day, the same file with the same text is not submitted a second time.",
        ),
    ] = "",
    quiet: QuietOption = False,
) -> None:
    """Submit a batch."""
    _check_submit(idempotency_key, follow=follow, validate_only=validate_only)
    media_type = NDJSON if file.suffix.lower() == NDJSON_SUFFIX else JSON
    with server.connect() as connection, _open_body(file) as body:
        if validate_only:
            _validate(connection, body, media_type, quiet=quiet)
            return
        pace = Pace.start()
        next_step = "Choose another --idempotency-key, or submit the same file as before."
        with advise({HTTPStatus.CONFLICT: next_step}):
            batch = connection.post(
                "/batches", body, BatchBody, media_type=media_type, idempotency_key=idempotency_key
            )
        if not quiet:
            print_text(f"Batch {batch.id} was accepted with {batch.total_operations} operations.")
        watch_accepted(connection, batch, pace, follow=follow, quiet=quiet)


def list_command(server: ServerOptions, page: PageOptions) -> None:
    """List the batches of the last seven days."""
    with server.connect() as connection:
        found = connection.get("/batches", BatchList, page.params)
    rows = [
        (
            each.id,
            each.status,
            f"{each.finished_operations}/{each.total_operations}",
            each.errored_operations,
            each.submitted_at,
            each.completed_at,
        )
        for each in found.batches
    ]
    columns = ("id", "status", "finished", "errored", "submitted at", "completed at")
    print_page(columns, rows, page.offset, found.total_items)


def watch_command(batch_id: BatchArgument, server: ServerOptions) -> None:
    """Follow a batch until it is finished."""
    with server.connect() as connection:
        watch_with_advice(connection, batch_id)


def results_command(
    batch_id: BatchArgument,
    server: ServerOptions,
    out: Annotated[
        Path | None,
        typer.Option(
            envvar="BATCHWAY_OUT",
            file_okay=False,
            metavar="DIR",
            help="Folder for the archive, which is also unpacked there into JSON files.",
            show_default="./batch-ID, not unpacked",
        ),
    ] = None,
) -> None:
    """Download the results of a finished batch, and print a summary."""
    with server.connect() as connection, tempfile.TemporaryFile() as archive:
        batch = find_batch(connection, batch_id)
        download_archive(connection, batch, archive)
        tally = _summarize(archive)
        folder = out or Path(f"batch-{quote_segment(batch.id)}")
        folder.mkdir(parents=True, exist_ok=True)
        archive.seek(0)
        replace_file(folder / ARCHIVE_NAME, archive)
        print_text(f"Archive: {folder / ARCHIVE_NAME}")
        if out is not None:
            print_text(f"Its {unpack_archive(archive, folder)} files were unpacked into {folder}")
        tally.check_complete(batch)


def cancel_command(
    batch_id: BatchArgument, server: ServerOptions, follow: WatchOption = False
) -> None:
    """Cancel a batch: the operations that have run keep their effect and their results.

    The other operations do not run, and get the status code 499.
    """
    with server.connect() as connection:
        path = f"{build_batch_path(batch_id)}/actions/cancel"
        batch = connection.post(path, b"", BatchBody)
        if is_finished(batch):
            print_text(f"Batch {batch.id} is finished. See: batchway batches results {batch.id}")
            return
        done = f"{batch.finished_operations} of {batch.total_operations} operations"
        print_text(f"Batch {batch.id} is being cancelled; {done} had run.")
        if follow:
            watch_with_advice(connection, batch.id)


def delete_command(batch_id: BatchArgument, server: ServerOptions) -> None:
    """Delete a batch and its results. A running batch stops; what it has done stays done."""
    with server.connect() as connection:
        connection.delete(build_batch_path(batch_id))
    print_text(f"Batch {printable(batch_id)} was deleted.")


def _check_submit(idempotency_key: str, *, follow: bool, validate_only: bool) -> None:
    most = limits.idempotency_key_characters_max
    is_plain = idempotency_key.isascii() and idempotency_key.isprintable()
    if len(idempotency_key) > most or not is_plain:
        message = f"must be at most {most} printable ASCII characters"
        raise typer.BadParameter(message, param_hint="--idempotency-key")
    if validate_only and (follow or idempotency_key):
        message = "keeps nothing, so it cannot be combined with --watch or --idempotency-key"
        raise typer.BadParameter(message, param_hint="--validate-only")


def _validate(connection: Connection, body: IO[bytes], media_type: str, *, quiet: bool) -> None:
    found = connection.post(
        "/batches", body, Validation, params={"validate_only": "true"}, media_type=media_type
    )
    if not quiet:
        print_error_groups(found.groups)
        checked = f"{found.checked_operations} of {found.total_operations} operations were checked"
        print_text(f"{checked}, {found.errored_operations} would fail. Nothing was kept.")
    if not found.valid:
        raise typer.Exit(1)


@contextmanager
def _open_body(file: Path) -> Iterator[IO[bytes]]:
    """Open the file, or a copy of standard input, because a request may be sent more than once."""
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


def _summarize(archive: IO[bytes]) -> Tally:
    tally = Tally()
    for result in read_results(archive):
        tally.add(result)
    print_text(
        f"{tally.succeeded_count} operations succeeded, {tally.errored_count} errored.", "bold"
    )
    tally.print_failures()
    return tally
