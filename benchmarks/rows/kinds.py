"""Rows 5 and 6: the other kinds of operations, on a small and on a large list, and all mixed."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import bodies
from measuring import PER_OPERATION, RATE, Line, Run, ratio_at_least, ratio_at_most
from running import Running, warm_server

_KINDS = ("upsert", "update", "tag", "archive")
_LARGE_LIST = 1_000_000
_FILLED_AT_ONCE = 100_000
_MICROSECONDS = 1_000_000
_prefixes = (f"round{number}" for number in count())


def kinds(run: Run) -> list[Line]:
    """Row 5."""
    if run.is_full:
        with _large_list(run) as (server, list_id):
            values = run.gather(
                lambda: _small_round(run) | _large_round(server, list_id, run.operations)
            )
    else:
        values = run.gather(lambda: _small_round(run))
    empty, held = "list that was empty", f"list that held {_LARGE_LIST:,}"
    lines = [_line(f"{kind}, {empty}", "add", values[kind], values["add"], 2) for kind in _KINDS]
    if run.is_full:
        lines += [
            _line(f"{kind}, {held}", f"{kind}, {empty}", values[f"large {kind}"], values[kind], 1.5)
            for kind in ("add", *_KINDS)
        ]
    return lines


def _line(what: str, name: str, values: list[float], against: list[float], most: float) -> Line:
    return Line(what, PER_OPERATION, values, name, against, ratio_at_most(most))


def _small_round(run: Run) -> dict[str, float]:
    with warm_server() as server:
        added = server.add_all(run.operations).finished
        times = _each_kind(server, run.operations, server.new_list(), "contact")
    return {"add": added / run.operations * _MICROSECONDS} | times


def _each_kind(server: Running, size: int, list_id: str, prefix: str) -> dict[str, float]:
    """Microseconds for an operation of each kind: put in, changed, tagged, taken out."""
    times = {}
    for kind in _KINDS:
        body = bodies.of(kind, size, list_id, prefix)
        times[kind] = server.time_batch(body, size).finished / size * _MICROSECONDS
    return times


@contextmanager
def _large_list(run: Run) -> Iterator[tuple[Running, str]]:
    with warm_server() as server:
        list_id = server.new_list()
        for first in range(0, _LARGE_LIST, _FILLED_AT_ONCE):
            run.told(f"filling a list: {first:,} of {_LARGE_LIST:,}")
            server.add_all(_FILLED_AT_ONCE, list_id, prefix=f"filling{first}")
        yield server, list_id


def _large_round(server: Running, list_id: str, size: int) -> dict[str, float]:
    """On contacts that are new to the list: first some are added, then others put in."""
    added = server.add_all(size, list_id, next(_prefixes)).finished
    times = _each_kind(server, size, list_id, next(_prefixes))
    times["add"] = added / size * _MICROSECONDS
    return {f"large {kind}": value for kind, value in times.items()}


def mixed(run: Run) -> list[Line]:
    """Row 6."""

    def measure() -> dict[str, float]:
        with warm_server() as server:
            added = run.operations / server.add_all(run.operations).finished
            list_id = server.new_list()
            server.time_batch(*bodies.there_before(run.operations, list_id))
            body = bodies.of("mixed", run.operations, list_id)
            errored = bodies.mixed_errored(run.operations)
            taken = server.time_batch(body, run.operations, errored=errored).finished
            return {"add": added, "mixed": run.operations / taken}

    rates = run.gather(measure)
    what = f"{run.operations:,} adds, upserts, updates, tags, archives, reads; 5 % fail"
    return [Line(what, RATE, rates["mixed"], "add", rates["add"], ratio_at_least(0.5))]
