"""How soon a webhook hears that a batch is finished, seen from a client that polls every 5 ms.

The client may see the end a little later than the webhook is told of it.

    .venv/bin/python benchmarks/webhook_latency.py --rounds 30
"""

import argparse
import queue
import statistics
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
from running import Running, running_server

_POLL_SECONDS = 0.005


def main() -> None:
    """Run the rounds and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--database-url", default="", help="PostgreSQL instead of SQLite")
    options = parser.parse_args()
    receiver = HTTPServer(("127.0.0.1", 0), _Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    allow = {"BATCHWAY_EGRESS_ALLOW": "127.0.0.0/8"}
    with running_server(database_url=options.database_url, **allow) as server:
        url = f"http://127.0.0.1:{receiver.server_port}/"
        server.call("POST", "/batch-webhooks", json={"url": url})
        rounds = [_measure(server) for _ in range(options.rounds)]
    finished, heard = zip(*rounds, strict=True)
    _row("POST to finished", finished)
    _row("POST to webhook", heard)
    _row("finished to webhook", [after - before for before, after in rounds])


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


def _measure(server: Running) -> tuple[float, float]:
    """Seconds from the POST of one operation until it is seen finished, and until the webhook."""
    with httpx.Client(auth=("any", server.key)) as client:
        begin = time.perf_counter()
        body = {"operations": [{"method": "GET", "path": "/ping"}]}
        batch = client.post(f"{server.url}/3.0/batches", json=body).raise_for_status().json()
        while client.get(f"{server.url}/3.0/batches/{batch['id']}").json()["status"] != "finished":
            time.sleep(_POLL_SECONDS)
        finished = time.perf_counter()
    return finished - begin, _Receiver.came.get(timeout=30) - begin


def _row(name: str, seconds: list[float] | tuple[float, ...]) -> None:
    milliseconds = [1_000 * each for each in seconds]
    print(
        f"{name:<20} {statistics.median(milliseconds):>6.0f} ms  "
        f"({min(milliseconds):.0f} to {max(milliseconds):.0f})"
    )


if __name__ == "__main__":
    main()
