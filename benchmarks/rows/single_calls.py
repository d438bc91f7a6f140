"""Row 13: single calls of the API while a large batch runs."""

import statistics
import threading
import time
from collections.abc import Callable

import bodies
import operations
from measuring import MILLISECONDS, Aim, Line, Run, median_at_most, percentile, ratio_at_most
from running import Running, warm_server

_MEMBERS = 1_000
_PAUSE_SECONDS = 0.005
_IDLE_SECONDS = 3.0
_CALLS_MIN = 20
_MILLISECONDS = 1_000


def single_calls(run: Run) -> list[Line]:
    """Measure row 13. A round's value is the percentile of its calls."""
    values = run.gather(lambda: _round(run.many))
    aims = {
        ("read", 99): ratio_at_most(3),
        ("write", 99): median_at_most(100, MILLISECONDS),
    }
    names = {"read": "GET a member", "write": "PUT a member"}
    lines = []
    for kind, percent in (("read", 50), ("read", 99), ("write", 50), ("write", 99)):
        aim: Aim | None = aims.get((kind, percent))
        busy, idle = (values[f"{kind} {percent} {when}"] for when in ("busy", "idle"))
        what = f"{names[kind]}, p{percent}, while {run.many:,} operations run"
        lines.append(Line(what, MILLISECONDS, busy, "the same on an idle server", idle, aim))
    return lines


def _round(many: int) -> dict[str, float]:
    with warm_server() as server:
        list_id = server.new_list()
        server.add_all(_MEMBERS, list_id, "there")
        until = time.perf_counter() + _IDLE_SECONDS
        idle = _latencies(server, list_id, lambda: time.perf_counter() < until)
        batch_id = server.submit(bodies.make_body("add", many, server.new_list()))
        finished = threading.Event()

        def wait() -> None:
            server.wait_until_finished(batch_id, server.new_client(), every=0.05)
            finished.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        busy = _latencies(server, list_id, lambda: not finished.is_set())
        waiting.join()
    return {
        f"{kind} {percent} {when}": percentile(values, percent) * _MILLISECONDS
        for when, kinds in (("idle", idle), ("busy", busy))
        for kind, values in kinds.items()
        for percent in (50, 99)
    }


def _latencies(server: Running, list_id: str, go_on: Callable[[], bool]) -> dict[str, list[float]]:
    """Return seconds of reads and writes, sent at the same time with a short pause after each."""
    values: dict[str, list[float]] = {"read": [], "write": []}

    def send(kind: str) -> None:
        client = server.new_client()
        while go_on() or len(values[kind]) < _CALLS_MIN:
            make = operations.read if kind == "read" else operations.upsert
            call = make(list_id, len(values[kind]) % _MEMBERS, "there")
            body = call["body"].encode() if "body" in call else None
            begin = time.perf_counter()
            client.send(call["method"], call["path"], body)
            values[kind].append(time.perf_counter() - begin)
            time.sleep(_PAUSE_SECONDS)

    threads = [threading.Thread(target=send, args=(kind,)) for kind in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statistics.fmean(values["read"]) > 0
    return values
