"""Fixtures for tests that call the handlers of the audience."""

from collections.abc import Iterator

import pytest

from tests.audience import Audience, open_audience


@pytest.fixture
def api(database_url: str) -> Iterator[Audience]:
    """An empty audience on each database in turn."""
    with open_audience(database_url) as made:
        yield made


@pytest.fixture
def quick(sqlite_url: str) -> Iterator[Audience]:
    """An empty audience on SQLite, for tests in which the database makes no difference."""
    with open_audience(sqlite_url) as made:
        yield made
