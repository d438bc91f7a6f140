"""A busy database: the call is refused with 503 and has no effect."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import text

from batchway.store.database import Database
from tests.contract.asgi_client import AsgiClient
from tests.contract.shared_servers import check_problem
from tests.contract.test_submit_options import make_body, read_rows
from tests.scenario import PING
from tests.step_runner import StepRunner

WAIT_SECONDS = 0.1


@pytest.fixture
def impatient(runner: StepRunner) -> Iterator[StepRunner]:
    """A step runner that waits a tenth of a second for a lock."""
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
    """If another process holds the lock, the reply is a 503 with a time to retry."""
    client = AsgiClient(impatient.app.asgi())
    other = Database(impatient.app.database.url)

    with other.write() as connection:
        if not other.is_sqlite:
            connection.execute(text("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE"))
        refused = client.call("POST", "/batches", content=make_body(PING))
    other.close()

    check_problem(refused, 503, "Service Unavailable")
    assert int(refused.headers["retry-after"]) > 0
    assert [] == read_rows(impatient, "batches")
    assert 200 == client.call("POST", "/batches", content=make_body(PING)).status_code


def test_a_lock_of_another_thread(impatient: StepRunner) -> None:
    """Threads queue for the lock of SQLite, and get the same 503."""
    database = impatient.app.database
    if not database.is_sqlite:
        return  # its threads do not queue
    client = AsgiClient(impatient.app.asgi())

    with ThreadPoolExecutor(1) as threads, database.write():
        call = threads.submit(client.call, "POST", "/batches", content=make_body(PING))
        refused = call.result(60)

    check_problem(refused, 503, "Service Unavailable")
    assert [] == read_rows(impatient, "batches")


def test_a_time_out_that_is_not_ours(runner: StepRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A TimeoutError of another origin is a 500, not a 504."""

    def time_out() -> int:
        raise TimeoutError

    monkeypatch.setattr(type(runner.parts.archive), "get_free_bytes", lambda _archive: time_out())
    client = AsgiClient(runner.app.asgi())

    refused = client.call("POST", "/batches", content=make_body(PING))

    check_problem(refused, 500, "InternalServerError")
