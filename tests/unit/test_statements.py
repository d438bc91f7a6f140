"""One statement by `run`: its parameters, its rows and its errors, on SQLite and PostgreSQL."""

import traceback
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    MultipleResultsFound,
    NoResultFound,
    OperationalError,
)

from batchway.store.database import Database, run
from batchway.store.rows import Rows

SECRET = "a value that must not be shown"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with three words, of each kind in turn."""
    opened = Database(database_url)
    with opened.write() as connection:
        run(connection, "CREATE TABLE words (id BIGINT PRIMARY KEY, word TEXT, data BYTEA)")
        for number, word in enumerate(["one", "two", "50 % of a:b"]):
            run(
                connection,
                "INSERT INTO words (id, word) VALUES (:id, :word)",
                id=number,
                word=word,
            )
    yield opened
    opened.close()


def find(database: Database, condition: str, **values: object) -> Rows:
    """Return the words that meet a condition."""
    with database.read() as connection:
        statement = f"SELECT id, word FROM words WHERE {condition} ORDER BY id"
        return run(connection, statement, **values)


# --- Parameters -----------------------------------------------------------------------------------


def test_a_parameter_can_occur_several_times(database: Database) -> None:
    """Each place of a parameter gets its value, whatever the order."""
    found = find(database, "(id = :other OR id > :id) AND id <> :id", id=1, other=0)

    assert [0, 2] == [row.id for row in found]


def test_text_that_looks_like_a_parameter(database: Database) -> None:
    """A per cent sign, a colon before a digit, and a value with both are data."""
    assert [2] == [row.id for row in find(database, "word LIKE '50 %'")]
    assert [2] == [row.id for row in find(database, "word = :word", word="50 % of a:b")]
    assert [] == find(database, "word = '12:30:00'").all()


def test_all_kinds_of_values(database: Database) -> None:
    """NULL, bytes and large numbers are stored as they are."""
    data = bytes(range(256))
    with database.write() as connection:
        run(
            connection,
            "INSERT INTO words (id, word, data) VALUES (:id, :word, :data)",
            id=2**62,
            word=None,
            data=data,
        )
    with database.read() as connection:
        row = run(connection, "SELECT * FROM words WHERE id = :id", id=2**62).one()

    assert (2**62, None, data) == (row.id, row.word, bytes(row.data))


# --- Rows -----------------------------------------------------------------------------------------


def test_a_row_is_a_tuple_with_names(database: Database) -> None:
    """The values of a row are read by position or by the name of the column."""
    row = find(database, "id = 1").one()

    assert (1, "two") == row
    assert "two" == row.word
    assert {"id": 1, "word": "two"} == row._asdict()


def test_columns_without_a_usable_name(database: Database) -> None:
    """Columns that have the same name, or none, are read by position."""
    with database.read() as connection:
        row = run(connection, "SELECT id, id, count(*) OVER () FROM words WHERE id = 1").one()

    assert (1, 1, 1) == row


READS: list[tuple[Callable[[Rows], object], object, object, object]] = [
    (Rows.all, [], [(0, "one")], [(0, "one"), (1, "two")]),
    (Rows.first, None, (0, "one"), (0, "one")),
    (Rows.one, NoResultFound, (0, "one"), MultipleResultsFound),
    (Rows.one_or_none, None, (0, "one"), MultipleResultsFound),
    (lambda rows: list(rows.scalars()), [], [0], [0, 1]),
    (Rows.scalar_one, NoResultFound, 0, MultipleResultsFound),
    (Rows.scalar_one_or_none, None, 0, MultipleResultsFound),
]


@pytest.mark.parametrize(("read", "none", "one", "two"), READS)
def test_no_row_one_row_and_two(
    database: Database, read: Callable[[Rows], object], none: object, one: object, two: object
) -> None:
    """Each way to read rows gives its value, or its error, for each number of rows."""
    for first_id, expected in [(-1, none), (0, one), (1, two)]:
        found = find(database, "id <= :most AND id < 2", most=first_id)
        if isinstance(expected, type):
            with pytest.raises(expected):
                read(found)
        else:
            assert expected == read(found)


def test_how_many_rows_a_statement_changed(database: Database) -> None:
    """Changed rows are counted, with and without RETURNING."""
    with database.write() as connection:
        changed = run(connection, "UPDATE words SET word = 'x' WHERE id < :id", id=2)
        deleted = run(connection, "DELETE FROM words WHERE id < :id RETURNING id", id=2)

    assert (2, False) == (changed.rowcount, changed.returns_rows)
    assert (2, True) == (deleted.rowcount, deleted.returns_rows)
    assert {0, 1} == set(deleted.scalars())


# --- Errors ---------------------------------------------------------------------------------------


def test_an_error_shows_the_statement_and_no_value(database: Database) -> None:
    """An error of the database has the class of SQLAlchemy, the statement, and no values."""
    with database.write() as connection:
        run(connection, "CREATE UNIQUE INDEX unique_words ON words (word)")
        run(connection, "UPDATE words SET word = :word WHERE id = 0", word=SECRET)

    with pytest.raises(IntegrityError) as raised, database.write() as connection:
        run(connection, "INSERT INTO words (id, word) VALUES (9, :word)", word=SECRET)

    text = "".join(traceback.format_exception(raised.value))
    assert "INSERT INTO words" in text
    assert "word" in str(raised.value.orig)
    assert SECRET not in text


def test_a_statement_that_is_wrong(database: Database) -> None:
    """A wrong statement raises, and the next transaction works."""
    with pytest.raises(DBAPIError), database.write() as connection:
        run(connection, "SELECT nothing FROM nowhere")

    assert 3 == len(find(database, "id >= 0").all())


def test_a_connection_that_the_server_closes(postgres_url: str) -> None:
    """A transaction whose connection is lost raises; the next one uses a new connection."""
    database = Database(postgres_url)
    lost: list[int] = []

    def lose_connection() -> None:
        with database.write() as connection, database.read() as other:
            lost.append(run(connection, "SELECT pg_backend_pid()").scalar_one())
            run(other, "SELECT pg_terminate_backend(:pid, 60000)", pid=lost[0])
            run(connection, "SELECT 1")

    with pytest.raises(OperationalError) as raised:
        lose_connection()
    assert raised.value.connection_invalidated
    with database.write() as connection:
        assert lost[0] != run(connection, "SELECT pg_backend_pid()").scalar_one()
    database.close()
