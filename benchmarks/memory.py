"""Peak memory of the API and of a worker over idle, for ever larger batches, and for paging.

The aim: under 200 MB over idle, and no more for 1,000,000 operations than for 100,000.

    .venv/bin/python benchmarks/memory.py --operations 100000 1000000
"""

import argparse
import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path

from running import Running, running_server

_PIECE = 1_000  # operations made and sent at a time
_MB = 1_000_000
_KIB = 1024


def main() -> None:
    """Run each batch on a server of its own, and print a line for each."""
    options = _options()
    print("operations  body        accepted  finished  api peak   worker peak  (over idle)")
    for count in options.operations:
        for body in options.bodies:
            with running_server(database_url=options.database_url) as server:
                _measure_batch(server, count, body)
                if options.paging and body == options.bodies[-1]:
                    _measure_paging(server, count)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument(
        "--bodies", nargs="+", default=["json", "ndjson"], choices=["json", "ndjson", "gzip"]
    )
    parser.add_argument("--database-url", default="", help="PostgreSQL instead of SQLite")
    parser.add_argument(
        "--no-paging", dest="paging", action="store_false", help="without GETs of the whole list"
    )
    return parser.parse_args()


def _measure_batch(server: Running, count: int, body: str) -> None:
    list_id = server.new_list()
    pieces = _array(list_id, count) if body != "ndjson" else _lines(list_id, count)
    headers = {"Content-Type": "application/x-ndjson" if body == "ndjson" else "application/json"}
    if body == "gzip":
        headers["Content-Encoding"] = "gzip"
        pieces = (gzip.compress(piece, 1) for piece in pieces)
    peaks = _Peaks(server)
    begin = time.perf_counter()
    batch = server.call("POST", "/batches", content=pieces, headers=headers).json()
    accepted = time.perf_counter() - begin
    last = server.finished(batch["id"])
    assert last["finished_operations"] == count, last
    assert last["errored_operations"] == 0, last
    _row(count, body, accepted, time.perf_counter() - begin, peaks)


def _measure_paging(server: Running, count: int) -> None:
    """One GET without a count, over the list that the batch has filled."""
    list_id = server.call("GET", "/lists").json()["lists"][0]["id"]
    peaks = _Peaks(server)
    begin = time.perf_counter()
    operations = [{"method": "GET", "path": f"/lists/{list_id}/members"}]
    batch = server.call("POST", "/batches", json={"operations": operations}).json()
    accepted = time.perf_counter() - begin
    last = server.finished(batch["id"])
    assert last["total_operations"] == -(-count // 1_000), last
    _row(count, "one GET", accepted, time.perf_counter() - begin, peaks)


class _Peaks:
    """Peak memory of each kind of process since this was made, over what it held then."""

    def __init__(self, server: Running) -> None:
        self._idle: dict[str, dict[int, int]] = {}
        for kind in ("api", "worker"):
            for process_id in server.process_ids(kind):
                Path(f"/proc/{process_id}/clear_refs").write_text("5")  # the peak is now
                self._idle.setdefault(kind, {})[process_id] = _peak_kib(process_id)

    def over_idle(self, kind: str) -> float:
        """In megabytes, the most of any process of this kind."""
        grown = [_peak_kib(each) - idle for each, idle in self._idle[kind].items()]
        return max(grown) * _KIB / _MB


def _peak_kib(process_id: int) -> int:
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


def _row(count: int, body: str, accepted: float, finished: float, peaks: _Peaks) -> None:
    api, worker = peaks.over_idle("api"), peaks.over_idle("worker")
    print(
        f"{count:>10,}  {body:<10}  {accepted:>6.1f} s  {finished:>6.1f} s  {api:>5.0f} MB  "
        f"{worker:>8.0f} MB",
        flush=True,
    )


def _array(list_id: str, count: int) -> Iterator[bytes]:
    yield b'{"operations":['
    for first in range(0, count, _PIECE):
        if first:
            yield b","
        yield b",".join(_operations(list_id, first, count))
    yield b"]}"


def _lines(list_id: str, count: int) -> Iterator[bytes]:
    for first in range(0, count, _PIECE):
        yield b"\n".join([*_operations(list_id, first, count), b""])


def _operations(list_id: str, first: int, count: int) -> list[bytes]:
    return [
        json.dumps(
            {
                "method": "POST",
                "path": f"/lists/{list_id}/members",
                "operation_id": f"crm-{index}",
                "body": json.dumps(
                    {
                        "email_address": f"contact-{index}@example.com",
                        "status": "subscribed",
                        "merge_fields": {"FNAME": f"First {index}", "LNAME": f"Last {index}"},
                        "tags": ["newsletter", f"group-{index % 20}"],
                    }
                ),
            }
        ).encode()
        for index in range(first, min(first + _PIECE, count))
    ]


if __name__ == "__main__":
    main()
