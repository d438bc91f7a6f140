"""What the benchmarks share: a server of their own in a folder of its own, and calls on it."""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Running:
    """A server, and the key of its only account."""

    url: str
    key: str
    process: subprocess.Popen[str]
    folder: Path

    def process_ids(self, command: str) -> list[int]:
        """The processes that run `api` or `worker`."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [each.pid for each in children if each.cmdline()[-1] == command]

    def call(self, method: str, path: str, **more: object) -> httpx.Response:
        """One call under /3.0 that succeeds."""
        url = f"{self.url}/3.0{path}"
        reply = httpx.request(method, url, auth=("any", self.key), timeout=600, **more)  # type: ignore[arg-type]
        return reply.raise_for_status()

    def new_list(self) -> str:
        """The id of a new audience."""
        return str(self.call("POST", "/lists", json=_LIST).json()["id"])

    def finished(self, batch_id: str) -> dict[str, object]:
        """Wait for the end of a batch; its last status."""
        while True:
            batch: dict[str, object] = self.call("GET", f"/batches/{batch_id}").json()
            if batch["status"] == "finished":
                return batch
            time.sleep(POLL_SECONDS)


@contextmanager
def running_server(
    *, workers: int = 1, database_url: str = "", **variables: str
) -> Iterator[Running]:
    """A server, ended with the block; `variables` are added to its environment."""
    key = f"{secrets.token_hex(16)}-us1"
    command = [sys.executable, "-m", "batchway"]
    with tempfile.TemporaryDirectory(prefix="batchway-bench-") as folder:
        environment = os.environ | {
            "BATCHWAY_API_KEY": key,
            "BATCHWAY_DATA_DIR": folder,
            "BATCHWAY_DATABASE_URL": database_url,
            "BATCHWAY_SECRET_KEY": secrets.token_hex(32),
            **variables,
        }
        if database_url:
            subprocess.run([*command, "migrate"], env=environment, check=True)
        process = subprocess.Popen(
            [*command, "serve", "--port", "0", "--workers", str(workers)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        try:
            url = process.stdout.readline().split()[-1].removesuffix("/3.0")
            until(lambda: httpx.get(f"{url}/healthz").status_code == httpx.codes.OK)
            yield Running(url, key, process, Path(folder))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def until(condition: Callable[[], bool]) -> None:
    """Poll a condition; a server that does not answer yet is one that is not true yet."""
    while True:
        try:
            if condition():
                return
        except httpx.TransportError:
            pass
        time.sleep(POLL_SECONDS)


_LIST = {
    "name": "Benchmark",
    "contact": {"company": "A", "address1": "1 Main St", "city": "Springfield", "country": "US"},
    "permission_reminder": "You signed up.",
    "email_type_option": False,
    "campaign_defaults": {
        "from_name": "A",
        "from_email": "a@example.com",
        "subject": "",
        "language": "en",
    },
}
