"""Rows 1 and 2: members added in one batch, beside the bare pipeline and beside single calls."""

import asyncio
import json
import tarfile
from io import BytesIO
from urllib.parse import urlsplit

import bodies
import limit
import operations
from client import Client, request, send_all
from measuring import RATE, Line, Run, ratio_at_least
from running import Running, add_rate, warm_server

_CONNECTIONS = 10
_SINGLE_CALLS_MAX = 5_000


def against_limit(run: Run) -> list[Line]:
    """Row 1."""
    _check_archive(min(run.operations, 2_000))
    body = bodies.of("add", run.operations, bodies.LIST_ID)
    rates = run.alternate(
        {
            "one worker": lambda: add_rate(run.operations),
            "two workers": lambda: add_rate(run.operations, workers=2),
            "limit": lambda: run.operations / limit.seconds(body),
        }
    )
    name = "bare pipeline, one process (`limit.py`)"
    return [
        Line(
            f"add {run.operations:,}, {workers}",
            RATE,
            rates[workers],
            name,
            rates["limit"],
            ratio_at_least(bound),
        )
        for workers, bound in (("one worker", 0.8), ("two workers", 1.2))
    ]


def _check_archive(count: int) -> None:
    """A batch that is finished must have all its results in its archive."""
    with warm_server() as server:
        batch_id = server.submit(bodies.of("add", count, server.new_list()))
        where = urlsplit(server.finished(batch_id)["response_body_url"])
        content = Client(server.url).send("GET", f"{where.path}?{where.query}")
    found = 0
    with tarfile.open(fileobj=BytesIO(content)) as files:
        for entry in files:
            if entry.isfile():
                file = files.extractfile(entry)
                assert file
                found += len(json.load(file))
    assert found == count, f"{found} of {count} results are in the archive"


def against_single_calls(run: Run) -> list[Line]:
    """Row 2."""

    def measure() -> dict[str, float]:
        with warm_server() as server:
            batch = run.operations / server.add_all(run.operations).finished
            return {"batch": batch, "single": _single_rate(server, run.operations)}

    rates = run.gather(measure)
    name = f"single calls over {_CONNECTIONS} keep-alive connections"
    return [
        Line("add, one worker", RATE, rates["batch"], name, rates["single"], ratio_at_least(10))
    ]


def _single_rate(server: Running, count: int) -> float:
    list_id = server.new_list()
    count = min(count, _SINGLE_CALLS_MAX)
    requests = [
        request(server.url, server.key, each["method"], each["path"], each["body"].encode())
        for each in (operations.add(list_id, index) for index in range(count))
    ]
    return count / asyncio.run(send_all(server.url, requests, _CONNECTIONS))
