"""Row 9: how soon a batch of one operation is finished, and how soon its webhook hears of it."""

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
from client import Connection, request
from measuring import MILLISECONDS, Line, Run, median_at_most
from running import Running, warm_server

_BATCHES = 50
_POLL_SECONDS = 0.005
_MILLISECONDS = 1_000


def small_batches(run: Run) -> list[Line]:
    """Row 9: each round on a new, idle server; a round's value is the median of 50."""
    values = run.gather(_round)
    return [
        _line("one operation, one at a time", values, "one at a time", 100),
        _line(f"one operation, {_BATCHES} batches at once", values, "at once", 200),
        Line(
            "the webhook's first attempt, after `finished` was seen",
            MILLISECONDS,
            values["webhook"],
            aim=median_at_most(300, MILLISECONDS),
            note="A client that polls may see the end later than the webhook hears of it.",
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
            "direct": [_direct(server, list_id, index) for index in range(_BATCHES)],
            "one at a time": [_one(server, list_id, index) for index in range(_BATCHES)],
            "at once": asyncio.run(_at_once(server, list_id)),
        }
        server.client.call("POST", "/batch-webhooks", {"url": f"http://127.0.0.1:{port}/"})
        values["webhook"] = [_webhook(server, list_id, index) for index in range(_BATCHES)]
    return {name: statistics.median(measured) * _MILLISECONDS for name, measured in values.items()}


def _direct(server: Running, list_id: str, index: int) -> float:
    call = operations.add(list_id, index, "direct")
    begin = time.perf_counter()
    server.client.send(call["method"], call["path"], call["body"].encode())
    return time.perf_counter() - begin


def _body(list_id: str, index: int, prefix: str) -> bytes:
    return json.dumps({"operations": [operations.add(list_id, index, prefix)]}).encode()


def _one(server: Running, list_id: str, index: int, prefix: str = "one") -> float:
    body = _body(list_id, index, prefix)
    begin = time.perf_counter()
    server.finished(server.submit(body), every=_POLL_SECONDS)
    return time.perf_counter() - begin


async def _at_once(server: Running, list_id: str) -> list[float]:
    """Seconds from the common begin until each batch is seen finished.

    One more connection asks for the oldest that is not: to ask for each would be a load.
    """
    bodies = [_body(list_id, index, "at-once") for index in range(_BATCHES)]
    posts = [request(server.url, server.key, "POST", "/batches", body) for body in bodies]
    connections = [await Connection.to(server.url) for _ in posts]
    asking = await Connection.to(server.url)
    begin = time.perf_counter()
    waiting = [
        asyncio.create_task(connection.exchange(post))
        for connection, post in zip(connections, posts, strict=True)
    ]
    taken = []
    for answer in asyncio.as_completed(waiting):
        ask = request(server.url, server.key, "GET", f"/batches/{json.loads(await answer)['id']}")
        while json.loads(await asking.exchange(ask))["status"] != "finished":  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)
        taken.append(time.perf_counter() - begin)
    for connection in (*connections, asking):
        connection.close()
    return taken


def _webhook(server: Running, list_id: str, index: int) -> float:
    """Seconds from when the client sees `finished` until the webhook comes; below 0: before."""
    _one(server, list_id, index, "webhook")
    finished = time.perf_counter()
    return _Receiver.came.get(timeout=30) - finished


class _Receiver(BaseHTTPRequestHandler):
    """Notes when events come."""

    came: "queue.Queue[float]" = queue.Queue()

    def do_GET(self) -> None:
        """Show that the URL works."""
        self._answer()

    def do_POST(self) -> None:
        """Take an event."""
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
