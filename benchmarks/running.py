"""Runs a server for a benchmark in a new folder, and batches on it."""

import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import bodies
import psutil
from client import Client, Refused

POLL_SECONDS = 0.02
_START_SECONDS_MAX = 60
_DATABASE = "batchway.db"
_WARM_UP_OPERATIONS = 1_000


@dataclass(frozen=True)
class Timing:
    """Seconds from the first byte of the POST until three times.

    The batch is accepted; all operations are counted as executed; the batch is seen as `finished`.
    """

    accepted: float
    executed: float
    finished: float


@dataclass(frozen=True)
class Running:
    """A server, and the key of its first account."""

    url: str
    key: str
    process: subprocess.Popen[str]
    folder: Path
    environment: dict[str, str]

    @cached_property
    def client(self) -> Client:
        """A client for the main thread; other threads create their own."""
        return self.new_client()

    def new_client(self, key: str = "") -> Client:
        """Return a client under /3.0, by default with the key of the first account."""
        return Client(f"{self.url}/3.0", key or self.key)

    def process_ids(self, command: str) -> list[int]:
        """Return the ids of the processes that run `api` or `worker`."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        titles = {child.pid: " ".join(child.cmdline()).strip() for child in children}
        return [pid for pid, title in titles.items() if title == f"batchway {command}"]

    def new_list(self, client: Client | None = None) -> str:
        """Create a list and return its id."""
        return str((client or self.client).call("POST", "/lists", _LIST)["id"])

    def new_account(self) -> str:
        """Create another account and return its key."""
        command = [sys.executable, "-m", "batchway", "accounts", "create", "Another"]
        done = subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True
        )
        return next(word for word in done.stdout.split() if word.endswith("-us1"))

    def submit(self, body: Any, client: Client | None = None, **headers: str) -> str:
        """POST a batch and return its id."""
        client = client or self.client
        batch = client.call("POST", "/batches", body, **{"Content-Type": _JSON, **headers})
        return str(batch["id"])

    def wait_until_finished(
        self, batch_id: str, client: Client | None = None, every: float = POLL_SECONDS
    ) -> dict[str, Any]:
        """Wait until a batch is finished, and return it."""
        *_, last = self._statuses(batch_id, client or self.client, every)
        return last

    def _statuses(self, batch_id: str, client: Client, every: float) -> Iterator[dict[str, Any]]:
        """Poll a batch until it is finished, and yield each reply."""
        while True:
            batch: dict[str, Any] = client.call("GET", f"/batches/{batch_id}")
            yield batch
            if batch["status"] == "finished":
                return
            time.sleep(every)

    def time_batch(self, body: bytes, count: int, *, errored: int = 0) -> Timing:
        """Return the times of one batch, and check its counts."""
        begin = time.perf_counter()
        batch_id = self.submit(body)
        accepted = time.perf_counter() - begin
        executed = now = 0.0
        batch: dict[str, Any] = {}
        for batch in self._statuses(batch_id, self.client, POLL_SECONDS):
            now = time.perf_counter() - begin
            if batch["finished_operations"] == count:
                executed = executed or now
        assert batch["finished_operations"] == count, batch
        assert batch["errored_operations"] == errored, batch
        return Timing(accepted, executed, now)

    def add_all(self, count: int, list_id: str = "", prefix: str = "contact") -> Timing:
        """Return the times of a batch that adds members, by default to a new list."""
        list_id = list_id or self.new_list()
        return self.time_batch(bodies.make_body("add", count, list_id, prefix), count)

    def warm_up(self) -> None:
        """Run a small batch, so that work that a process does only once is done."""
        self.add_all(_WARM_UP_OPERATIONS)


@dataclass(frozen=True)
class Saved:
    """The data folder of a server that has ended, with its keys."""

    folder: Path
    key: str
    secret_key: str


@contextmanager
def running_server(
    *, workers: int = 1, database_url: str = "", saved: Saved | None = None, **variables: str
) -> Iterator[Running]:
    """Run a server until the end of the block; `variables` are added to its environment.

    Its data is new, or a copy of saved data.
    """
    key = saved.key if saved else f"{secrets.token_hex(16)}-us1"
    command = [sys.executable, "-m", "batchway"]
    with tempfile.TemporaryDirectory(prefix="batchway-bench-") as folder:
        if saved:
            shutil.copytree(saved.folder, folder, dirs_exist_ok=True)
        environment = os.environ | {
            "BATCHWAY_API_KEY": key,
            "BATCHWAY_DATA_DIR": folder,
            "BATCHWAY_DATABASE_URL": database_url,
            "BATCHWAY_SECRET_KEY": saved.secret_key if saved else secrets.token_hex(32),
            **variables,
        }
        if database_url:
            migrate = [*command, "migrate"]
            subprocess.run(migrate, env=environment, check=True, capture_output=True)
        process = subprocess.Popen(
            [*command, "serve", "--port", "0", "--workers", str(workers)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        with terminate_at_end(process):
            said = process.stdout.readline().split()
            assert said, "the server did not start; the reason is printed above"
            url = said[-1].removesuffix("/3.0")
            wait_until(lambda: Client(url).send("GET", "/healthz") is not None)
            yield Running(url, key, process, Path(folder), environment)


@contextmanager
def warm_server(
    *, workers: int = 1, database_url: str = "", saved: Saved | None = None, **variables: str
) -> Iterator[Running]:
    """Run a server that has already run a small batch."""
    with running_server(
        workers=workers, database_url=database_url, saved=saved, **variables
    ) as server:
        server.warm_up()
        yield server


@contextmanager
def saved_data(fill: Callable[[Running], None]) -> Iterator[Saved]:
    """Fill a server and end it; its data stays until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="batchway-saved-") as folder:
        with running_server() as server:
            fill(server)
            secret_key = server.environment["BATCHWAY_SECRET_KEY"]
            saved = Saved(Path(folder), server.key, secret_key)
            # Without its archives, which nobody reads; a copy of the database that is whole.
            with (
                closing(sqlite3.connect(server.folder / _DATABASE)) as source,
                closing(sqlite3.connect(saved.folder / _DATABASE)) as copy,
            ):
                source.backup(copy)
        yield saved


def add_rate(count: int, *, workers: int = 1, database_url: str = "") -> float:
    """Return operations per second of one batch that adds members, on a new server."""
    with warm_server(workers=workers, database_url=database_url) as server:
        return count / server.add_all(count).finished


@contextmanager
def terminate_at_end(process: subprocess.Popen[Any]) -> Iterator[None]:
    """Terminate the process at the end of the block, and wait for it."""
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(condition: Callable[[], bool]) -> None:
    """Poll a condition. While the server does not answer, the condition is false."""
    ends_at = time.monotonic() + _START_SECONDS_MAX
    while time.monotonic() < ends_at:
        try:
            if condition():
                return
        except (OSError, Refused):
            pass
        time.sleep(POLL_SECONDS)
    raise TimeoutError


_JSON = "application/json"
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
