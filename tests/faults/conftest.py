"""What the tests of this folder can ask for: a server on each database in turn."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenario import Server


@pytest.fixture
def server(tmp_path: Path, database_url: str) -> Iterator[Server]:
    """A server that has not been started; what runs of it is killed after the test."""
    made = Server(tmp_path, database_url)
    yield made
    made.close()
