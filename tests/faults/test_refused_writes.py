"""The queue goes on by itself after a time in which the database refused every write.

A step fails then, handing it over again fails, and the engine cannot record its end.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.faults.batch_events import add_webhook, check_event
from tests.faults.batch_monitor import BatchMonitor
from tests.faults.workloads import MixedWorkload
from tests.postgres import refuse_writes
from tests.receiver import Receiver
from tests.scenario import Server, wait_until

GROUP_COUNT = 1_000  # 10,000 operations: two chunks
SMALL_GROUP_COUNT = 10  # 100 operations: one chain
DISK_BYTES = 512 * 1024 * 1024  # a server refuses batches if less than 256 MiB are free
BLOCK_BYTES = 1024 * 1024
REFUSALS_MIN = 3  # of what a worker writes every two seconds, in several threads
LOOPBACK = {"BATCHWAY_EGRESS_ALLOW": "127.0.0.0/8"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own; only root can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mounting, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("There is no program `mount`.")
    if mounted.returncode:
        pytest.skip(f"No file system can be mounted: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_full_disk(small_disk: Path, tmp_path: Path, receiver: Receiver) -> None:
    """Batches and deliveries go on after there is room again, without a restart."""
    # The log stays on the other disk, so that it can be read.
    variables = {"BATCHWAY_DATA_DIR": str(small_disk)} | LOOPBACK
    server = Server(tmp_path, variables=variables)
    try:
        survive(server, receiver, lambda: fill_disk(small_disk))
    finally:
        server.close()


def test_read_only_database(postgres_url: str, tmp_path: Path, receiver: Receiver) -> None:
    """The same for a PostgreSQL server that becomes a standby for a while, as in a failover."""
    server = Server(tmp_path, postgres_url, variables=LOOPBACK)
    try:
        survive(server, receiver, lambda: refuse_writes(postgres_url))
    finally:
        server.close()


def survive(
    server: Server, receiver: Receiver, refuse: Callable[[], AbstractContextManager[None]]
) -> None:
    """Let writes be refused while a large batch runs, and another large and a small one wait."""
    server.start().wait_until_ready()
    add_webhook(server, receiver)
    works = [
        MixedWorkload(server.new_list(), f"refused-{count}", count)
        for count in (GROUP_COUNT, GROUP_COUNT + 1, SMALL_GROUP_COUNT)
    ]
    for work in works:
        work.prepare(server)
    monitors = [BatchMonitor(server, server.submit(work.operations())) for work in works]
    wait_until(
        lambda: monitors[0].poll() or monitors[0].seen[-1]["status"] == "started",
        "a batch has started",
    )

    with refuse():
        wait_until(lambda: "step_failed" in server.read_log(), "a step fails")
        before = server.read_log().count("background_task_failed")
        wait_until(
            lambda: server.read_log().count("background_task_failed") >= before + REFUSALS_MIN,
            "writes have been refused for some seconds",
        )

    for work, monitor in zip(works, monitors, strict=True):
        monitor.wait_until_finished()
        work.check(server, monitor.batch_id)
        check_event(receiver, monitor.batch_id)
    wait_until(lambda: not count_open_hand_overs(server), "the engine has nothing left to run")


def count_open_hand_overs(server: Server) -> int:
    """Return how many hand-overs the engine will run, or shows as run."""
    table = "dbos.workflow_status" if server.database_url else "workflow_status"
    folder = server.environment()["BATCHWAY_DATA_DIR"]
    engine = create_engine(server.database_url or f"sqlite:///{folder}/batchway.db")
    with engine.connect() as connection:
        statement = f"SELECT count(*) FROM {table} WHERE status IN ('ENQUEUED', 'PENDING')"
        count = int(connection.execute(text(statement)).scalar_one())
    engine.dispose()
    return count


@contextmanager
def fill_disk(folder: Path) -> Iterator[None]:
    """Let no room be left during the block.

    SQLite's log has grown only so far: it uses no part of the log again before it has 64 MiB.
    """
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (BLOCK_BYTES, 4096):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
    assert os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize < BLOCK_BYTES
    try:
        yield
    finally:
        filler.unlink()
