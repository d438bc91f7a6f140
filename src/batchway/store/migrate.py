"""The schema: migrate it to this version, or check that it is the one that this version needs.

The tables of the core and the tables of the audience have their own folders of revisions. These are
branches of one history: see "branches" in Alembic's documentation. The caller names the folders
other than the core's.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from batchway.errors import SchemaError
from batchway.store.database import Database

_MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(database: Database, folders: Sequence[Path] = (), revision: str = "heads") -> None:
    """Run the migrations that are missing, up to a revision; by default up to the newest ones.

    May be called any number of times, by any process. Raises SchemaError if a newer version has
    migrated the database: this version does not know its revisions.
    """
    scripts = ScriptDirectory.from_config(_make_config(folders))
    with database.write() as connection:
        if not database.is_sqlite:
            # One process migrates at a time; on SQLite, the write lock ensures that.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7301)")
        found = _find_revisions(connection)
        if not found <= {each.revision for each in scripts.walk_revisions()}:
            raise _differ(found, scripts)
        command.upgrade(_make_config(folders, connection), revision)


def check(database: Database, folders: Sequence[Path] = ()) -> None:
    """Raise SchemaError unless the schema is exactly the one that this version needs."""
    scripts = ScriptDirectory.from_config(_make_config(folders))
    with database.read() as connection:
        found = _find_revisions(connection)
    if not found:
        message = "The database has no Batchway schema yet. Make it with: batchway migrate"
        raise SchemaError(message)
    if found != set(scripts.get_heads()):
        raise _differ(found, scripts)


def _find_revisions(connection: Connection) -> set[str]:
    return set(MigrationContext.configure(connection).get_current_heads())


def _differ(found: set[str], scripts: ScriptDirectory) -> SchemaError:
    needed = _join(set(scripts.get_heads()))
    return SchemaError(
        f"The database's schema is at {_join(found)}, this version needs {needed}. If this is the "
        "newer version run: batchway migrate. If it is the older one, install the newer."
    )


def _join(revisions: set[str]) -> str:
    return " and ".join(sorted(revisions))


def _make_config(folders: Sequence[Path], connection: Connection | None = None) -> Config:
    versions = [_MIGRATIONS / "versions", *folders]
    config = Config()
    config.set_main_option("script_location", _escape(str(_MIGRATIONS)))
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", _escape(os.pathsep.join(map(str, versions))))
    config.attributes["connection"] = connection
    return config


def _escape(value: str) -> str:
    return value.replace("%", "%%")
