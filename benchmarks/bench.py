"""Measures Batchway and its alternatives, and writes RESULTS.md.

Examples:
  python benchmarks/bench.py                     all rows, in about 17 minutes
  python benchmarks/bench.py --full              with the rows of a million operations
  python benchmarks/bench.py --rows 1 2 9        some rows; the others keep their results
  python benchmarks/bench.py --rounds 9 --rows 1 more rounds, for a quieter median
  python benchmarks/bench.py --quick             small figures, to see that everything works;
                                                 prints, and writes nothing
  python benchmarks/bench.py --no-run            write the table from the saved results

"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import results
from measuring import Alone, Contestants, Line, Row, Run, Skipped, Together
from results import Results, RowResult
from rich.console import Console
from rich.progress import Progress
from rows import (
    adding,
    call_rates,
    celery_redis,
    fairness,
    growth,
    kinds,
    memory_peaks,
    pocketbase,
    postgresql,
    single_calls,
    small_batches,
    stages,
    waiting_writes,
)
from surroundings import ROOT, get_surroundings

import batchway

ROWS: dict[int, Row] = {
    1: adding.BESIDE_LIMIT,
    2: adding.BESIDE_SINGLE_CALLS,
    3: pocketbase.BESIDE_POCKETBASE,
    4: celery_redis.BESIDE_CELERY,
    5: Alone("the other kinds of operations", kinds.kinds),
    6: Alone("all kinds mixed", kinds.mixed),
    7: Alone("PostgreSQL", postgresql.postgresql),
    8: Alone("growth", growth.growth),
    9: Alone("small batches", small_batches.small_batches),
    10: stages.FINALIZING,
    11: stages.ACCEPTING,
    12: Alone("peak memory", memory_peaks.memory_peaks),
    13: Alone("single calls while a large batch runs", single_calls.single_calls),
    14: Alone("fairness", fairness.fairness),
    15: Alone("writes while a batch changes lists", waiting_writes.waiting_writes),
    16: Alone("single calls", call_rates.call_rates),
}


def main() -> None:
    """Measure the selected rows, and save each one when it is done."""
    options = _options()
    assert Path(batchway.__file__).is_relative_to(ROOT), "another Batchway would be measured"
    console = Console(soft_wrap=True)
    kept = results.load()
    failed = []
    for numbers in _group_rows(options.rows) if options.run else []:
        try:
            measured = _measure_rows(numbers, options, console)
        except Exception:  # the other rows are still measured
            console.print_exception(max_frames=4)
            failed += numbers
            continue
        for number, row in measured.items():
            _show(console, number, row)
            kept = kept | {str(number): row}
        _save(kept, options)
    _save(kept, options)
    if failed:
        sys.exit(f"These rows failed, and keep their former results: {', '.join(map(str, failed))}")


def _options() -> argparse.Namespace:
    summary, _, examples = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--rounds", type=int, help="5 by default, 1 if quick")
    parser.add_argument("--operations", type=int, help="of a batch; 100,000, or 5,000 if quick")
    parser.add_argument(
        "--many", type=int, help="of the batch in rows 13 and 14; 200,000, 1,000,000, or 20,000"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="small figures, and write nothing")
    length.add_argument("--full", action="store_true", help="with the long rows")
    parser.add_argument("--no-run", dest="run", action="store_false", help="only write the table")
    return parser.parse_args()


def _group_rows(numbers: Sequence[int]) -> Iterator[list[int]]:
    """Yield the rows that are measured together."""
    together = [number for number in numbers if isinstance(ROWS[number], Together)]
    if together:
        yield together
    yield from ([number] for number in numbers if number not in together)


def _measure_rows(
    numbers: Sequence[int], options: argparse.Namespace, console: Console
) -> dict[int, RowResult]:
    name = f"rows {', '.join(map(str, numbers))}" if len(numbers) > 1 else f"row {numbers[0]}"
    # Nothing is drawn while something is measured: the progress is shown between the rounds.
    with Progress(console=console, auto_refresh=False, transient=True) as progress:
        task = progress.add_task(name, total=None)

        def show_progress(text: str) -> None:
            progress.update(task, description=f"{name}: {text}", refresh=True)

        run = _run(options, show_progress)
        begin = time.perf_counter()
        found = _get_lines(numbers, run)
        taken = time.perf_counter() - begin
    command = " ".join(["benchmarks/bench.py", *sys.argv[1:]])
    return {
        number: RowResult(
            ROWS[number].title, lines, skipped, run.rounds, taken, command, get_surroundings()
        )
        for number, (lines, skipped) in found.items()
    }


def _get_lines(numbers: Sequence[int], run: Run) -> dict[int, tuple[list[Line], str]]:
    """Return the lines of each row by its number, or why the row is skipped."""
    found: dict[int, tuple[list[Line], str]] = {}
    contestants: Contestants = {}
    together: dict[int, Together] = {}
    for number in numbers:
        row = ROWS[number]
        try:
            if isinstance(row, Alone):
                found[number] = row.measure(run), ""
            else:
                contestants = {**contestants, **row.contestants(run)}
                together[number] = row
        except Skipped as reason:
            found[number] = [], str(reason)
    values = run.alternate(contestants) if together else {}
    return found | {number: (row.lines(run, values), "") for number, row in together.items()}


def _run(options: argparse.Namespace, show_progress: Callable[[str], None]) -> Run:
    operations, many, rounds = 100_000, 200_000, 5
    if options.quick:
        operations, many, rounds = 5_000, 20_000, 1
    elif options.full:
        many = 1_000_000
    return Run(
        operations=options.operations or operations,
        many=options.many or many,
        rounds=options.rounds or rounds,
        is_full=options.full,
        show_progress=show_progress,
    )


def _show(console: Console, number: int, row: RowResult) -> None:
    heading = f"{number}  {row.title}  ({row.seconds:.0f} s)"
    if row.skipped:
        console.print(f"[bold]{heading}[/bold]\nskipped: {row.skipped}\n")
        return
    console.print(f"[bold]{heading}[/bold]")
    for line in row.lines:
        what, found, against, ratio, aim, reached = results.cells(line)
        console.print(f"  {what}: [bold]{found}[/bold]", highlight=False)
        if against:
            console.print(f"    {against}; ratio {ratio}", highlight=False)
        if aim:
            console.print(f"    aim {aim}: {_REACHED[reached]}", highlight=False)


_REACHED = {"yes": "[green]reached[/green]", "**no**": "[red]not reached[/red]"}


def _save(kept: Results, options: argparse.Namespace) -> None:
    if not options.quick:
        results.save(kept)


if __name__ == "__main__":
    main()
