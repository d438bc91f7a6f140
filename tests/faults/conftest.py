"""Fixtures for all tests of this folder: a server on each database in turn."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenario import Server
from tests.step_runner import StepRunner, open_step_runner


@pytest.fixture
def server(tmp_path: Path, database_url: str) -> Iterator[Server]:
    """A server that has not been started. Its processes are killed after the test."""
    made = Server(tmp_path, database_url)
    yield made
    made.close()


@pytest.fixture
def runner(server: Server) -> Iterator[StepRunner]:
    """A step runner, on each database in turn."""
    with open_step_runner(server) as opened:
        yield opened
