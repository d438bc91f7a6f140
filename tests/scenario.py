"""A real server for tests: start it, submit batches, kill processes, wait, read the results.

    server.submit([add_member(list_id, "ann@example.com")])

No test sleeps: `wait_until` polls a condition, and fails after a limit.
"""

import io
import json
import os
import signal
import ssl
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from tests.processes import start_process

KEY = "0123456789abcdef0123456789abcdef-us1"
SECRET_KEY = "tests-sign-their-links-with-this-long-key"

# The longest wait for a condition. Only a test that fails waits for so long, so that a loaded
# machine makes no test fail.
GIVE_UP_SECONDS = 240.0

_POLL_SECONDS = 0.02
_TLS = ssl.create_default_context()  # made once: making it costs more than a call
_LIST = {
    "name": "Contacts",
    "contact": {
        "company": "Acme",
        "address1": "1 Main Street",
        "city": "Springfield",
        "state": "",
        "zip": "",
        "country": "US",
    },
    "permission_reminder": "You signed up with us.",
    "email_type_option": False,
    "campaign_defaults": {
        "from_name": "Acme",
        "from_email": "acme@example.com",
        "subject": "",
        "language": "en",
    },
}

Operation = dict[str, Any]
T = TypeVar("T")

PING: Operation = {"method": "GET", "path": "/ping"}
NOWHERE: Operation = {"method": "GET", "path": "/nowhere"}  # gets a 404


def wait_until(condition: Callable[[], T], what: str, seconds: float = GIVE_UP_SECONDS) -> T:
    """Return the first true value of a condition. Fail after `seconds`, naming the condition."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(_POLL_SECONDS)
    raise AssertionError(f"never within {seconds} s: {what}")


def add_member(
    list_id: str, address: str, operation_id: str | None = None, **body: Any
) -> Operation:
    """Return an operation that adds a member."""
    content = {"email_address": address, "status": "subscribed", **body}
    operation: Operation = {
        "method": "POST",
        "path": f"/lists/{list_id}/members",
        "body": json.dumps(content),
    }
    return operation if operation_id is None else operation | {"operation_id": operation_id}


@dataclass(frozen=True)
class Result:
    """One entry of an archive, with its response parsed."""

    status_code: int
    operation_id: str | None
    response: Any


@dataclass
class Server:
    """`batchway serve` in separate processes. Its data folder stays when they end."""

    folder: Path
    database_url: str = ""
    workers: int = 1
    process: subprocess.Popen[str] | None = None
    url: str = ""
    port: int = 0
    variables: Mapping[str, str] = field(default_factory=dict)
    key: str = KEY

    def start(self, **variables: str) -> "Server":
        """Start the server and wait until it listens. A second start uses the same port.

        `variables` are added to the environment for this start only.
        """
        arguments = ["serve", "--port", str(self.port), "--workers", str(self.workers)]
        with (self.folder / "server.log").open("a") as log:
            self.process = start_process(
                [sys.executable, "-m", "batchway", *arguments],
                env=self.environment() | variables,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout
        first = self.process.stdout.readline()
        assert "listens at" in first, f"no greeting: {first!r}\n{self.read_log()}"
        self.url = first.split()[-1].removesuffix("/3.0")
        self.port = int(self.url.rsplit(":", 1)[1])
        return self

    def wait_until_ready(self) -> "Server":
        """Wait until the API and a worker accept work."""
        wait_until(self.is_ready, f"the server is ready\n{self.read_log()}")
        return self

    def is_ready(self) -> bool:
        """Return whether /healthz answers 200."""
        try:
            return httpx.get(f"{self.url}/healthz", verify=_TLS).status_code == 200
        except httpx.TransportError:
            return False

    def environment(self) -> dict[str, str]:
        """Return the environment variables of this server's processes."""
        return {
            **os.environ,
            "BATCHWAY_API_KEY": KEY,
            "BATCHWAY_DATA_DIR": str(self.folder / "data"),
            "BATCHWAY_DATABASE_URL": self.database_url,
            "BATCHWAY_SECRET_KEY": SECRET_KEY,
            "BATCHWAY_LOG_LEVEL": "info",
            **self.variables,
        }

    def run_command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a `batchway` command against this server."""
        return subprocess.run(
            [sys.executable, "-m", "batchway", *arguments],
            env=self.environment() | {"BATCHWAY_URL": self.url},
            capture_output=True,
            text=True,
            check=check,
        )

    def read_log(self) -> str:
        """Return what the processes have written to standard error."""
        path = self.folder / "server.log"
        return path.read_text() if path.exists() else ""

    def stop(self) -> int:
        """Send SIGTERM, as an operator does, and return the exit code."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self._close()
        return code

    def kill(self) -> None:
        """Kill the whole process tree with `kill -9`."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)  # so that it does not restart a child that dies
        tree = [*self.list_children(), psutil.Process(self.process.pid)]
        for process in tree:
            _kill(process)
        self.process.wait(60)
        wait_until(lambda: not any(is_alive(process) for process in tree), "the processes end")
        self._close()

    def kill_child(self, command: str) -> None:
        """Kill the children that run `worker` or `api` with `kill -9`."""
        for process in self.find_children(command):
            _kill(process)

    def find_children(self, command: str) -> list[psutil.Process]:
        """Return the children that run `worker` or `api`."""
        return [child for child in self.list_children() if _command(child) == command]

    def list_children(self) -> list[psutil.Process]:
        """Return the processes that the supervisor has started."""
        assert self.process
        return psutil.Process(self.process.pid).children(recursive=True)

    def close(self) -> None:
        """End all processes, in whatever state they are."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.kill()
        else:
            self._close()

    def _close(self) -> None:
        assert self.process
        assert self.process.stdout
        self.process.stdout.close()
        self.process = None

    def call(self, method: str, path: str, key: str | None = None, **more: Any) -> httpx.Response:
        """Call a path under /3.0 with this server's key, or with `key`."""
        url, auth = f"{self.url}/3.0{path}", ("any", key or self.key)
        return httpx.request(method, url, auth=auth, timeout=60, verify=_TLS, **more)

    def get(self, path: str, **params: Any) -> Any:
        """Return the body of a GET, which must succeed."""
        return _successful(self.call("GET", path, params=params))

    def new_list(self, **changes: Any) -> str:
        """Create a list and return its id."""
        return str(_successful(self.call("POST", "/lists", json=_LIST | changes))["id"])

    def get_members(self, list_id: str) -> list[Any]:
        """Return all members of a list, oldest first."""
        found: list[Any] = []
        while True:
            page: dict[str, Any] = self.get(
                f"/lists/{list_id}/members", count=1000, offset=len(found)
            )
            found += page["members"]
            if len(found) >= page["total_items"]:
                return found

    def submit(self, operations: Iterable[Operation]) -> str:
        """POST a batch and return its id."""
        body = {"operations": list(operations)}
        return str(_successful(self.call("POST", "/batches", json=body))["id"])

    def get_batch(self, batch_id: str) -> Any:
        """Return a batch as `GET /batches/{id}` shows it."""
        return self.get(f"/batches/{batch_id}")

    def wait_until_finished(self, batch_id: str, seconds: float = GIVE_UP_SECONDS) -> Any:
        """Wait until a batch is finished, and return it."""

        def get_if_finished() -> Any:
            try:
                batch = self.get_batch(batch_id)
            except httpx.TransportError:
                return None  # the API is being restarted
            return batch if batch["status"] == "finished" else None

        return wait_until(
            get_if_finished, f"batch {batch_id} finishes\n{self.read_log()[-4000:]}", seconds
        )

    def download_archive(self, batch_id: str) -> bytes:
        """Wait until a batch is finished, and download its archive without a key."""
        reply = httpx.get(
            self.wait_until_finished(batch_id)["response_body_url"], timeout=60, verify=_TLS
        )
        assert 200 == reply.status_code, reply.text
        return reply.content

    def get_results(self, batch_id: str) -> list[Result]:
        """Wait until a batch is finished, and return its results in the order of its operations."""
        return read_archive(self.download_archive(batch_id))


def read_archive(archive: bytes) -> list[Result]:
    """Return all results in an archive."""
    results = []
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file
            results += [
                Result(entry["status_code"], entry["operation_id"], json.loads(entry["response"]))
                for entry in json.load(file)
            ]
    return results


def check_invariants(server: Server, batch_id: str, operations: list[Operation]) -> list[Result]:
    """Check what must hold for every finished batch, and return its results.

    Each operation has exactly one result, in its place, and the counters equal the archive.
    """
    batch = server.get_batch(batch_id)
    results = server.get_results(batch_id)

    assert "finished" == batch["status"]
    assert len(operations) == len(results) == batch["total_operations"]
    assert batch["total_operations"] == batch["finished_operations"]
    assert sum(result.status_code >= 300 for result in results) == batch["errored_operations"]
    expected_ids = [operation.get("operation_id") for operation in operations]
    assert expected_ids == [result.operation_id for result in results]
    return results


def _successful(reply: httpx.Response) -> Any:
    assert reply.status_code in {200, 204}, f"{reply.status_code} {reply.text}"
    return reply.json() if reply.content else None


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs. A zombie does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _command(process: psutil.Process) -> str:
    try:
        return process.cmdline()[0].strip().removeprefix("batchway ")
    except (psutil.NoSuchProcess, IndexError):  # it has just died
        return ""


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
