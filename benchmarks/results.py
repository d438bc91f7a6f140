"""The results: saved as JSON, row by row, and written as a table."""

import statistics
from pathlib import Path

import chart
import msgspec
from measuring import RATE, Line
from surroundings import Surroundings

HERE = Path(__file__).parent
_KEPT = HERE / "results.json"
_TABLE = HERE / "RESULTS.md"
_WRITTEN_PART = "<!-- The text below is not generated. -->"
_RATE_ROWS = ("1", "2", "3", "4")
_SPEED_PICTURE = "speed.svg"
_GROWTH_PICTURE = "growth.svg"


class RowResult(msgspec.Struct, frozen=True):
    """The values of one row, with their time and machine."""

    title: str
    lines: list[Line]
    skipped: str
    rounds: int
    seconds: float
    command: str
    surroundings: Surroundings


Results = dict[str, RowResult]  # by the number of the row


def load() -> Results:
    """Return all saved results, in the order of the rows."""
    if not _KEPT.exists():
        return {}
    return msgspec.json.decode(_KEPT.read_bytes(), type=Results)


def save(results: Results) -> None:
    """Write the JSON, the table and the pictures."""
    ordered = {number: results[number] for number in sorted(results, key=int)}
    _KEPT.write_bytes(msgspec.json.format(msgspec.json.encode(ordered), indent=1) + b"\n")
    pictures = _pictures(ordered)
    _TABLE.write_text("\n".join(_text(ordered, pictures)) + "\n\n" + _read_written_part())


def _read_written_part() -> str:
    _, mark, after = (_TABLE.read_text() if _TABLE.exists() else "").partition(_WRITTEN_PART)
    return f"{_WRITTEN_PART}{after}" if mark else f"{_WRITTEN_PART}\n"


def _text(results: Results, pictures: dict[str, str]) -> list[str]:
    head = [
        "# Results",
        "",
        "Written by `make bench`; [README.md](README.md) says what each row measures. Absolute",
        "figures belong to the machine: read the ratios.",
        "",
        *(f"![{alt}]({name})" for name, alt in pictures.items()),
        "",
        "| # | what | median (min to max) | compared with | ratio | aim | reached |",
        "|---|---|---|---|---|---|---|",
    ]
    for number, row in results.items():
        head.extend(_rows(number, row))
    return [*head, "", *_notes(results), "", *_runs(results)]


def _rows(number: str, row: RowResult) -> list[str]:
    if row.skipped:
        return [f"| {number} | {row.title} | **skipped: {row.skipped}** | | | | |"]
    return [f"| {number} | {' | '.join(cells(line))} |" for line in row.lines]


def cells(line: Line) -> list[str]:
    """Return the cells of a line: what, median, compared with, ratio, aim, reached."""
    against = f"{line.against}: {spread(line.against_values, line.unit)}" if line.against else ""
    reached = {True: "yes", False: "**no**", None: ""}[line.is_reached]
    return [
        line.what,
        spread(line.values, line.unit),
        against,
        f"{figure(line.ratio)}" if line.ratio is not None else "",
        line.aim.text if line.aim else "",
        reached,
    ]


def spread(values: list[float], unit: str) -> str:
    """Return the median with minimum and maximum."""
    middle = figure(statistics.median(values))
    return f"{middle} {unit} ({figure(min(values))} to {figure(max(values))})"


def figure(value: float) -> str:
    """Return a number with its significant digits."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 3
    return f"{value:,.{digits}f}"


def _notes(results: Results) -> list[str]:
    return [
        f"- Row {number}, {line.what}: {line.note}"
        for number, row in results.items()
        for line in row.lines
        if line.note
    ]


def _runs(results: Results) -> list[str]:
    """Return where the rows were measured, with the rows of one run together."""
    together: dict[tuple[Surroundings, str, int], list[str]] = {}
    for number, row in results.items():
        together.setdefault((row.surroundings, row.command, row.rounds), []).append(number)
    lines = ["## Measured", ""]
    for (where, command, rounds), numbers in together.items():
        which = ", ".join(numbers)
        lines += [
            f"- Rows {which}: `{command}`, {rounds} rounds, {where.date}, commit {where.commit}.",
            f"  {where.machine}; {where.versions}; {where.settings}.",
        ]
    return lines


def _pictures(results: Results) -> dict[str, str]:
    """Write the pictures for which there are results, and return their texts by file name."""
    written = {}
    bars = _bars(results)
    if bars:
        alt = "Operations per second, Batchway and what it is compared with"
        (HERE / _SPEED_PICTURE).write_text(chart.bars(alt, bars))
        written[_SPEED_PICTURE] = alt
    growth = results.get("8")
    points = [(line.size, line.values) for line in growth.lines] if growth else []
    if len(points) > 1:
        alt = "Microseconds per operation, by the number of operations in the batch"
        (HERE / _GROWTH_PICTURE).write_text(chart.curve(alt, points))
        written[_GROWTH_PICTURE] = alt
    return written


def _bars(results: Results) -> list[chart.Bar]:
    """Return the bars of row 1, and of each contestant of the first rows once."""
    ours = results["1"].lines if "1" in results else []
    bars = [chart.Bar(f"Batchway: {line.what}", line.values, is_ours=True) for line in ours]
    seen = set()
    for number in _RATE_ROWS:
        for line in results[number].lines if number in results else []:
            if line.unit == RATE and line.against not in seen:
                seen.add(line.against)
                bars.append(chart.Bar(line.against, line.against_values))
    return bars
