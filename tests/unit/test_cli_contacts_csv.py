"""Contacts from a CSV file: what a row means, and which line is wrong."""

from pathlib import Path

import pytest

from batchway.cli.contacts_csv import LINE_BYTES_MAX, Columns, Contact, ContactsFile
from batchway.cli.terminal import CommandError

TYPES = {"FNAME": "text", "LNAME": "text", "PHONE": "phone", "LTV": "number", "ADDRESS": "address"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the file."""
    return tmp_path / "contacts.csv"


def opened(
    path: Path, content: str | bytes, columns: Columns | None = None, delimiter: str = ","
) -> ContactsFile:
    """Return a contacts file with this content."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return ContactsFile(path, columns or Columns(), TYPES, delimiter)


def test_a_row_becomes_a_contact(path: Path) -> None:
    """Names set merge fields, tags are split, and spaces around cells are removed."""
    file = opened(
        path,
        "id,email,first_name,last_name,status,tags\r\n"
        '1001, ann@example.com ,Zoë,"O\'Brien, Jr.",pending,news; spring-fair;;news\r\n',
    )

    expected = Contact(
        id="1001",
        email_address="ann@example.com",
        status="pending",
        tags=("news", "spring-fair"),
        merge_fields={"FNAME": "Zoë", "LNAME": "O'Brien, Jr."},
    )
    assert [expected] == list(file)


def test_other_columns_fill_the_merge_fields_of_their_name(path: Path) -> None:
    """Numbers are sent as numbers, empty cells are left out, and unknown columns are reported."""
    file = opened(
        path,
        "id,email,Phone,ltv,Shoe Size,address,first_name,fname\n"
        "1,a@example.com,555,12.50,44,Street 1,Ann,Anna\n"
        "2,b@example.com,,much,45,Street 2,,Bob\n"
        "3,c@example.com,,true,,,,\n",
    )

    assert ("Shoe Size", "address", "fname") == file.layout.ignored
    expected = [
        {"PHONE": "555", "LTV": 12.5, "FNAME": "Ann"},
        {"LTV": "much"},
        {"LTV": "true"},
    ]
    assert expected == [contact.merge_fields for contact in file]


def test_columns_can_have_other_names(path: Path) -> None:
    """Each option names a column; the default name then has no special meaning."""
    columns = Columns(id="key", email="mail", first_name="given")
    file = opened(path, "key;mail;given;id\n7;a@example.com;Ann;x\n", columns, delimiter=";")

    assert [Contact("7", "a@example.com", "", (), {"FNAME": "Ann"})] == list(file)
    assert ("id",) == file.layout.ignored


def test_a_byte_order_mark_and_blank_lines_are_skipped(path: Path) -> None:
    """A byte order mark and blank lines, which spreadsheets write, are skipped."""
    file = opened(path, b"\xef\xbb\xbfid,email\n\n1,a@example.com\n , \n2,\n\n")

    assert [("1", "a@example.com"), ("2", "")] == [
        (contact.id, contact.email_address) for contact in file
    ]


@pytest.mark.parametrize(
    ("content", "mistake"),
    [
        (b"id,email\n1,a\n2,b,c\n", "line 3, has 3 cells, but the first line has 2"),
        (b'id,email\n1,"two\nlines"\n2\n', "line 4, has 1 cells"),
        (b'id,email\n1,"never closed\n', "line 2, is not valid CSV"),
        (b'id,email\n1,"a"b\n', "line 2, is not valid CSV"),
        (b"id,email\n1,a\n2,\xff\n", "line 3, is not UTF-8"),
        (b"id,email\n,a@example.com\n", "line 2, has no id"),
        (b"id,email,id\n", "line 1, has a column name twice: id"),
        (b"id,email\n1," + b"x" * LINE_BYTES_MAX, "line 2, has more than"),
        (b"id,email\n1," + b"x" * 200_000 + b"\n", "line 2, is not valid CSV"),
        (b"", "is empty"),
        (b"\n \n", "is empty"),
    ],
)
def test_a_mistake_is_named_with_its_line(path: Path, content: bytes, mistake: str) -> None:
    """The line number is right, also after cells that have several lines."""
    with pytest.raises(CommandError, match=mistake):
        list(opened(path, content))


@pytest.mark.parametrize(
    ("columns", "header", "message", "next_step"),
    [
        (Columns(), "id,mail", "no column 'email'; it has: id, mail", "--email-column"),
        (Columns(status="state"), "id,email,status", "no column 'state'", "--status-column"),
        (Columns(), "id;email", "no column 'id'", "--delimiter"),
    ],
)
def test_a_missing_column_is_named_with_its_option(
    path: Path, columns: Columns, header: str, message: str, next_step: str
) -> None:
    """Required columns and those that an option names must be there; others may be missing."""
    with pytest.raises(CommandError, match=message) as caught:
        opened(path, f"{header}\n", columns)

    assert next_step in caught.value.next_step
