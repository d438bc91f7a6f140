"""Peak memory of the API and of a worker over their idle memory, by the size of the batch.

The aim: under 200 MB over idle, and no more for 1,000,000 operations than for 100,000.

    .venv/bin/python benchmarks/memory.py --operations 100000 1000000
"""

import argparse
import gzip
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from operations import PIECE, Operation, add, make_body_pieces
from running import Running, running_server

_MB = 1_000_000
_KIB = 1024


@dataclass(frozen=True)
class Used:
    """Seconds until accepted and until finished; megabytes over idle at the peak."""

    accepted: float
    finished: float
    api: float
    worker: float


def main() -> None:
    """Run each batch on a new server, and print a line for each."""
    options = _options()
    print("operations  body        accepted  finished  api peak   worker peak  (over idle)")
    for count in options.operations:
        for body in options.bodies:
            with running_server(database_url=options.database_url) as server:
                _row(count, body, measure_batch(server, count, body))
                if options.paging and body == options.bodies[-1]:
                    _row(count, "one GET", _measure_paging(server, count))


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


def measure_batch(server: Running, count: int, body: str = "json") -> Used:
    """Return what a batch of `count` additions needs. Its body is made while it is sent."""
    list_id = server.new_list()
    made = (add(list_id, index) for index in range(count))
    pieces = make_body_pieces(made) if body != "ndjson" else _lines(made)
    headers = {"Content-Type": "application/x-ndjson" if body == "ndjson" else "application/json"}
    if body == "gzip":
        headers["Content-Encoding"] = "gzip"
        pieces = (gzip.compress(piece, 1) for piece in pieces)
    peaks = _Peaks(server)
    begin = time.perf_counter()
    batch_id = server.submit(pieces, **headers)
    accepted = time.perf_counter() - begin
    last = server.wait_until_finished(batch_id)
    assert last["finished_operations"] == count, last
    assert last["errored_operations"] == 0, last
    return peaks.measure(accepted, time.perf_counter() - begin)


def _measure_paging(server: Running, count: int) -> Used:
    """Return what one GET without a count needs, on the list that the batch has filled."""
    list_id = server.client.call("GET", "/lists")["lists"][0]["id"]
    peaks = _Peaks(server)
    begin = time.perf_counter()
    operations = [{"method": "GET", "path": f"/lists/{list_id}/members"}]
    batch_id = server.submit({"operations": operations})
    accepted = time.perf_counter() - begin
    last = server.wait_until_finished(batch_id)
    assert last["total_operations"] == -(-count // 1_000), last
    return peaks.measure(accepted, time.perf_counter() - begin)


class _Peaks:
    """The peak memory of each kind of process since this was created, over its idle memory."""

    def __init__(self, server: Running) -> None:
        self._idle: dict[str, dict[int, int]] = {}
        for kind in ("api", "worker"):
            for process_id in server.process_ids(kind):
                Path(f"/proc/{process_id}/clear_refs").write_text("5")  # the peak is now
                self._idle.setdefault(kind, {})[process_id] = _peak_kib(process_id)

    def measure(self, accepted: float, finished: float) -> Used:
        """Return the maximum of all processes of each kind."""
        return Used(accepted, finished, self._over_idle("api"), self._over_idle("worker"))

    def _over_idle(self, kind: str) -> float:
        grown = [_peak_kib(process_id) - idle for process_id, idle in self._idle[kind].items()]
        return max(grown) * _KIB / _MB


def _peak_kib(process_id: int) -> int:
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


def _row(count: int, body: str, used: Used) -> None:
    print(
        f"{count:>10,}  {body:<10}  {used.accepted:>6.1f} s  {used.finished:>6.1f} s  "
        f"{used.api:>5.0f} MB  {used.worker:>8.0f} MB",
        flush=True,
    )


def _lines(made: Iterable[Operation]) -> Iterator[bytes]:
    waiting: list[bytes] = []
    for operation in made:
        waiting.append(json.dumps(operation).encode())
        if len(waiting) == PIECE:
            yield b"\n".join([*waiting, b""])
            waiting = []
    yield b"\n".join([*waiting, b""]) if waiting else b""


if __name__ == "__main__":
    main()
