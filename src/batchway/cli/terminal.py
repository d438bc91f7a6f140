"""Prints the output of commands: with colours and bars on a terminal, as plain lines elsewhere.

Control characters in data are escaped before they are printed.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from rich.text import Text

from batchway.errors import BatchwayError

OUT = Console(highlight=False, markup=False, emoji=False)
ERR = Console(highlight=False, markup=False, emoji=False, stderr=True)

# C0 and C1 controls, direction marks and overrides, line separators, lone surrogates.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


class CommandError(BatchwayError):
    """Ends a command, and says what went wrong and what the user can do next."""

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.next_step = next_step


def printable(value: object) -> str:
    """Return the value as one line of text in which control characters are escaped."""
    return _UNPRINTABLE.sub(_escape_match, str(value))


def print_text(text: str = "", style: str = "") -> None:
    """Print lines to standard output."""
    _print(OUT, Text(_escape_lines(text), style=style))


def print_note(text: str) -> None:
    """Print a note to standard error."""
    _print(ERR, Text("Note: ", style="yellow").append(_escape_lines(text), style="default"))


def print_error(error: BatchwayError) -> None:
    """Print an error, and what to do next, to standard error."""
    text = _escape_lines(str(error))
    _print(ERR, Text("Error: ", style="bold red").append(text, style="default"))
    if isinstance(error, CommandError) and error.next_step:
        _print(ERR, Text(_escape_lines(error.next_step)))


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Print an error that the block raises, if it has an explanation, and exit with 1."""
    try:
        yield
    except BatchwayError as error:
        print_error(error)
        sys.exit(1)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table. If the output is not a terminal, tabs separate its cells."""
    cells = [[printable(value) for value in row] for row in rows]
    if not OUT.is_terminal:
        for row in [list(columns), *cells]:
            print("\t".join(row))
        return
    drawn = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in cells:
        drawn.add_row(*(Text(cell) for cell in row))
    OUT.print(drawn)


def print_page(
    columns: Sequence[str], rows: Iterable[Sequence[object]], offset: int, total_items: int
) -> None:
    """Print a page of a collection as a table, and how to see the next page if there is one."""
    shown = list(rows)
    print_table(columns, shown)
    next_offset = offset + len(shown)
    if next_offset < total_items:
        print_note(f"{total_items - next_offset} more; see them with --offset {next_offset}")


def tolerate_narrow_encodings() -> None:
    """Escape characters that the terminal's encoding lacks, instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _print(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True)


def _escape_lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.split("\n"))


def _escape_match(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")
