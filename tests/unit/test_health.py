"""`/healthz` answers while other calls use all threads."""

import json
from collections.abc import Iterator

import anyio
import pytest
from anyio import to_thread
from starlette.requests import Request

from batchway.store.database import Database
from batchway.surfaces.health import Health

SECONDS_MAX = 30


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    """A database without any data."""
    opened = Database(sqlite_url)
    yield opened
    opened.close()


def test_no_thread_is_free(database: Database) -> None:
    """The health check answers though no thread is free."""

    async def send_call() -> tuple[int, bytes]:
        common = to_thread.current_default_thread_limiter()
        common.total_tokens = 1
        async with common:
            with anyio.fail_after(SECONDS_MAX):
                response = await Health(database).get(Request({"type": "http"}))
        return response.status_code, bytes(response.body)

    status, body = anyio.run(send_call)

    assert (503, {"status": "waiting for a worker"}) == (status, json.loads(body))
