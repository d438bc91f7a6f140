"""The database: one engine for SQLite or PostgreSQL, and the five points where they differ.

The points: how a transaction begins, how many rows are written at once, how a list of values is
looked up, whether rows can be locked, and how the time is read. All other SQL is shared.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection, CursorResult, Engine, TextClause, create_engine, event, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from batchway import limits
from batchway.errors import DatabaseBusy
from batchway.kit.clock import Clock
from batchway.store.sqlite_writers import WriterQueue, begin_immediate

Row = Sequence[Any]

SQLITE_PRAGMAS = (
    "PRAGMA page_size = 16384",  # set before the file is made; larger pages suit bulk writes
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # a commit that was answered survives a loss of power
    # For the engine's tables: their rows go with their workflow. Ours declare no keys: each insert
    # of a result would look up its batch, and rows that belong together are deleted together here.
    "PRAGMA foreign_keys = ON",
    "PRAGMA wal_autocheckpoint = 4096",  # pages: 64 MB; a chunk rarely pays for a checkpoint
    "PRAGMA journal_size_limit = 134217728",
    "PRAGMA cache_size = -16384",  # KiB, of each connection
    "PRAGMA temp_store = MEMORY",
)
# Rows that one INSERT of SQLite takes: 1,000 in one take three quarters of the time they take one
# by one. Of few sizes, so that all stay prepared; what is left is inserted one by one.
_ROWS_AT_ONCE = (1_000, 50)
_SQLITE_VALUES_MAX = 32_766  # in one statement
_CLOCK = "batchway_clock"  # an execution option: statements know their connection only
# Of PostgreSQL: lock not available, query cancelled (by a time-out), too many connections.
_BUSY_STATES = frozenset({"55P03", "57014", "53300"})
_SQLITE_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_CONFLICT_STATES = frozenset({"40001", "40P01"})  # serialization failure, deadlock
_POSTGRES_OPTIONS = (
    f"-c idle_in_transaction_session_timeout={int(limits.idle_transaction_seconds * 1000)}"
)


class Database:
    """Opens transactions; knows which dialect it speaks.

    With a `clock`, `sql_now` gives its moments instead of the database's own. A writer waits for
    SQLite's lock for `busy_timeout_seconds`.
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
            _sqlite_engine(url, busy_timeout_seconds) if self.is_sqlite else _postgres_engine(url)
        )
        self.engine = engine.execution_options(**{_CLOCK: clock})
        self._writers = WriterQueue(busy_timeout_seconds)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block, or rolls back on any exception.

        On SQLite it takes the write lock at once; PostgreSQL runs READ COMMITTED. Raises
        DatabaseBusy.
        """
        if not self.is_sqlite:
            with _raising_busy(), self.engine.begin() as connection:
                yield connection
            return
        with _raising_busy(), self._writers.hold(), self.engine.begin() as connection:
            with _raw_cursor(connection) as cursor:
                begin_immediate(cursor, self._busy_timeout_seconds)
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view; never waits for a writer and never blocks one.

        Raises DatabaseBusy when no connection is free.
        """
        with _raising_busy(), self._reader().connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN")
            yield connection
            connection.rollback()

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()

    def _reader(self) -> Engine:
        if self.is_sqlite:
            return self.engine
        return self.engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )


@contextmanager
def _raising_busy() -> Iterator[None]:
    """Both databases and the pool of connections say in many ways that they are busy."""
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        if isinstance(error, DBAPIError) and not _is_busy(error):
            raise
        raise DatabaseBusy(str(error)) from error


def _is_busy(error: DBAPIError) -> bool:
    primary_code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF  # without the reason
    return primary_code in _SQLITE_BUSY or getattr(error.orig, "sqlstate", None) in _BUSY_STATES


@lru_cache(maxsize=512)
def sql(statement: str) -> TextClause:
    """The statement, parsed once."""
    return text(statement)


def run(connection: Connection, statement: str, **values: Any) -> CursorResult[*tuple[Any, ...]]:  # noqa: ANN401
    """Execute one statement with named parameters."""
    return connection.execute(sql(statement), values)


def is_sqlite(connection: Connection) -> bool:
    """Which of the two dialects a connection speaks."""
    return connection.dialect.name == "sqlite"


def sql_now(connection: Connection) -> str:
    """SQL for this moment in microseconds, by the clock that all processes share: the database's.

    The clocks of hosts differ. What one process writes and another one compares with "now" must
    come from one clock.
    """
    clock = connection.get_execution_options().get(_CLOCK)
    if clock is not None:
        return str(clock())
    if is_sqlite(connection):
        return "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"


def any_of(connection: Connection, name: str) -> str:
    """SQL for `… IN (the values of parameter :name)`, of any number; see `values_for`."""
    if is_sqlite(connection):
        return f"IN (SELECT value FROM json_each(:{name}))"
    return f"= ANY(:{name})"


def values_for(connection: Connection, values: Iterable[Any]) -> Any:  # noqa: ANN401
    """The parameter that belongs to `any_of`."""
    listed = list(values)
    return json.dumps(listed) if is_sqlite(connection) else listed


def for_update(connection: Connection) -> str:
    """SQL that locks the rows of a SELECT; SQLite's writer holds the whole database anyway."""
    return "" if is_sqlite(connection) else "FOR UPDATE"


def is_conflict(error: DBAPIError) -> bool:
    """Whether the database refused a statement for what it said, or for what others do.

    Said again, alone or in another order, it may succeed; a lost connection is no conflict.
    """
    if isinstance(error, DataError | IntegrityError):
        return True
    return getattr(error.orig, "sqlstate", None) in _CONFLICT_STATES


def for_share(connection: Connection) -> str:
    """SQL that keeps the rows of a SELECT from changing before the commit."""
    return "" if is_sqlite(connection) else "FOR SHARE"


def execute_many(connection: Connection, statement: str, rows: Sequence[Row]) -> int:
    """Execute one statement with `?` marks for each row, by the raw driver; the rows it touched.

    On PostgreSQL the driver sends the rows in a pipeline.
    """
    if not rows:
        return 0
    with _raw_cursor(connection) as cursor:
        marked = statement if is_sqlite(connection) else statement.replace("?", "%s")
        cursor.executemany(marked, rows)
        return int(cursor.rowcount)


@contextmanager
def _raw_cursor(connection: Connection) -> Iterator[Any]:
    """A cursor of the driver, whose errors are raised as they would be by the connection."""
    cursor: Any = connection.connection.cursor()
    driver: Any = connection.dialect.loaded_dbapi
    with closing(cursor):
        try:
            yield cursor
        except driver.Error as error:
            raise DBAPIError.instance(
                "many rows", None, error, driver.Error, hide_parameters=True
            ) from error


def insert_many(
    connection: Connection,
    table: str,
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    ignore_existing: bool = False,
) -> int:
    """Insert rows in bulk; the number inserted.

    Existing keys raise IntegrityError, which is much faster, or are left as they are.
    """
    if not rows:
        return 0
    names = ", ".join(columns)
    if is_sqlite(connection):
        return _insert_rows(connection, table, columns, rows, ignore_existing=ignore_existing)
    if ignore_existing:
        return _copy_and_insert(connection, table, names, rows)
    with _raw_cursor(connection) as cursor:
        _copy(cursor, table, names, rows)
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
            statement = _insert(table, tuple(columns), size, ignore_existing=ignore_existing)
            whole = len(rows) // size * size
            inserted += _execute_at_once(connection, statement, rows[:whole], size)
            rows = rows[whole:]
    statement = _insert(table, tuple(columns), 1, ignore_existing=ignore_existing)
    return inserted + execute_many(connection, statement, rows)


def _execute_at_once(connection: Connection, statement: str, rows: Sequence[Row], size: int) -> int:
    touched = 0
    with _raw_cursor(connection) as cursor:
        for first in range(0, len(rows), size):
            values = tuple(chain.from_iterable(rows[first : first + size]))
            touched += cursor.execute(statement, values).rowcount
    return touched


@lru_cache(maxsize=128)
def _insert(table: str, columns: Sequence[str], count: int, *, ignore_existing: bool) -> str:
    row = f"({','.join('?' * len(columns))})"
    conflict = "ON CONFLICT DO NOTHING" if ignore_existing else ""
    return f"""
        INSERT INTO {table} ({", ".join(columns)}) VALUES {",".join([row] * count)} {conflict}
        -- no account: it is among the columns that the caller names
        """


def _copy(cursor: Any, table: str, names: str, rows: Sequence[Row]) -> None:  # noqa: ANN401
    with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _copy_and_insert(connection: Connection, table: str, names: str, rows: Sequence[Row]) -> int:
    temporary = f"incoming_{table}"
    with _raw_cursor(connection) as cursor:
        cursor.execute(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {temporary} "
            f"(LIKE {table} INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
        )
        _copy(cursor, temporary, names, rows)
        cursor.execute(
            f"""
            INSERT INTO {table} ({names}) SELECT {names} FROM {temporary} ON CONFLICT DO NOTHING
            -- no account: it is among the columns that the caller names
            """
        )
        inserted = int(cursor.rowcount)
        cursor.execute(f"TRUNCATE {temporary}")
    return inserted


def _sqlite_engine(url: str, busy_timeout_seconds: float) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,  # they are nobody's business in a log
        pool_size=16,
        max_overflow=48,
        pool_use_lifo=True,  # few connections are at work, and only theirs have full caches
        connect_args={"check_same_thread": False, "timeout": busy_timeout_seconds},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:  # noqa: ANN401
        # The engine's own statements rely on an implicit BEGIN IMMEDIATE before a write.
        connection.isolation_level = "IMMEDIATE"
        for pragma in SQLITE_PRAGMAS:
            connection.execute(pragma)

    return engine


def _postgres_engine(url: str) -> Engine:
    return create_engine(
        url,
        hide_parameters=True,  # as above
        pool_size=10,  # a process of each kind fits into PostgreSQL's hundred connections
        max_overflow=10,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",
        connect_args={"options": _POSTGRES_OPTIONS},
    )
