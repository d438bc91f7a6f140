"""The database: one engine for SQLite or PostgreSQL, and the five points where they differ.

These are: how a transaction begins, how many rows are written at once, how rows are compared with a
list of values, whether rows can be locked, and how the time is read. All other SQL is shared.
"""

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from batchway import limits
from batchway.errors import DatabaseBusy
from batchway.kit.clock import Clock
from batchway.store.rows import Rows
from batchway.store.sqlite_writers import WriterQueue, begin_immediate

Row = Sequence[Any]

SQLITE_PRAGMAS = (
    "PRAGMA page_size = 16384",  # set before the file is made; larger pages suit bulk writes
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # a commit that was answered survives a loss of power
    # The engine's tables need foreign keys: the rows of a workflow are deleted with it. Our tables
    # declare none: each insert of a result would look up its batch, and our code deletes all rows
    # of a batch in one transaction.
    "PRAGMA foreign_keys = ON",
    "PRAGMA wal_autocheckpoint = 4096",  # pages: 64 MB; a chunk rarely pays for a checkpoint
    "PRAGMA journal_size_limit = 134217728",
    "PRAGMA cache_size = -16384",  # KiB, of each connection
    "PRAGMA temp_store = MEMORY",
)
# How many rows one INSERT of SQLite holds: 1,000 rows in one statement take three quarters of the
# time of 1,000 statements. There are few sizes, so that SQLite keeps each statement prepared; the
# remaining rows are inserted one by one.
_ROWS_AT_ONCE = (1_000, 50)
_SQLITE_VALUES_MAX = 32_766  # in one statement
_CLOCK = "batchway_clock"  # the execution option that passes the clock on to `sql_now`
# PostgreSQL's codes for: lock not available, query cancelled (by a time-out), too many connections.
_BUSY_STATES = frozenset({"55P03", "57014", "53300"})
_SQLITE_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_PARAMETER = re.compile(r"(?<!:):([a-z_][a-z0-9_]*)")  # `::` is a cast of PostgreSQL
_CONFLICT_STATES = frozenset({"40001", "40P01"})  # serialization failure, deadlock
_POSTGRES_OPTIONS = (
    f"-c idle_in_transaction_session_timeout={int(limits.idle_transaction_seconds * 1000)}"
)


class Database:
    """Opens transactions on SQLite or PostgreSQL.

    With a `clock`, `sql_now` returns its time instead of the database's own. A writer waits up to
    `busy_timeout_seconds` for SQLite's lock.
    """

    def __init__(
        self,
        url: str,
        clock: Clock | None = None,
        *,
        busy_timeout_seconds: float = limits.busy_timeout_seconds,
    ) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite:")
        self._busy_timeout_seconds = busy_timeout_seconds
        engine = (
            _create_sqlite_engine(url, busy_timeout_seconds)
            if self.is_sqlite
            else _create_postgres_engine(url)
        )
        self.engine = engine.execution_options(**{_CLOCK: clock})
        self._writers = WriterQueue(busy_timeout_seconds)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that commits at the end of the block and rolls back on an exception.

        On SQLite it takes the write lock at once; PostgreSQL runs READ COMMITTED. Raises
        DatabaseBusy.
        """
        if not self.is_sqlite:
            with _raise_database_busy(), self.engine.begin() as connection:
                yield connection
            return
        with _raise_database_busy(), self._writers.hold(), self.engine.begin() as connection:
            with open_cursor(connection) as cursor:
                begin_immediate(cursor, self._busy_timeout_seconds)
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that sees one consistent state, and only reads.

        It never waits for a writer and never blocks one. Raises DatabaseBusy when no connection is
        free.
        """
        with _raise_database_busy(), self._get_reader().connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN")
            yield connection
            connection.rollback()

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()

    def _get_reader(self) -> Engine:
        if self.is_sqlite:
            return self.engine
        return self.engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )


@contextmanager
def _raise_database_busy() -> Iterator[None]:
    """Turn the errors by which a database or the connection pool says it is busy into one."""
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        if isinstance(error, DBAPIError) and not _is_busy(error):
            raise
        raise DatabaseBusy(str(error)) from error


def _is_busy(error: DBAPIError) -> bool:
    primary_code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF  # without the reason
    return primary_code in _SQLITE_BUSY or getattr(error.orig, "sqlstate", None) in _BUSY_STATES


def run(connection: Connection, statement: str, **values: Any) -> Rows:  # noqa: ANN401
    """Execute one statement with parameters such as `:name`, and load the rows it returns.

    The driver executes it: SQLAlchemy takes longer for a short statement than the database. Raises
    SQLAlchemy's errors, without the values.
    """
    with open_cursor(connection, statement) as cursor:
        cursor.execute(_translate_statement(statement, is_sqlite=is_sqlite(connection)), values)
        return Rows.load(cursor)


@lru_cache(maxsize=512)
def _translate_statement(statement: str, *, is_sqlite: bool) -> str:
    """Return the statement with its parameters in the form of the driver."""
    if is_sqlite:
        return statement
    return _PARAMETER.sub(r"%(\1)s", statement.replace("%", "%%"))


def is_sqlite(connection: Connection) -> bool:
    """Return whether a connection is to SQLite; otherwise it is to PostgreSQL."""
    return connection.dialect.name == "sqlite"


def sql_now(connection: Connection) -> str:
    """Return SQL for the present time in microseconds, by the database's clock.

    The clocks of hosts differ. A time that one process writes and another process compares with
    the present time must come from one clock.
    """
    clock = connection.get_execution_options().get(_CLOCK)
    if clock is not None:
        return str(clock())
    if is_sqlite(connection):
        return "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"


def sql_in(connection: Connection, name: str) -> str:
    """Return SQL for `IN (…)` with the values of the parameter `:name`, however many there are.

    Pass the values as `bind_values` returns them.
    """
    if is_sqlite(connection):
        return f"IN (SELECT value FROM json_each(:{name}))"
    return f"= ANY(:{name})"


def bind_values(connection: Connection, values: Iterable[Any]) -> Any:  # noqa: ANN401
    """Return the parameter that `sql_in` needs for these values."""
    listed = list(values)
    return json.dumps(listed) if is_sqlite(connection) else listed


def sql_for_update(connection: Connection) -> str:
    """Return SQL that locks the rows of a SELECT; a writer of SQLite locks the whole database."""
    return "" if is_sqlite(connection) else "FOR UPDATE"


def is_conflict(error: DBAPIError) -> bool:
    """Return whether the database refused a statement for its values or for another transaction.

    The same rows may be accepted when they are written one by one or later. A lost connection is
    not a conflict.
    """
    if isinstance(error, DataError | IntegrityError):
        return True
    return getattr(error.orig, "sqlstate", None) in _CONFLICT_STATES


def sql_for_share(connection: Connection) -> str:
    """Return SQL that keeps the rows of a SELECT unchanged until the commit."""
    return "" if is_sqlite(connection) else "FOR SHARE"


def execute_many(connection: Connection, statement: str, rows: Sequence[Row]) -> int:
    """Execute a statement with `?` marks once for each row; return how many rows it changed.

    It is executed by the raw driver, which sends the rows in a pipeline on PostgreSQL.
    """
    if not rows:
        return 0
    with open_cursor(connection) as cursor:
        marked = statement if is_sqlite(connection) else statement.replace("?", "%s")
        cursor.executemany(marked, rows)
        return int(cursor.rowcount)


@contextmanager
def open_cursor(connection: Connection, statement: str = "") -> Iterator[Any]:
    """Open a cursor of the driver. Its errors are raised as SQLAlchemy's, with the statement.

    As SQLAlchemy does, it gives up a connection that the database has closed.
    """
    raw = connection.connection
    driver: Any = connection.dialect.loaded_dbapi
    with closing(raw.cursor()) as cursor:
        try:
            yield cursor
        except driver.Error as error:
            _remove_values(error)
            is_lost = connection.dialect.is_disconnect(error, raw, cursor)
            if is_lost:
                connection.invalidate(error)
            raise DBAPIError.instance(
                statement,
                None,
                error,
                driver.Error,
                hide_parameters=True,
                connection_invalidated=is_lost,
            ) from error


def _remove_values(error: Any) -> None:  # noqa: ANN401 - an error of either driver
    """Leave only the first line of PostgreSQL's message: the details contain values of the row."""
    message = getattr(getattr(error, "diag", None), "message_primary", None)
    if message:
        error.args = (message,)


def insert_many(
    connection: Connection,
    table: str,
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    ignore_existing: bool = False,
) -> int:
    """Insert rows in bulk; return how many were inserted.

    A row whose key exists raises IntegrityError. With `ignore_existing`, it is skipped, which makes
    the call much slower on PostgreSQL.
    """
    if not rows:
        return 0
    names = ", ".join(columns)
    if is_sqlite(connection):
        return _insert_rows(connection, table, columns, rows, ignore_existing=ignore_existing)
    if ignore_existing:
        return _copy_and_insert(connection, table, names, rows)
    with open_cursor(connection) as cursor:
        _copy_rows(cursor, table, names, rows)
    return len(rows)


def _insert_rows(
    connection: Connection,
    table: str,
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    ignore_existing: bool,
) -> int:
    inserted = 0
    for size in _ROWS_AT_ONCE:
        if size * len(columns) <= _SQLITE_VALUES_MAX:
            statement = _build_insert(table, tuple(columns), size, ignore_existing=ignore_existing)
            whole = len(rows) // size * size
            inserted += _execute_at_once(connection, statement, rows[:whole], size)
            rows = rows[whole:]
    statement = _build_insert(table, tuple(columns), 1, ignore_existing=ignore_existing)
    return inserted + execute_many(connection, statement, rows)


def _execute_at_once(connection: Connection, statement: str, rows: Sequence[Row], size: int) -> int:
    touched = 0
    with open_cursor(connection) as cursor:
        for first in range(0, len(rows), size):
            values = tuple(chain.from_iterable(rows[first : first + size]))
            touched += cursor.execute(statement, values).rowcount
    return touched


@lru_cache(maxsize=128)
def _build_insert(table: str, columns: Sequence[str], count: int, *, ignore_existing: bool) -> str:
    row = f"({','.join('?' * len(columns))})"
    conflict = "ON CONFLICT DO NOTHING" if ignore_existing else ""
    return f"""
        INSERT INTO {table} ({", ".join(columns)}) VALUES {",".join([row] * count)} {conflict}
        -- no account: the caller passes it as one of the columns
        """


def _copy_rows(cursor: Any, table: str, names: str, rows: Sequence[Row]) -> None:  # noqa: ANN401
    with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _copy_and_insert(connection: Connection, table: str, names: str, rows: Sequence[Row]) -> int:
    temporary = f"incoming_{table}"
    with open_cursor(connection) as cursor:
        cursor.execute(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {temporary} "
            f"(LIKE {table} INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
        )
        _copy_rows(cursor, temporary, names, rows)
        cursor.execute(
            f"""
            INSERT INTO {table} ({names}) SELECT {names} FROM {temporary} ON CONFLICT DO NOTHING
            -- no account: the caller passes it as one of the columns
            """
        )
        inserted = int(cursor.rowcount)
        cursor.execute(f"TRUNCATE {temporary}")
    return inserted


def _create_sqlite_engine(url: str, busy_timeout_seconds: float) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,  # they are data of accounts, which must not be in a log
        pool_size=16,
        max_overflow=48,
        pool_use_lifo=True,  # so that the same few connections are used, whose caches are filled
        connect_args={"check_same_thread": False, "timeout": busy_timeout_seconds},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:  # noqa: ANN401
        # The engine's own statements rely on an implicit BEGIN IMMEDIATE before a write.
        connection.isolation_level = "IMMEDIATE"
        for pragma in SQLITE_PRAGMAS:
            connection.execute(pragma)

    return engine


def _create_postgres_engine(url: str) -> Engine:
    return create_engine(
        url,
        hide_parameters=True,  # as above
        pool_size=10,  # so that several processes fit into PostgreSQL's hundred connections
        max_overflow=10,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",
        connect_args={"options": _POSTGRES_OPTIONS},
    )
