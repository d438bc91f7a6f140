"""Rows 5 and 6: the other kinds of operations, on a small and on a large list, and mixed."""

import bodies
from measuring import PER_OPERATION, RATE, Line, Run, ratio_at_least, ratio_at_most
from running import Running, Saved, saved_data, warm_server

_KINDS = ("upsert", "update", "tag", "archive")
_LARGE_LIST = 1_000_000
_FILLED_AT_ONCE = 100_000
_MICROSECONDS = 1_000_000


def kinds(run: Run) -> list[Line]:
    """Measure row 5."""
    if run.is_full:
        with saved_data(lambda server: _fill(server, run)) as saved:
            values = run.gather(lambda: _small_round(run) | _large_round(run, saved))
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
        times = _measure_kinds(server, run.operations, server.new_list(), "contact")
    return {"add": added / run.operations * _MICROSECONDS} | times


def _measure_kinds(server: Running, size: int, list_id: str, prefix: str) -> dict[str, float]:
    """Return microseconds per operation for each kind."""
    times = {}
    for kind in _KINDS:
        body = bodies.make_body(kind, size, list_id, prefix)
        times[kind] = server.time_batch(body, size).finished / size * _MICROSECONDS
    return times


def _fill(server: Running, run: Run) -> None:
    list_id = server.new_list()
    for first in range(0, _LARGE_LIST, _FILLED_AT_ONCE):
        run.show_progress(f"filling a list: {first:,} of {_LARGE_LIST:,}")
        server.add_all(_FILLED_AT_ONCE, list_id, prefix=f"filling{first}")


def _large_round(run: Run, saved: Saved) -> dict[str, float]:
    """Measure contacts that are new to the list: additions, then the other kinds."""
    size = run.operations
    with warm_server(saved=saved) as server:
        lists = server.client.call("GET", "/lists?count=100&fields=lists.id,lists.stats")["lists"]
        list_id = max(lists, key=lambda listed: listed["stats"]["member_count"])["id"]
        added = server.add_all(size, list_id).finished
        times = _measure_kinds(server, size, list_id, "put-in")
    times["add"] = added / size * _MICROSECONDS
    return {f"large {kind}": value for kind, value in times.items()}


def mixed(run: Run) -> list[Line]:
    """Measure row 6."""

    def measure() -> dict[str, float]:
        with warm_server() as server:
            added = run.operations / server.add_all(run.operations).finished
            list_id = server.new_list()
            server.time_batch(*bodies.make_preparation(run.operations, list_id))
            body = bodies.make_body("mixed", run.operations, list_id)
            errored = bodies.count_mixed_errors(run.operations)
            taken = server.time_batch(body, run.operations, errored=errored).finished
            return {"add": added, "mixed": run.operations / taken}

    rates = run.gather(measure)
    what = f"{run.operations:,} adds, upserts, updates, tags, archives, reads; 5 % fail"
    return [Line(what, RATE, rates["mixed"], "add", rates["add"], ratio_at_least(0.5))]
