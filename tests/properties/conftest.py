"""Databases for all tests of a module; each example creates an account in them."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.postgres import Postgres
from tests.properties.world import Place, opened_place
from tests.sqlite import SqliteTemplate

Places = tuple[Place, Place]


@pytest.fixture(scope="module")
def sqlite_places(
    sqlite_template: SqliteTemplate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Places]:
    """Two SQLite databases, in which the same accounts are created."""
    folders = [tmp_path_factory.mktemp("place") for _ in range(2)]
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(opened_place(folder, sqlite_template.copy_to(folder)))
            for folder in folders
        )
        yield first, second


@pytest.fixture(scope="module")
def postgres_places(
    postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Places]:
    """Two PostgreSQL databases, in which the same accounts are created."""
    with ExitStack() as stack:
        urls = [stack.enter_context(postgres.database()) for _ in range(2)]
        first, second = (
            stack.enter_context(opened_place(tmp_path_factory.mktemp("place"), url)) for url in urls
        )
        yield first, second
