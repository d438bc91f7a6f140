"""Row 9: the time until a batch of one operation is finished, and until its webhook is called."""

import asyncio
import json
import queue
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import operations
from client import Connection, make_request
from measuring import MILLISECONDS, Line, Run, median_at_most
from running import Running, warm_server

_BATCHES = 50
_POLL_SECONDS = 0.005
_MILLISECONDS = 1_000


def small_batches(run: Run) -> list[Line]:
    """Measure row 9 on a new, idle server. A round's value is the median of 50."""
    values = run.gather(_round)
    return [
        _line("one operation, one at a time", values, "one at a time", 100),
        _line(f"one operation, {_BATCHES} batches at once", values, "at once", 200),
        Line(
            "the webhook's first attempt, after `finished` was seen",
            MILLISECONDS,
            values["webhook"],
            aim=median_at_most(300, MILLISECONDS),
            note="A client that polls may see the end after the webhook has got its event.",
        ),
    ]


def _line(what: str, values: dict[str, list[float]], name: str, most: float) -> Line:
    aim = median_at_most(most, MILLISECONDS)
    direct = values["direct"]
    return Line(what, MILLISECONDS, values[name], "the same call made directly", direct, aim)


def _round() -> dict[str, float]:
    with _receiver() as port, warm_server(BATCHWAY_EGRESS_ALLOW="127.0.0.0/8") as server:
        list_id = server.new_list()
        values = {
            "direct": [_measure_direct(server, list_id, index) for index in range(_BATCHES)],
            "one at a time": [_measure_one(server, list_id, index) for index in range(_BATCHES)],
            "at once": asyncio.run(_measure_at_once(server, list_id)),
        }
        server.client.call("POST", "/batch-webhooks", {"url": f"http://127.0.0.1:{port}/"})
        values["webhook"] = [_measure_webhook(server, list_id, index) for index in range(_BATCHES)]
    return {name: statistics.median(measured) * _MILLISECONDS for name, measured in values.items()}


def _measure_direct(server: Running, list_id: str, index: int) -> float:
    call = operations.add(list_id, index, "direct")
    begin = time.perf_counter()
    server.client.send(call["method"], call["path"], call["body"].encode())
    return time.perf_counter() - begin


def _body(list_id: str, index: int, prefix: str) -> bytes:
    return json.dumps({"operations": [operations.add(list_id, index, prefix)]}).encode()


def _measure_one(server: Running, list_id: str, index: int, prefix: str = "one") -> float:
    body = _body(list_id, index, prefix)
    begin = time.perf_counter()
    server.wait_until_finished(server.submit(body), every=_POLL_SECONDS)
    return time.perf_counter() - begin


async def _measure_at_once(server: Running, list_id: str) -> list[float]:
    """Return seconds from the start of all batches until each is seen finished.

    One more connection polls the oldest batch that is not finished: polling each would be a load.
    """
    bodies = [_body(list_id, index, "at-once") for index in range(_BATCHES)]
    posts = [make_request(server.url, server.key, "POST", "/batches", body) for body in bodies]
    connections = [await Connection.open(server.url) for _ in posts]
    poller = await Connection.open(server.url)
    begin = time.perf_counter()
    waiting = [
        asyncio.create_task(connection.exchange(post))
        for connection, post in zip(connections, posts, strict=True)
    ]
    taken = []
    for answer in asyncio.as_completed(waiting):
        ask = make_request(
            server.url, server.key, "GET", f"/batches/{json.loads(await answer)['id']}"
        )
        while json.loads(await poller.exchange(ask))["status"] != "finished":  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)
        taken.append(time.perf_counter() - begin)
    for connection in (*connections, poller):
        connection.close()
    return taken


def _measure_webhook(server: Running, list_id: str, index: int) -> float:
    """Return seconds from when the client sees `finished` until the webhook; negative if before."""
    _measure_one(server, list_id, index, "webhook")
    finished = time.perf_counter()
    return _Receiver.came.get(timeout=30) - finished


class _Receiver(BaseHTTPRequestHandler):
    """Records when events arrive."""

    came: "queue.Queue[float]" = queue.Queue()

    def do_GET(self) -> None:
        """Answer the check of the URL."""
        self._answer()

    def do_POST(self) -> None:
        """Record an event."""
        self.came.put(time.perf_counter())
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer()

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _answer(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def _receiver() -> Iterator[int]:
    receiver = HTTPServer(("127.0.0.1", 0), _Receiver)
    thread = threading.Thread(target=receiver.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver.server_port
    finally:
        receiver.shutdown()
        receiver.server_close()
