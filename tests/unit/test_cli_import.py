"""The batch that an import sends, and the mapping that it writes."""

import csv
import io
import json
from pathlib import Path

import pytest

from batchway.cli.contacts_csv import Contact
from batchway.cli.import_csv import (
    Import,
    build_operation,
    escape_cell,
    write_mapping,
    write_request,
)
from batchway.cli.results import Result
from batchway.cli.terminal import CommandError

ANN = Contact("7", "Ann@Example.com", "", ("news",), {"FNAME": "Ann"})


def test_a_contact_is_added_with_tags_and_merge_fields() -> None:
    """Without a status the contact is subscribed; the body is JSON in a string."""
    made = build_operation(ANN, "a1b2c3d4e5", update_existing=False)

    assert ("POST", "/lists/a1b2c3d4e5/members", "7") == (made.method, made.path, made.operation_id)
    expected = {
        "email_address": "Ann@Example.com",
        "status": "subscribed",
        "merge_fields": {"FNAME": "Ann"},
        "tags": ["news"],
    }
    assert expected == json.loads(made.body)


def test_an_update_keeps_the_status_of_members() -> None:
    """Only new contacts get a status; the path names the MD5 of the lower-cased address."""
    contact = Contact("7", "Ann@Example.com", "pending", ("news",), {})

    made = build_operation(contact, "a1b2c3d4e5", update_existing=True)

    assert "PUT" == made.method
    assert "/lists/a1b2c3d4e5/members/257c57037d384ae37ea27a07e8a01665" == made.path
    assert {"email_address": "Ann@Example.com", "status_if_new": "pending"} == json.loads(made.body)


def test_a_list_id_cannot_change_the_path() -> None:
    """The value of --list is always one segment of the path."""
    made = build_operation(ANN, "../x?", update_existing=False)

    assert "/lists/..%2Fx%3F/members" == made.path


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("=1+1", "'=1+1"),
        ("+49", "'+49"),
        ("-1", "'-1"),
        ("@SUM", "'@SUM"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("ann@example.com", "ann@example.com"),
        (42, "42"),
        ("", ""),
    ],
)
def test_no_cell_becomes_a_formula(value: object, expected: str) -> None:
    """A spreadsheet shows each cell as text."""
    assert expected == escape_cell(value)


def member(operation_id: str, **changes: object) -> Result:
    """Return the result of a contact that was added."""
    body = {"id": "hash", "email_address": "a@example.com", "web_id": 12, "more": {}, **changes}
    return Result(200, operation_id, json.dumps(body))


def test_the_mapping_has_the_added_contacts(tmp_path: Path) -> None:
    """The mapping has a row for each success, and no temporary file stays."""
    path = tmp_path / "out.csv"
    path.write_text("an older one")
    failed = Result(400, "2", '{"title": "Member Exists"}')

    tally = write_mapping([member("=1"), failed, member("3")], path)

    assert (2, 1) == (tally.succeeded_count, tally.errored_count)
    expected = [
        ["id", "email_address", "web_id", "subscriber_hash"],
        ["'=1", "a@example.com", "12", "hash"],
        ["3", "a@example.com", "12", "hash"],
    ]
    assert expected == list(csv.reader(io.StringIO(path.read_text())))
    assert [path] == list(tmp_path.iterdir())


def test_an_older_mapping_stays_if_no_contact_was_added(tmp_path: Path) -> None:
    """An import that adds no contact keeps the existing mapping."""
    path = tmp_path / "out.csv"
    path.write_text("an older one")

    write_mapping([Result(400, "2", "{}")], path)

    assert "an older one" == path.read_text()
    assert [path] == list(tmp_path.iterdir())


def test_a_success_that_is_no_member_is_an_error(tmp_path: Path) -> None:
    """A result that is not a member is an error, and no mapping is written."""
    path = tmp_path / "out.csv"

    with pytest.raises(CommandError, match="operation 5 is not a member"):
        write_mapping([member("3"), Result(200, "5", "{}")], path)

    assert [] == list(tmp_path.iterdir())


def test_the_request_is_one_batch(tmp_path: Path) -> None:
    """All contacts are in one list of operations."""
    wanted = Import(tmp_path / "x.csv", "a1b2c3d4e5", tmp_path / "y.csv")
    file = io.BytesIO()

    assert 3 == write_request([ANN] * 3, wanted, file)
    assert 3 == len(json.loads(file.getvalue())["operations"])
