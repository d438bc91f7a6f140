"""Opens the database and the archives that the settings name, and prepares them for a start.

It loads neither the HTTP surfaces nor the audience, except for the place of the migrations of the
audience's tables, so that a process that only prepares the database starts quickly.
"""

from batchway.archives.base import Archive
from batchway.archives.disk import DiskArchive
from batchway.audience.schema import MIGRATIONS
from batchway.engine.configuration import prepare_engine
from batchway.installation import forget_installation, join_installation
from batchway.kit.clock import Clock
from batchway.settings import Settings, prepare_data_folder
from batchway.store import migrate
from batchway.store.database import Database


def open_database(settings: Settings, clock: Clock | None = None) -> Database:
    """Open the database, whether or not it has the tables of this version."""
    if settings.is_embedded:
        prepare_data_folder(settings.data_dir)
    return Database(settings.database_in_use, clock)


def open_archive(settings: Settings) -> Archive:
    """Open the archive store."""
    return DiskArchive(settings.archive_folder)


def migrate_database(settings: Settings, *, forgets_installation: bool = False) -> None:
    """Create or update our tables and the engine's. May be called any number of times.

    With `forgets_installation`, the next process that starts decides what all must share.
    """
    database = open_database(settings)
    try:
        migrate.migrate(database, [MIGRATIONS])
        prepare_engine(database)
        if forgets_installation:
            forget_installation(database)
    finally:
        database.close()


def prepare_installation(settings: Settings) -> None:
    """Join the installation before the caller starts its processes; see `installation.py`.

    If everything is in the data folder, which the caller has locked, all processes share it. They
    need not agree with earlier processes: a folder that was restored without its secret key works.
    """
    database = open_database(settings)
    try:
        if settings.is_embedded:
            forget_installation(database)
        join_installation(database, open_archive(settings), settings.get_secret_keys())
    finally:
        database.close()


def check_database(settings: Settings) -> None:
    """Raise SchemaError unless the tables are the ones that this version needs."""
    database = open_database(settings)
    try:
        check_tables(database)
    finally:
        database.close()


def check_tables(database: Database) -> None:
    """Raise SchemaError unless the tables of an open database are the ones that are needed."""
    migrate.check(database, [MIGRATIONS])
