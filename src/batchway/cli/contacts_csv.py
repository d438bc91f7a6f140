"""Reads contacts from a CSV file, line by line. An error names the line."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from batchway.cli.terminal import CommandError, printable

STATUS_DEFAULT = "subscribed"
LINE_BYTES_MAX = 1024 * 1024
TAG_SEPARATOR = ";"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Contact(msgspec.Struct, frozen=True):
    """One row of the file. Spaces around the cells are removed."""

    id: str
    email_address: str
    status: str
    tags: tuple[str, ...]
    merge_fields: dict[str, Any]


def _column_option(name: str, meaning: str) -> Any:  # noqa: ANN401 - Typer's own type
    return typer.Option(
        f"--{name}-column",
        envvar=f"BATCHWAY_{name.replace('-', '_').upper()}_COLUMN",
        metavar="NAME",
        help=meaning,
    )


@dataclass(frozen=True)
class Columns:
    """Options that name the columns with a special meaning."""

    id: Annotated[
        str, _column_option("id", "Column of your database's id; it becomes the operation_id.")
    ] = "id"
    email: Annotated[str, _column_option("email", "Column of the email address.")] = "email"
    status: Annotated[
        str, _column_option("status", f"Column of the status; empty means {STATUS_DEFAULT}.")
    ] = "status"
    tags: Annotated[str, _column_option("tags", "Column of the tags, separated by semicolons.")] = (
        "tags"
    )
    first_name: Annotated[
        str, _column_option("first-name", "Column for the merge field FNAME.")
    ] = "first_name"
    last_name: Annotated[str, _column_option("last-name", "Column for the merge field LNAME.")] = (
        "last_name"
    )


@dataclass(frozen=True)
class MergeColumn:
    """A column that sets a merge field of the list."""

    place: int
    tag: str
    is_number: bool


@dataclass(frozen=True)
class Layout:
    """The meaning of each place in a row."""

    width: int
    id: int
    email: int
    status: int | None
    tags: int | None
    merge: tuple[MergeColumn, ...]
    ignored: tuple[str, ...]


class ContactsFile:
    """A CSV file of contacts. It can be read once."""

    def __init__(
        self, path: Path, columns: Columns, merge_types: Mapping[str, str], delimiter: str = ","
    ) -> None:
        """`merge_types`: the type of each merge field of the list, by its tag."""
        self._path = path
        self._rows = _read_rows(path, delimiter)
        _, header = next(self._rows, (0, []))
        self.layout = _build_layout(path, [name.strip() for name in header], columns, merge_types)

    def __iter__(self) -> Iterator[Contact]:
        for line, row in self._rows:
            if len(row) != self.layout.width:
                mistake = f"has {len(row)} cells, but the first line has {self.layout.width}"
                raise _build_error(self._path, line, mistake)
            contact = _build_contact(row, self.layout)
            if not contact.id:
                raise _build_error(self._path, line, "has no id, by which its result is found")
            yield contact


def _read_rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank, with the number of the line in which it ends."""
    reader = csv.reader(_read_lines(path), delimiter=delimiter, strict=True)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise _build_error(path, reader.line_num, f"is not valid CSV ({error})") from None
        if row is None:
            return
        if any(cell.strip() for cell in row):
            yield reader.line_num, row


def _read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of the file, decoded one by one, so that an error can name the line."""
    with path.open("rb") as file:
        number = 0
        while data := file.readline(LINE_BYTES_MAX):
            number += 1
            if number == 1:
                data = data.removeprefix(_BYTE_ORDER_MARK)
            if len(data) >= LINE_BYTES_MAX:
                raise _build_error(path, number, f"has more than {LINE_BYTES_MAX} bytes")
            try:
                yield data.decode()
            except UnicodeDecodeError as error:
                raise _build_error(path, number, f"is not UTF-8 ({error.reason})") from None


def _build_layout(
    path: Path, header: Sequence[str], columns: Columns, merge_types: Mapping[str, str]
) -> Layout:
    _check_header(path, header, columns)
    places = {name: place for place, name in enumerate(header)}
    named = {columns.id, columns.email, columns.status, columns.tags}
    tags = {columns.first_name: "FNAME", columns.last_name: "LNAME"}
    merge: dict[str, MergeColumn] = {}
    ignored = []
    for name in (each for each in header if each not in named):
        tag = tags.get(name, name.upper())
        # A postal address is an object with several fields, which one cell cannot contain.
        if tag in merge or merge_types.get(tag, "address") == "address":
            ignored.append(name)
        else:
            merge[tag] = MergeColumn(places[name], tag, merge_types[tag] == "number")
    return Layout(
        width=len(header),
        id=places[columns.id],
        email=places[columns.email],
        status=places.get(columns.status),
        tags=places.get(columns.tags),
        merge=tuple(merge.values()),
        ignored=tuple(ignored),
    )


def _check_header(path: Path, header: Sequence[str], columns: Columns) -> None:
    if not header:
        message = f"{path} is empty."
        raise CommandError(message, "Its first line must name the columns, such as: id,email")
    usual = Columns()
    for option in Columns.__dataclass_fields__:
        name = getattr(columns, option)
        is_needed = option in {"id", "email"} or name != getattr(usual, option)
        if is_needed and name not in header:
            raise _build_column_error(path, header, name, option)
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise _build_error(path, 1, f"has a column name twice: {printable(', '.join(twice))}")


def _build_column_error(path: Path, header: Sequence[str], name: str, option: str) -> CommandError:
    message = f"{path} has no column {name!r}; it has: {printable(', '.join(header))}"
    if len(header) == 1:
        return CommandError(message, "If its cells are not separated by commas, use --delimiter.")
    return CommandError(message, f"Choose another column with --{option.replace('_', '-')}-column.")


def _build_contact(row: Sequence[str], layout: Layout) -> Contact:
    return Contact(
        id=row[layout.id].strip(),
        email_address=row[layout.email].strip(),
        status="" if layout.status is None else row[layout.status].strip(),
        tags=() if layout.tags is None else _split_tags(row[layout.tags]),
        merge_fields=_build_merge_fields(row, layout.merge),
    )


def _split_tags(cell: str) -> tuple[str, ...]:
    names = (name.strip() for name in cell.split(TAG_SEPARATOR))
    return tuple(dict.fromkeys(name for name in names if name))


def _build_merge_fields(row: Sequence[str], columns: Sequence[MergeColumn]) -> dict[str, Any]:
    """Return the merge fields of a row. An empty cell sets none, so an existing value is kept."""
    cells = ((column, row[column.place].strip()) for column in columns)
    return {
        column.tag: _parse_number(cell) if column.is_number else cell
        for column, cell in cells
        if cell
    }


def _parse_number(cell: str) -> int | float | str:
    """Return the number or, if it is not one, the text. Then the server reports the mistake."""
    try:
        number = msgspec.json.decode(cell)
    except msgspec.DecodeError:
        return cell
    return number if isinstance(number, int | float) and not isinstance(number, bool) else cell


def _build_error(path: Path, line: int, mistake: str) -> CommandError:
    message = f"{path}, line {line}, {mistake}."
    return CommandError(message, "Nothing was sent. Correct the file and import it again.")
