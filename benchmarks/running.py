"""A server of its own for a benchmark, in a folder of its own, and batches on it."""

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
    """Seconds from the first byte of the POST until three moments.

    It is answered; the counters say that all is executed; the batch is seen `finished`.
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
        """For one thread; others make their own."""
        return self.new_client()

    def new_client(self, key: str = "") -> Client:
        """A client under /3.0, by default with the key of the first account."""
        return Client(f"{self.url}/3.0", key or self.key)

    def process_ids(self, command: str) -> list[int]:
        """The processes that run `api` or `worker`."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child.pid for child in children if child.cmdline()[-1] == command]

    def new_list(self, client: Client | None = None) -> str:
        """The id of a new audience."""
        return str((client or self.client).call("POST", "/lists", _LIST)["id"])

    def new_account(self) -> str:
        """The key of another account."""
        command = [sys.executable, "-m", "batchway", "accounts", "create", "Another"]
        done = subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True
        )
        return next(word for word in done.stdout.split() if word.endswith("-us1"))

    def submit(self, body: Any, client: Client | None = None, **headers: str) -> str:
        """The id of a new batch."""
        client = client or self.client
        batch = client.call("POST", "/batches", body, **{"Content-Type": _JSON, **headers})
        return str(batch["id"])

    def finished(
        self, batch_id: str, client: Client | None = None, every: float = POLL_SECONDS
    ) -> dict[str, Any]:
        """Wait for the end of a batch; its last status."""
        *_, last = self._statuses(batch_id, client or self.client, every)
        return last

    def _statuses(self, batch_id: str, client: Client, every: float) -> Iterator[dict[str, Any]]:
        """What the batch is like at each look, until it is finished."""
        while True:
            batch: dict[str, Any] = client.call("GET", f"/batches/{batch_id}")
            yield batch
            if batch["status"] == "finished":
                return
            time.sleep(every)

    def time_batch(self, body: bytes, count: int, *, errored: int = 0) -> Timing:
        """How long one batch takes; its counts must be right."""
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
        """How long a batch takes that adds so many members, by default to a new list."""
        list_id = list_id or self.new_list()
        return self.time_batch(bodies.of("add", count, list_id, prefix), count)

    def warm_up(self) -> None:
        """A small batch, so that what a process does only once is done."""
        self.add_all(_WARM_UP_OPERATIONS)


@dataclass(frozen=True)
class Saved:
    """The data folder of a server that has ended, and what opens it."""

    folder: Path
    key: str
    secret_key: str


@contextmanager
def running_server(
    *, workers: int = 1, database_url: str = "", saved: Saved | None = None, **variables: str
) -> Iterator[Running]:
    """A server, ended with the block; `variables` are added to its environment.

    It is new, or goes on from a copy of what was saved.
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
        with ended(process):
            said = process.stdout.readline().split()
            assert said, "the server did not start; the reason is printed above"
            url = said[-1].removesuffix("/3.0")
            until(lambda: Client(url).send("GET", "/healthz") is not None)
            yield Running(url, key, process, Path(folder), environment)


@contextmanager
def warm_server(
    *, workers: int = 1, database_url: str = "", saved: Saved | None = None, **variables: str
) -> Iterator[Running]:
    """A server that has already handled a small batch."""
    with running_server(
        workers=workers, database_url=database_url, saved=saved, **variables
    ) as server:
        server.warm_up()
        yield server


@contextmanager
def saved_data(fill: Callable[[Running], None]) -> Iterator[Saved]:
    """The data of a server that was filled and has ended, until the end of the block."""
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
    """Operations a second of one batch that adds members, on a new server."""
    with warm_server(workers=workers, database_url=database_url) as server:
        return count / server.add_all(count).finished


@contextmanager
def ended(process: subprocess.Popen[Any]) -> Iterator[None]:
    """At the end of the block the process is told to end, and waited for."""
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until(condition: Callable[[], bool]) -> None:
    """Poll a condition; a server that does not answer yet is one that is not true yet."""
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
