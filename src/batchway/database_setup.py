"""Opens the database that the settings name, and brings its tables up to date.

It loads neither the HTTP surfaces nor the audience, except for the place of the migrations of the
audience's tables, so that a process that only prepares the database starts quickly.
"""

from batchway.audience.schema import MIGRATIONS
from batchway.engine import installation
from batchway.kit.clock import Clock
from batchway.settings import Settings, prepare_data_folder
from batchway.store import migrate
from batchway.store.database import Database


def open_database(settings: Settings, clock: Clock | None = None) -> Database:
    """Open the database, in whatever state its tables are."""
    if settings.is_embedded:
        prepare_data_folder(settings.data_dir)
    return Database(settings.database, clock)


def migrate_database(settings: Settings) -> None:
    """Bring our tables and the engine's up to date. May be called any number of times."""
    database = open_database(settings)
    try:
        migrate.migrate(database, [MIGRATIONS])
        installation.prepare(database)
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
