"""Opens the database that the settings name, and brings its tables up to date.

It knows neither the HTTP surfaces nor the audience, so that a process that only prepares the
database starts quickly.
"""

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
        migrate.migrate(database)
        installation.prepare(database)
    finally:
        database.close()


def check_database(settings: Settings) -> None:
    """Raise SchemaError unless the tables are the ones that this version needs."""
    database = open_database(settings)
    try:
        migrate.check(database)
    finally:
        database.close()
