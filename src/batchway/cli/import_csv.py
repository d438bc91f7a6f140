"""`batchway import`: import a CSV file of contacts as one batch, and write a mapping of ids."""

import csv
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated, Any

import msgspec
import typer

from batchway.cli.commands import add_command
from batchway.cli.connection import Connection, Params, quote_segment
from batchway.cli.contacts_csv import STATUS_DEFAULT, Columns, Contact, ContactsFile
from batchway.cli.following import find_batch
from batchway.cli.options import ServerOptions
from batchway.cli.progress import Pace
from batchway.cli.results import Result, Tally, download_archive, read_results
from batchway.cli.terminal import CommandError, print_note, print_text, printable
from batchway.cli.watching import watch_batch
from batchway.kit.ids import compute_subscriber_hash
from batchway.surfaces.mailchimp.bodies.batches import BatchBody

MERGE_FIELDS_PARAMS: Params = {"count": 1_000, "fields": "merge_fields.tag,merge_fields.type"}
MAPPING_HEADER = ("id", "email_address", "web_id", "subscriber_hash")
# A spreadsheet reads a cell that begins with one of these as a formula.
FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Import:
    """What to import, and into which list."""

    file: Path
    list_id: str
    mapping: Path
    columns: Columns = field(default_factory=Columns)
    delimiter: str = ","
    update_existing: bool = False


@dataclass(frozen=True)
class ImportReport:
    """The batch of an import, and a summary of its results."""

    batch: BatchBody
    tally: Tally


class MergeField(msgspec.Struct, frozen=True):
    """The part of a merge field that an import needs."""

    tag: str
    type: str


class MergeFields(msgspec.Struct, frozen=True):
    """The reply to GET /lists/{list_id}/merge-fields."""

    merge_fields: list[MergeField]


class Member(msgspec.Struct, frozen=True):
    """The part of a member that the mapping contains. `id` is the subscriber_hash."""

    id: str
    email_address: str
    web_id: int


class Operation(msgspec.Struct, frozen=True):
    """One operation of a batch, as the API expects it."""

    method: str
    path: str
    operation_id: str
    body: str


FileArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FILE.csv",
        exists=True,
        dir_okay=False,
        readable=True,
        help="Contacts in UTF-8. The first line names the columns.",
    ),
]
ListOption = Annotated[
    str, typer.Option("--list", envvar="BATCHWAY_LIST_ID", help="Id of the list.")
]
MappingOption = Annotated[
    Path | None,
    typer.Option(
        envvar="BATCHWAY_MAPPING",
        metavar="OUT.csv",
        dir_okay=False,
        help="File for the id, email_address, web_id and subscriber_hash of each contact that was "
        "added. An existing file is replaced.",
        show_default="FILE.mapping.csv",
    ),
]
UpdateOption = Annotated[
    bool,
    typer.Option(
        "--update-existing",
        envvar="BATCHWAY_UPDATE_EXISTING",
        help="Also update contacts that are in the list already (PUT). They keep their status.",
    ),
]
DelimiterOption = Annotated[
    str,
    typer.Option(
        envvar="BATCHWAY_DELIMITER", help="Character that separates cells, or the word tab."
    ),
]


def register(app: typer.Typer) -> None:
    """Add `batchway import`."""
    add_command(
        app,
        "import",
        import_command,
        "batchway import contacts.csv --list a1b2c3d4e5",
        "batchway import crm.csv --list a1b2c3d4e5 --id-column crm_id --email-column mail",
        "batchway import contacts.csv --list a1b2c3d4e5 --update-existing --mapping web_ids.csv",
    )


def import_command(
    *,
    file: FileArgument,
    list_id: ListOption,
    server: ServerOptions,
    mapping: MappingOption = None,
    update_existing: UpdateOption = False,
    columns: Columns,
    delimiter: DelimiterOption = ",",
) -> None:
    """Add the contacts of a CSV file to a list, as one batch.

    Each other column sets the merge field whose tag is the name of the column in upper case.
    """
    wanted = Import(
        file=file,
        list_id=list_id,
        mapping=mapping or file.with_suffix(".mapping.csv"),
        columns=columns,
        delimiter=_parse_delimiter(delimiter),
        update_existing=update_existing,
    )
    with server.connect() as connection:
        report = import_contacts(connection, wanted)
    if not report.tally.succeeded_count:
        raise typer.Exit(1)


def import_contacts(connection: Connection, wanted: Import) -> ImportReport:
    """Import contacts, and print progress and results. The mapping is written if any succeeded."""
    contacts = _open_contacts(connection, wanted)
    with tempfile.TemporaryFile() as request:
        count = write_request(contacts, wanted, request)
        if not count:
            message = f"{wanted.file} has a line with the names of columns, but no contacts."
            raise CommandError(message)
        print_text(f"Sending {count} contacts of {wanted.file} in one request …")
        pace = Pace.start()
        batch = connection.post("/batches", request, BatchBody)
    print_text(f"Batch {batch.id} was accepted.")
    watch_batch(connection, batch.id, pace)
    # The batch may have taken longer than the ten minutes for which an archive link is valid.
    batch = find_batch(connection, batch.id)
    with tempfile.TemporaryFile() as archive:
        download_archive(connection, batch, archive)
        tally = write_mapping(read_results(archive), wanted.mapping)
    _print_report(tally, wanted)
    tally.check_complete(batch)
    return ImportReport(batch, tally)


def build_operation(contact: Contact, list_id: str, *, update_existing: bool) -> Operation:
    """Return the operation that adds a contact or, with `update_existing`, adds or updates it."""
    body: dict[str, Any] = {"email_address": contact.email_address}
    path = f"/lists/{quote_segment(list_id)}/members"
    # Only a new contact gets the status in the file. An update must not subscribe a contact that
    # has unsubscribed since the file was made.
    body["status_if_new" if update_existing else "status"] = contact.status or STATUS_DEFAULT
    if contact.merge_fields:
        body["merge_fields"] = contact.merge_fields
    if contact.tags and not update_existing:
        body["tags"] = contact.tags
    if update_existing:
        path = f"{path}/{compute_subscriber_hash(contact.email_address)}"
    return Operation(
        method="PUT" if update_existing else "POST",
        path=path,
        operation_id=contact.id,
        body=msgspec.json.encode(body).decode(),
    )


def escape_cell(value: object) -> str:
    """Return the value as a cell that a spreadsheet does not read as a formula."""
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA_BEGINNINGS) else text


def _open_contacts(connection: Connection, wanted: Import) -> ContactsFile:
    path = f"/lists/{quote_segment(wanted.list_id)}/merge-fields"
    found = connection.get(path, MergeFields, MERGE_FIELDS_PARAMS)
    types = {each.tag: each.type for each in found.merge_fields}
    contacts = ContactsFile(wanted.file, wanted.columns, types, wanted.delimiter)
    if contacts.layout.ignored:
        names = printable(", ".join(contacts.layout.ignored))
        print_note(f"Ignored columns, because the list has no merge field for them: {names}")
    if wanted.update_existing and contacts.layout.tags is not None:
        print_note(
            "Tags are not sent with --update-existing: the API accepts them only for new contacts."
        )
    return contacts


def write_request(contacts: Iterable[Contact], wanted: Import, file: IO[bytes]) -> int:
    """Write the body of POST /batches, and return the number of operations."""
    count = 0
    file.write(b'{"operations":[')
    for count, contact in enumerate(contacts, start=1):
        operation = build_operation(contact, wanted.list_id, update_existing=wanted.update_existing)
        file.write(b"," * (count > 1) + msgspec.json.encode(operation))
    file.write(b"]}")
    return count


def write_mapping(results: Iterable[Result], path: Path) -> Tally:
    """Count the results, and write the mapping of the contacts that were added.

    If none was added, no file is created.
    """
    tally = Tally()
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(MAPPING_HEADER)
            for result in results:
                tally.add(result)
                if not result.is_errored:
                    writer.writerow(_build_mapping_row(result))
        if tally.succeeded_count:
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return tally


def _build_mapping_row(result: Result) -> list[str]:
    try:
        member = msgspec.json.decode(result.response, type=Member)
    except msgspec.DecodeError as error:
        message = (
            f"The result of operation {printable(result.operation_id)} is not a member: {error}"
        )
        raise CommandError(message) from None
    cells = (result.operation_id, member.email_address, member.web_id, member.id)
    return [escape_cell(cell) for cell in cells]


def _print_report(tally: Tally, wanted: Import) -> None:
    verb = "added or updated" if wanted.update_existing else "added"
    print_text(
        f"{tally.succeeded_count} contacts were {verb}, {tally.errored_count} failed.", "bold"
    )
    tally.print_failures()
    if tally.succeeded_count:
        print_text(f"Mapping of ids to web_ids: {wanted.mapping}")


def _parse_delimiter(delimiter: str) -> str:
    text = "\t" if delimiter in {"\\t", "tab"} else delimiter
    if len(text) != 1 or text in '"\r\n':
        message = "must be one character, or the word tab"
        raise typer.BadParameter(message, param_hint="--delimiter")
    return text
