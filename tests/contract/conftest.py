"""Fixtures for tests that run the steps of batches themselves: a runner and an API client."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.asgi_client import AsgiClient
from tests.contract.shared_servers import Api
from tests.scenario import Server
from tests.step_runner import StepRunner, open_step_runner


@pytest.fixture
def runner(tmp_path: Path, database_url: str) -> Iterator[StepRunner]:
    """A step runner, on each database in turn."""
    with open_step_runner(Server(tmp_path, database_url)) as opened:
        yield opened


@pytest.fixture
def client(runner: StepRunner) -> AsgiClient:
    """An API client on the database and the clock of `runner`."""
    return AsgiClient(runner.app.asgi())


@pytest.fixture
def members_path(api: Api) -> str:
    """The path of the members of a new list."""
    return f"/lists/{api.new_list()}/members"
