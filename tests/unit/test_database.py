"""The guarantees of `Database`, on SQLite and PostgreSQL."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import pytest
from sqlalchemy.exc import IntegrityError

from batchway.errors import DatabaseBusy
from batchway.store.database import Database, insert_many, run

_COLUMNS = ("id", "word")
# Around the numbers of rows that SQLite takes in one statement.
_COUNTS = (1, 49, 50, 51, 999, 1_000, 1_001, 2_175)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with a table, of each kind in turn."""
    with _with_words(database_url) as opened:
        yield opened


@pytest.fixture
def sqlite(sqlite_url: str) -> Iterator[Database]:
    """A SQLite database with a table."""
    with _with_words(sqlite_url) as opened:
        yield opened


@contextmanager
def _with_words(url: str) -> Iterator[Database]:
    opened = Database(url)
    with opened.write() as connection:
        run(connection, "CREATE TABLE words (id BIGINT PRIMARY KEY, word TEXT)")
    yield opened
    opened.close()


def _words(database: Database) -> dict[int, str]:
    with database.read() as connection:
        return {row.id: row.word for row in run(connection, "SELECT id, word FROM words")}


@pytest.mark.parametrize("count", _COUNTS)
def test_all_rows_are_inserted(database: Database, count: int) -> None:
    """Any number of rows is inserted. SQLite uses statements of three sizes."""
    rows = [(number, f"word {number}") for number in range(count)]
    with database.write() as connection:
        assert insert_many(connection, "words", _COLUMNS, rows) == count
    assert _words(database) == dict(rows)


@pytest.mark.parametrize("count", _COUNTS)
def test_rows_that_are_there_are_left_and_not_counted(database: Database, count: int) -> None:
    """With `ignore_existing`, existing rows stay and are not counted."""
    there = range(0, count, 3)
    with database.write() as connection:
        insert_many(connection, "words", _COLUMNS, [(number, "there") for number in there])
    rows = [(number, "new") for number in range(count)]
    with database.write() as connection:
        inserted = insert_many(connection, "words", _COLUMNS, rows, ignore_existing=True)
    assert inserted == count - len(there)
    assert _words(database) == dict(rows) | dict.fromkeys(there, "there")


@pytest.mark.parametrize("at", [0, 999, 1_000, 1_049, 1_050, 1_051])
def test_a_row_that_is_there_lets_none_in(database: Database, at: int) -> None:
    """An existing row prevents the insert of all others, whichever statement has it."""
    with database.write() as connection:
        insert_many(connection, "words", _COLUMNS, [(at, "there")])
    rows = [(number, "new") for number in range(1_052)]
    with pytest.raises(IntegrityError), database.write() as connection:
        insert_many(connection, "words", _COLUMNS, rows)
    assert _words(database) == {at: "there"}


def test_no_write_of_many_threads_is_lost(database: Database) -> None:
    """Many threads can write at once without a lost update."""

    def count_one(_: int) -> None:
        with database.write() as connection:
            run(connection, "UPDATE words SET word = word || '.' WHERE id = 1")

    with database.write() as connection:
        insert_many(connection, "words", _COLUMNS, [(1, "")])
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(count_one, range(100)))
    assert _words(database) == {1: "." * 100}


def test_a_failed_write_gives_its_turn_back(database: Database) -> None:
    """After a failed write the next writer does not wait."""
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        insert_many(connection, "words", _COLUMNS, [(1, str(1 / 0))])
    with database.write() as connection:
        insert_many(connection, "words", _COLUMNS, [(1, "one")])
    assert _words(database) == {1: "one"}


def test_another_process_waits_for_the_lock_of_sqlite(sqlite: Database) -> None:
    """Another process waits until the first one has committed."""
    other = Database(sqlite.url)  # as another process: it shares no lock of ours
    has_begun = Event()

    def write() -> None:
        has_begun.set()
        with other.write() as connection:
            insert_many(connection, "words", _COLUMNS, [(2, "second")])

    with ThreadPoolExecutor(1) as threads:
        with sqlite.write() as connection:
            insert_many(connection, "words", _COLUMNS, [(1, "first")])
            written = threads.submit(write)
            assert has_begun.wait(30)
        written.result(30)
    assert _words(sqlite) == {1: "first", 2: "second"}
    other.close()


def test_a_lock_that_never_comes_free_is_an_error(sqlite: Database) -> None:
    """A lock that is not released in time is an error, also between threads."""
    one = Database(sqlite.url, busy_timeout_seconds=0.01)
    other = Database(sqlite.url, busy_timeout_seconds=0.01)
    with ThreadPoolExecutor(1) as threads, one.write():
        with pytest.raises(DatabaseBusy, match="locked"), other.write():
            pass
        with pytest.raises(DatabaseBusy, match="Another thread"):
            threads.submit(one.write().__enter__).result(30)
    one.close()
    other.close()
    with sqlite.write() as connection:  # neither has kept anything
        insert_many(connection, "words", _COLUMNS, [(1, "one")])
