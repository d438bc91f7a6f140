"""The queue goes on by itself after a time in which the database refused every write.

A step fails then, handing it over again fails, and the engine cannot record its end.
"""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.faults.batch_monitor import BatchMonitor
from tests.faults.workloads import MixedWorkload
from tests.postgres import administer, close_connections
from tests.scenario import Server, wait_until

GROUP_COUNT = 1_500  # 15,000 operations
DISK_BYTES = 512 * 1024 * 1024  # a server refuses batches if less than 256 MiB are free
BLOCK_BYTES = 1024 * 1024
REFUSALS_MIN = 6  # of what a worker writes every two seconds, in three threads


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


def test_full_disk(small_disk: Path, tmp_path: Path) -> None:
    """Batches finish after there is room again, without a restart."""
    # The log stays on the other disk, so that it can be read.
    server = Server(tmp_path, variables={"BATCHWAY_DATA_DIR": str(small_disk)})
    try:
        survive(server, lambda: full_disk(small_disk))
    finally:
        server.close()


def test_read_only_database(postgres_url: str, tmp_path: Path) -> None:
    """The same for a PostgreSQL server that becomes a standby for a while, as in a failover."""
    server = Server(tmp_path, postgres_url)
    try:
        survive(server, lambda: read_only(postgres_url))
    finally:
        server.close()


def survive(server: Server, refuse_writes: Callable[[], AbstractContextManager[None]]) -> None:
    """Let writes be refused while a large batch runs, and another one waits."""
    server.start().wait_until_ready()
    works = [MixedWorkload(server.new_list(), f"refused-{n}", GROUP_COUNT) for n in range(2)]
    for work in works:
        work.prepare(server)
    monitors = [BatchMonitor(server, server.submit(work.operations())) for work in works]
    wait_until(
        lambda: monitors[0].poll() or monitors[0].seen[-1]["status"] == "started",
        "a batch has started",
    )

    with refuse_writes():
        wait_until(lambda: "step_failed" in server.read_log(), "a step fails")
        before = server.read_log().count("background_task_failed")
        wait_until(
            lambda: server.read_log().count("background_task_failed") >= before + REFUSALS_MIN,
            "writes have been refused for some seconds",
        )

    for work, monitor in zip(works, monitors, strict=True):
        monitor.wait_until_finished()
        work.check(server, monitor.batch_id)


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Within the block there is no room.

    SQLite's log has grown only so far: it uses no part of the log again before it has 64 MiB.
    """
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (BLOCK_BYTES, 4096):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
    assert os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize < BLOCK_BYTES, errno.ENOSPC
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def read_only(database_url: str) -> Iterator[None]:
    """Within the block, PostgreSQL refuses every write with 25006."""
    name = make_url(database_url).database
    setting = f"ALTER DATABASE {name} SET default_transaction_read_only"
    administer(database_url, f"{setting} = on")
    close_connections(database_url)
    try:
        yield
    finally:
        administer(database_url, f"{setting} = off")
        close_connections(database_url)
