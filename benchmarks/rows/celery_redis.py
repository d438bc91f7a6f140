"""Row 4: the same contacts through Celery with Redis, into the same tables.

Celery has its fastest settings: two processes, tasks that are prefetched, a Redis that writes
nothing to its disk (so that its tasks can be lost), bodies prepared in advance. Two contestants
only fill the tables; the third one also writes an answer for each operation and one archive, as a
batch does. `celery_tasks.py` has the tasks.
"""

import json
import os
import sqlite3
import subprocess
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import bodies
from contestants import find_installed, find_program, run_program
from measuring import RATE, Contestants, Line, Run, Together, Values, ratio_at_least
from rows.adding import ONE_WORKER, one_worker
from running import wait_until

from batchway.audience.members.body import make_member_links
from batchway.contract.links import Links
from batchway.contract.response import encode
from batchway.database_setup import migrate_database
from batchway.settings import Settings
from batchway.store.database import SQLITE_PRAGMAS

_HERE = Path(__file__).parent.parent
_TASKS = "celery_tasks"
_LIST_ID = "0123456789"
_POLL_SECONDS = 0.02
_QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR")


@dataclass(frozen=True)
class Contestant:
    """A way to use Celery, and how many operations are enough to measure it."""

    name: str
    per_task: int
    operations_max: int
    with_answers: bool = False


CONTESTANTS = (
    Contestant("Celery, a task for each operation, tables only", 1, 3_000),
    Contestant("Celery, a task for 1,000, tables only", 1_000, 50_000),
    Contestant("Celery, a task for 1,000, with answers and archive", 1_000, 50_000, True),
)


def _contestants(run: Run) -> Contestants:
    find_program("redis-server")
    find_installed("celery")
    rates = {
        contestant.name: partial(task_rate, contestant, run.operations)
        for contestant in CONTESTANTS
    }
    return {**one_worker(run), **rates}


def _lines(_run: Run, values: Values) -> list[Line]:
    ours, aim = values[ONE_WORKER], ratio_at_least(5)
    return [
        Line(ONE_WORKER, RATE, ours, contestant.name, values[contestant.name], aim)
        for contestant in CONTESTANTS
    ]


BESIDE_CELERY = Together("beside Celery", _contestants, _lines)


def task_rate(contestant: Contestant, count: int) -> float:
    """Return operations per second, from the first task until the last row is in the table."""
    count = min(count, contestant.operations_max)
    with tempfile.TemporaryDirectory(prefix="batchway-celery-") as name:
        folder = Path(name)
        migrate_database(Settings(data_dir=folder))
        environment = _environment(folder)
        socket = str(folder / "redis.sock")
        redis = [find_program("redis-server"), "--port", "0", "--unixsocket", socket]
        celery = [find_installed("celery"), "-A", _TASKS, "--workdir", str(_HERE), "worker"]
        with (
            run_program([*redis, "--save", "", "--appendonly", "no"], folder),
            run_program([*celery, "--concurrency", "2", *_QUIET], folder, environment),
        ):
            wait_until(Path(socket).exists)
            sending = _Sending(folder, environment, contestant)
            sending.measure_seconds("warm", 2 * contestant.per_task)
            return count / sending.measure_seconds("contact", count)


def _environment(folder: Path) -> dict[str, str]:
    links = make_member_links(Links("http://127.0.0.1:8080"), _LIST_ID, "HASH")
    return os.environ | {
        "BENCH_REDIS": str(folder / "redis.sock"),
        "BENCH_DATABASE": str(folder / "batchway.db"),
        "BENCH_PRAGMAS": json.dumps(SQLITE_PRAGMAS),
        "BENCH_LINKS": encode(links).decode(),
    }


@dataclass(frozen=True)
class _Sending:
    folder: Path
    environment: dict[str, str]
    contestant: Contestant

    def measure_seconds(self, prefix: str, count: int) -> float:
        """Return the time from the first task to the last row, and to the archive if any."""
        folder = self.folder / prefix
        folder.mkdir()
        body = folder / "body"
        body.write_bytes(bodies.make_body("add", count, _LIST_ID, prefix))
        answers = "answers" if self.contestant.with_answers else "no-answers"
        program = [find_installed("python"), str(_HERE / f"{_TASKS}.py")]
        sender = subprocess.Popen(
            [*program, str(body), str(self.contestant.per_task), answers],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert sender.stdin
        assert sender.stdout
        with sender, closing(sqlite3.connect(self.folder / "batchway.db")) as connection:
            sender.stdout.readline()
            expected = _members(connection) + count
            begin = time.perf_counter()
            sender.stdin.write(b"go\n")
            sender.stdin.flush()
            while not self._is_done(connection, folder, expected):
                assert sender.poll() in {None, 0}, "the tasks could not be sent"
                time.sleep(_POLL_SECONDS)
            return time.perf_counter() - begin

    def _is_done(self, connection: sqlite3.Connection, folder: Path, expected: int) -> bool:
        if self.contestant.with_answers and not (folder / "results.tar.gz").exists():
            return False
        return _members(connection) == expected


def _members(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM members").fetchone()[0])
