"""Fixtures for all tests: a new database of each kind, and repeatable randomness.

Each process of a test run creates the tables once; every test gets a copy of that database.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from batchway.database_setup import migrate_database
from batchway.settings import load_settings
from tests.postgres import Postgres, running_postgres
from tests.sqlite import SqliteTemplate, make_sqlite_template

# Asserts in modules that tests share explain themselves as those in tests do.
pytest.register_assert_rewrite(
    "tests.scenario",
    "tests.step_runner",
    "tests.clients",
    "tests.contract",
    "tests.faults",
    "tests.properties",
)

# Fixtures: servers that run once for each process of a test run, and receivers of webhooks.
pytest_plugins = ["tests.contract.shared_servers", "tests.receiver"]

# A failing example prints what repeats it. No deadline: the machine may be busy with other tests.
# The short profile tries the same examples each time, so that the gate judges the change and not
# its luck; the long one looks for new ones.
settings.register_profile("short", deadline=None, print_blob=True, derandomize=True)
settings.register_profile(
    "long", settings.get_profile("short"), max_examples=2_000, derandomize=False
)
settings.load_profile("short")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for this process of the test run, started on first use."""
    with running_postgres() as server, server.empty_database() as template:
        migrate_database(load_settings(database_url=template))
        server.template = template
        yield server


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> SqliteTemplate:
    """A SQLite database that `sqlite_url` copies."""
    return make_sqlite_template(tmp_path_factory.mktemp("template"))


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The SQLAlchemy URL of a new PostgreSQL database, dropped after the test."""
    with postgres.database() as url:
        yield url


@pytest.fixture
def sqlite_url(sqlite_template: SqliteTemplate, tmp_path: Path) -> str:
    """The SQLAlchemy URL of a new SQLite database."""
    return sqlite_template.copy_to(tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a new database of each kind; `-k sqlite` or `-k postgresql` selects one."""
    fixture = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    url: str = request.getfixturevalue(fixture)
    return url
