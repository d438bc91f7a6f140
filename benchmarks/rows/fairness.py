"""Row 14: a batch of ten operations while a large batch of another account runs."""

import statistics
import time

import bodies
from client import Client
from measuring import SECONDS, Line, Run, difference_at_most
from running import Running, warm_server

_SMALL = 10
_TIMES = 5
_POLL_SECONDS = 0.01


def fairness(run: Run) -> list[Line]:
    """Measure row 14. A round's value is the median of up to five small batches."""
    values = run.gather(lambda: _round(run.many))
    return [
        Line(
            f"batch of {_SMALL} of one account while {run.many:,} operations of another run",
            SECONDS,
            values["behind"],
            "the same alone",
            values["alone"],
            difference_at_most(2, SECONDS),
            note=f"After it {min(values['done']):.0f} % to {max(values['done']):.0f} % of the "
            "large batch were done.",
        )
    ]


def _round(many: int) -> dict[str, float]:
    with warm_server() as server:
        other = server.new_client(server.new_account())
        list_id = server.new_list(other)
        alone = [_small(server, other, list_id, f"alone{number}") for number in range(_TIMES)]
        large = server.submit(bodies.make_body("add", many, server.new_list()))
        while not server.client.call("GET", f"/batches/{large}")["finished_operations"]:
            time.sleep(_POLL_SECONDS)
        behind: list[float] = []
        done = 0
        while len(behind) < _TIMES and done < many:
            behind.append(_small(server, other, list_id, f"behind{len(behind)}"))
            done = server.client.call("GET", f"/batches/{large}")["finished_operations"]
    return {
        "alone": statistics.median(alone),
        "behind": statistics.median(behind),
        "done": 100 * done / many,
    }


def _small(server: Running, client: Client, list_id: str, prefix: str) -> float:
    body = bodies.make_body("add", _SMALL, list_id, prefix)
    begin = time.perf_counter()
    server.wait_until_finished(server.submit(body, client), client, every=_POLL_SECONDS)
    return time.perf_counter() - begin
