"""Row 16: single calls a second, over ten connections and over one, beside a naive service."""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import operations
from client import Connection, make_request
from contestants import free_port
from measuring import MILLISECONDS, RATE, Line, Run, median_at_most, percentile, ratio_at_least
from running import terminate_at_end, wait_until, warm_server

_CALLS = 2_000
_CONNECTIONS = 10
_NAIVE = "a naive service, a commit for each call (`naive_server.py`)"
_MILLISECONDS = 1_000
_SERVER = Path(__file__).parents[1] / "naive_server.py"

Requests = Callable[[str, str, str, str], list[bytes]]


def call_rates(run: Run) -> list[Line]:
    """Measure row 16."""
    values = run.alternate({"batchway": _measure_batchway, "naive": _measure_naive})
    lines = []
    for connections in (_CONNECTIONS, 1):
        for kind in ("POST", "PUT", "GET"):
            name = f"{kind} {connections}"
            against = values.get(f"naive {name}", [])
            is_write_of_many = kind == "POST" and connections > 1
            lines.append(
                Line(
                    f"{kind} a member, over {_name_connections(connections)}",
                    RATE,
                    values[name],
                    _NAIVE if against else "",
                    against,
                    ratio_at_least(1) if is_write_of_many else None,
                )
            )
    slowest = values[f"POST {_CONNECTIONS} p99"]
    aim = median_at_most(15, MILLISECONDS)
    what = f"POST a member, over {_name_connections(_CONNECTIONS)}, p99"
    return [*lines, Line(what, MILLISECONDS, slowest, aim=aim)]


def _name_connections(count: int) -> str:
    return f"{count} connections" if count > 1 else "one connection"


def _measure_batchway() -> dict[str, float]:
    with warm_server() as server:
        list_id = server.new_list()
        return _measure(server.url, server.key, list_id, ("POST", "PUT", "GET"))


def _measure_naive() -> dict[str, float]:
    with _naive_server() as url:
        measured = _measure(url, "", "list", ("POST", "GET"))
    return {f"naive {name}": value for name, value in measured.items()}


def _measure(url: str, key: str, list_id: str, kinds: tuple[str, ...]) -> dict[str, float]:
    measured = {}
    for connections in (_CONNECTIONS, 1):
        for kind in kinds:
            requests = _make_requests(url, key, list_id, kind, str(connections))
            taken, times = asyncio.run(_send_all(url, requests, connections))
            measured[f"{kind} {connections}"] = len(times) / taken
            measured[f"{kind} {connections} p99"] = percentile(times, 99) * _MILLISECONDS
    return measured


def _make_requests(url: str, key: str, list_id: str, kind: str, name: str) -> list[bytes]:
    """Return the requests; those that read follow those that have added the same members."""
    make: Mapping[str, Callable[[str, int, str], operations.Operation]] = {
        "POST": operations.add,
        "PUT": operations.upsert,
        "GET": operations.read,
    }
    prefix = f"put{name}" if kind == "PUT" else f"post{name}"
    calls = [make[kind](list_id, index, prefix) for index in range(_CALLS)]
    return [
        make_request(url, key, call["method"], call["path"], (call.get("body") or "").encode())
        for call in calls
    ]


async def _send_all(url: str, requests: list[bytes], connections: int) -> tuple[float, list[float]]:
    """Return the seconds that all requests take, and those of each one."""
    left, times = iter(requests), []

    async def send(connection: Connection) -> None:
        for request in left:
            begin = time.perf_counter()
            await connection.exchange(request)
            times.append(time.perf_counter() - begin)

    opened = [await Connection.open(url) for _ in range(connections)]
    begin = time.perf_counter()
    await asyncio.gather(*map(send, opened))
    taken = time.perf_counter() - begin
    for connection in opened:
        connection.close()
    return taken, times


@contextmanager
def _naive_server() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="batchway-bench-") as folder:
        port = free_port()
        process = subprocess.Popen([sys.executable, str(_SERVER), str(port), folder], text=True)
        with terminate_at_end(process):
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: _is_listening(url))
            yield url


def _is_listening(url: str) -> bool:
    async def connect() -> None:
        (await Connection.open(url)).close()

    try:
        asyncio.run(connect())
    except OSError:
        return False
    return True
