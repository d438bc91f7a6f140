"""A database that is busy: the call is refused with 503 and has no effect."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import text

from batchway.store.database import Database
from tests.contract.asgi_client import AsgiClient
from tests.contract.shared_servers import check_problem
from tests.contract.test_submit_options import PING, body, rows_of
from tests.step_runner import StepRunner

WAIT_SECONDS = 0.1


@pytest.fixture
def impatient(runner: StepRunner) -> Iterator[StepRunner]:
    """An app that waits for a lock for a tenth of a second only."""
    database = Database(runner.app.database.url, busy_timeout_seconds=WAIT_SECONDS)
    if not database.is_sqlite:
        with database.engine.begin() as connection:
            name = connection.scalar(text("SELECT current_database()"))
            connection.execute(text(f'ALTER DATABASE "{name}" SET lock_timeout = 100'))
        database.engine.dispose()  # the setting is for new connections
    runner.parts = replace(runner.parts, database=database)
    runner.app = replace(runner.app, database=database, parts=runner.parts)
    yield runner
    database.close()


def test_a_lock_of_another_process(impatient: StepRunner) -> None:
    """It is not free in time: 503, with the time after which to try again."""
    client = AsgiClient(impatient.app.asgi())
    other = Database(impatient.app.database.url)

    with other.write() as connection:
        if not other.is_sqlite:
            connection.execute(text("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE"))
        refused = client.call("POST", "/batches", content=body(PING))
    other.close()

    check_problem(refused, 503, "Service Unavailable")
    assert int(refused.headers["retry-after"]) > 0
    assert [] == rows_of(impatient, "batches")
    assert 200 == client.call("POST", "/batches", content=body(PING)).status_code


def test_a_lock_of_another_thread(impatient: StepRunner) -> None:
    """The threads of a process queue for the lock of SQLite; that is no other matter."""
    database = impatient.app.database
    if not database.is_sqlite:
        return  # its threads do not queue
    client = AsgiClient(impatient.app.asgi())

    with ThreadPoolExecutor(1) as threads, database.write():
        call = threads.submit(client.call, "POST", "/batches", content=body(PING))
        refused = call.result(60)

    check_problem(refused, 503, "Service Unavailable")
    assert [] == rows_of(impatient, "batches")


def test_a_time_out_that_is_not_ours(runner: StepRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A TimeoutError says nothing about the length of a request: it is a 500, not a 504."""

    def time_out() -> int:
        raise TimeoutError

    monkeypatch.setattr(type(runner.parts.archive), "free_bytes", lambda _archive: time_out())
    client = AsgiClient(runner.app.asgi())

    refused = client.call("POST", "/batches", content=body(PING))

    check_problem(refused, 500, "InternalServerError")
