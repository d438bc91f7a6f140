"""What commands print: data cannot steer the terminal, other programs can read tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchway.cli.terminal import (
    CommandError,
    print_error,
    print_page,
    print_table,
    print_text,
    printable,
)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("Zoë 美咲", "Zoë 美咲"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("one\r\ntwo", "one\\r\\ntwo"),
        ("\x9b2J", "\\x9b2J"),
        ("a\u202eb", "a\\u202eb"),
        ("\ud800", "\\ud800"),
        (7, "7"),
    ],
)
def test_control_characters_are_written_as_escapes(data: object, expected: str) -> None:
    """Characters that move the cursor or change colours or the direction are escaped."""
    assert expected == printable(data)


@given(st.text())
def test_printable_text_is_one_line_that_can_be_encoded(text: str) -> None:
    """The text is always one line that can be encoded in UTF-8."""
    shown = printable(text)

    assert [shown] == (shown.splitlines() or [""])
    assert shown == shown.encode().decode()


def test_an_error_says_what_to_do_next(capsys: pytest.CaptureFixture[str]) -> None:
    """The message comes first, the next step on a line of its own, on standard error."""
    print_error(CommandError("No server answers \x1b[0m.", "Start one."))

    captured = capsys.readouterr()
    assert "Error: No server answers \\x1b[0m.\nStart one.\n" == captured.err
    assert not captured.out


def test_a_table_away_from_a_terminal_has_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    """Cells are separated by tabs, and are complete however long they are."""
    print_table(("id", "name"), [("a1", "x" * 200), ("b2", "tab\there [bold]")])

    expected = f"id\tname\na1\t{'x' * 200}\nb2\ttab\\there [bold]\n"
    assert expected == capsys.readouterr().out


def test_lines_are_neither_wrapped_nor_taken_for_markup(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A long line stays one line, and brackets are shown as they are."""
    print_text("[red]" + "word " * 60)

    assert "[red]" + "word " * 60 + "\n" == capsys.readouterr().out


@pytest.mark.parametrize(("shown", "total", "expected"), [(3, 3, ""), (3, 10, "--offset 3")])
def test_a_page_says_whether_there_is_more(
    capsys: pytest.CaptureFixture[str], shown: int, total: int, expected: str
) -> None:
    """Only a page that is not the last one says how to see the next."""
    print_page(("id",), [("a",)] * shown, 0, total)

    captured = capsys.readouterr().err
    assert expected in captured
    assert bool(expected) == bool(captured)
