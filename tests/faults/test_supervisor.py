"""The processes of `serve` end together, and dead children are restarted."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import make_url

from batchway import limits
from tests.faults.batch_monitor import BatchMonitor
from tests.faults.workloads import MixedWorkload
from tests.postgres import administer, close_connections
from tests.processes import start_process
from tests.scenario import Server, add_member, is_alive, wait_until

GROUP_COUNT = 2_000  # 20,000 operations
FOLLOW_SECONDS_MAX = 5.0  # until the children of a dead supervisor are gone


def test_sigterm_leaves_no_batch_behind(server: Server) -> None:
    """SIGTERM during a batch exits with 0 in time; the next start finishes the batch."""
    server.start().wait_until_ready()
    workload = MixedWorkload(server.new_list(), "stopped", GROUP_COUNT)
    workload.prepare(server)
    monitor = BatchMonitor(server, server.submit(workload.operations()))
    wait_until(
        lambda: monitor.poll() or monitor.seen[-1]["status"] == "started", "the batch is started"
    )

    begun = time.monotonic()
    assert 0 == server.stop()

    assert time.monotonic() - begun < limits.shutdown_grace_seconds
    assert monitor.is_running
    server.start()
    monitor.wait_until_finished()
    workload.check(server, monitor.batch_id)


def test_children_follow_their_supervisor(server: Server) -> None:
    """If the supervisor is killed, the API and the workers end by themselves."""
    server.workers = 2
    server.start().wait_until_ready()
    children = server.list_children()
    assert server.process

    server.process.kill()
    server.process.wait()

    assert 3 == len(children)
    wait_until(lambda: not any(map(is_alive, children)), "all end", FOLLOW_SECONDS_MAX)


def test_a_data_folder_serves_one_server(tmp_path: Path) -> None:
    """A second `serve` on the same folder is refused, and names the first one's process id."""
    with run_server(Server(tmp_path)) as server:
        assert server.process

        second = server.run_command("serve", "--port", "0", check=False)

        assert 1 == second.returncode
        assert f"in use by process {server.process.pid}" in second.stderr
        assert "--data-dir" in second.stderr
        assert server.is_ready()


def test_a_data_folder_is_free_after_a_kill(tmp_path: Path) -> None:
    """The lock ends with its process, so no file has to be removed."""
    with run_server(Server(tmp_path)) as server:
        server.kill()

        server.start().wait_until_ready()

        assert "Everything's Chimpy!" == server.get("/ping")["health_status"]


@pytest.mark.parametrize("command", ["api", "worker"])
def test_a_dead_child_is_started_again(server: Server, command: str) -> None:
    """A dead child is replaced by a new process, and work continues."""
    server.start().wait_until_ready()
    list_id = server.new_list()
    [before] = server.find_children(command)

    before.kill()
    [after] = wait_until(
        # One that was killed can be seen for another moment.
        lambda: [process for process in server.find_children(command) if process.pid != before.pid],
        f"another {command} runs",
    )

    assert is_alive(after)
    server.wait_until_finished(server.submit([add_member(list_id, "ann@example.com")]))
    assert 1 == len(server.get_members(list_id))


def test_callers_wait_for_a_new_api(server: Server) -> None:
    """While no API process runs, a call waits in the supervisor's socket and does not fail."""
    server.start().wait_until_ready()
    [api] = server.find_children("api")

    api.kill()
    wait_until(lambda: not is_alive(api), "the API is dead")

    assert "Everything's Chimpy!" == server.get("/ping")["health_status"]


def test_a_worker_alone(server: Server) -> None:
    """A server without workers accepts batches but is not ready; a separate worker runs them.

    SIGTERM ends that worker with 0, and then the server is not ready any more.
    """
    server.workers = 0
    server.start()
    wait_until(lambda: get_health_status(server) == 503, "the API answers that it is not ready")
    batch_id = server.submit([add_member(server.new_list(), "ann@example.com")])
    assert "pending" == server.get_batch(batch_id)["status"]

    with run_worker(server) as process:
        server.wait_until_ready()
        assert [200] == [result.status_code for result in server.get_results(batch_id)]
        process.terminate()
        assert 0 == process.wait(limits.shutdown_grace_seconds)

    assert 503 == get_health_status(server)


def test_an_outage_of_the_database(postgres_url: str, tmp_path: Path) -> None:
    """The processes survive an outage of the database, also if a worker dies during it."""
    with run_server(Server(tmp_path, postgres_url)) as server:
        workload = MixedWorkload(server.new_list(), "outage", GROUP_COUNT)
        workload.prepare(server)
        monitor = BatchMonitor(server, server.submit(workload.operations()))

        with interrupt_database(postgres_url):
            server.kill_child("worker")
            wait_until(
                lambda: server.read_log().count("child_died") > 1, "a worker finds no database"
            )

        monitor.wait_until_finished()
        workload.check(server, monitor.batch_id)


@contextmanager
def run_server(server: Server) -> Iterator[Server]:
    """Run a server until the end of the block."""
    try:
        yield server.start().wait_until_ready()
    finally:
        server.close()


@contextmanager
def run_worker(server: Server) -> Iterator[subprocess.Popen[str]]:
    """Run `batchway worker` until the end of the block."""
    with (server.folder / "worker.log").open("a") as log:
        process = start_process(
            [sys.executable, "-m", "batchway", "worker"], env=server.environment(), stderr=log
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def interrupt_database(database_url: str) -> Iterator[None]:
    """Let the database refuse connections, and close those that are open, during the block."""
    allow = f"ALTER DATABASE {make_url(database_url).database} ALLOW_CONNECTIONS"
    administer(database_url, f"{allow} false")
    close_connections(database_url)
    try:
        yield
    finally:
        administer(database_url, f"{allow} true")


def get_health_status(server: Server) -> int:
    """Return the status code of /healthz, or 0 if there is no answer."""
    try:
        return httpx.get(f"{server.url}/healthz").status_code
    except httpx.TransportError:
        return 0
