"""Rows 10 and 11: the two ends of a batch, finalizing it and accepting it."""

import time

import bodies
import limit
from measuring import SECONDS, Line, Run, median_at_most, ratio_at_most
from running import Running, warm_server

_POLL_SECONDS = 0.005
_PER = 100_000  # the aim of finalizing is for so many operations


def finalizing(run: Run) -> list[Line]:
    """Row 10."""

    def measure() -> dict[str, float]:
        with warm_server() as server:
            return {"seconds": _last_to_finished(server, run.operations)}

    most = 0.5 * max(1, run.operations / _PER)
    return [
        Line(
            f"from the last of {run.operations:,} operations to `finished`",
            SECONDS,
            run.gather(measure)["seconds"],
            aim=median_at_most(most, SECONDS),
            note="Seen by a client that asks every 5 ms.",
        )
    ]


def _last_to_finished(server: Running, count: int) -> float:
    path = f"/batches/{server.submit(bodies.of('add', count, server.new_list()))}"
    last_at = 0.0
    while True:
        batch = server.client.call("GET", path)
        if not last_at and batch["finished_operations"] == batch["total_operations"] == count:
            last_at = time.perf_counter()
        if batch["status"] == "finished":
            return time.perf_counter() - last_at
        time.sleep(_POLL_SECONDS)


def accepting(run: Run) -> list[Line]:
    """Row 11."""
    decoder = limit.request_decoder

    def measure() -> dict[str, float]:
        with warm_server() as server:
            body = bodies.of("add", run.operations, server.new_list())
            begin = time.perf_counter()
            decoded = len(decoder.decode(body).operations)
            taken = time.perf_counter() - begin
            assert decoded == run.operations
            return {"decode": taken, "POST": server.time_batch(body, run.operations).accepted}

    times = run.gather(measure)
    return [
        Line(
            f"POST of {run.operations:,} operations until its answer",
            SECONDS,
            times["POST"],
            "msgspec's typed decode of the same bytes",
            times["decode"],
            ratio_at_most(5),
        )
    ]
