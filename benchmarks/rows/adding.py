"""Rows 1 and 2: members added in one batch, compared with `limit.py` and with single calls."""

import asyncio
import json
import tarfile
from io import BytesIO
from urllib.parse import urlsplit

import bodies
import limit
import operations
from client import Client, make_request, send_all
from measuring import RATE, Contestants, Line, Run, Together, Values, ratio_at_least
from running import add_rate, warm_server

ONE_WORKER = "add, one worker"
ACCEPTING_SECONDS, FINALIZING_SECONDS = "accepting, one worker", "finalizing, one worker"
_TWO_WORKERS = "add, two workers"
_LIMIT = "bare pipeline, one process (`limit.py`)"
_CONNECTIONS = 10
_SINGLE_CALLS = f"single calls over {_CONNECTIONS} keep-alive connections"
_SINGLE_CALLS_MAX = 2_000


def one_worker(run: Run) -> Contestants:
    """The batch of rows 1 to 4, 10 and 11, on a new server."""

    def measure() -> dict[str, float]:
        with warm_server() as server:
            timing = server.add_all(run.operations)
        return {
            ONE_WORKER: run.operations / timing.finished,
            ACCEPTING_SECONDS: timing.accepted,
            FINALIZING_SECONDS: timing.finished - timing.executed,
        }

    return {ONE_WORKER: measure}


def _beside_limit(run: Run) -> Contestants:
    _check_archive(min(run.operations, 2_000))
    body = bodies.make_body("add", run.operations, bodies.LIST_ID)
    return {
        **one_worker(run),
        _TWO_WORKERS: lambda: add_rate(run.operations, workers=2),
        _LIMIT: lambda: run.operations / limit.measure_seconds(body),
    }


def _limit_lines(_run: Run, values: Values) -> list[Line]:
    against = values[_LIMIT]
    return [
        Line(what, RATE, values[what], _LIMIT, against, ratio_at_least(bound))
        for what, bound in ((ONE_WORKER, 0.8), (_TWO_WORKERS, 1.2))
    ]


def _check_archive(count: int) -> None:
    """Check that the archive of a finished batch has all its results."""
    with warm_server() as server:
        batch_id = server.submit(bodies.make_body("add", count, server.new_list()))
        where = urlsplit(server.wait_until_finished(batch_id)["response_body_url"])
        content = Client(server.url).send("GET", f"{where.path}?{where.query}")
    found = 0
    with tarfile.open(fileobj=BytesIO(content)) as files:
        for entry in files:
            if entry.isfile():
                file = files.extractfile(entry)
                assert file
                found += len(json.load(file))
    assert found == count, f"{found} of {count} results are in the archive"


def _beside_single_calls(run: Run) -> Contestants:
    return {**one_worker(run), _SINGLE_CALLS: lambda: _single_rate(run.operations)}


def _single_calls_lines(_run: Run, values: Values) -> list[Line]:
    against = values[_SINGLE_CALLS]
    return [Line(ONE_WORKER, RATE, values[ONE_WORKER], _SINGLE_CALLS, against, ratio_at_least(10))]


def _single_rate(count: int) -> float:
    count = min(count, _SINGLE_CALLS_MAX)
    with warm_server() as server:
        list_id = server.new_list()
        requests = [
            make_request(
                server.url,
                server.key,
                operation["method"],
                operation["path"],
                operation["body"].encode(),
            )
            for operation in (operations.add(list_id, index) for index in range(count))
        ]
        return count / asyncio.run(send_all(server.url, requests, _CONNECTIONS))


BESIDE_LIMIT = Together("members added in one batch", _beside_limit, _limit_lines)
BESIDE_SINGLE_CALLS = Together("beside single calls", _beside_single_calls, _single_calls_lines)
