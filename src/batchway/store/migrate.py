"""The schema: bring it up to date, or tell that it is not."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from batchway.errors import SchemaError
from batchway.store.database import Database

_MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(database: Database) -> None:
    """Run the migrations that are missing. May be called any number of times, by any process."""
    with database.write() as connection:
        if not database.is_sqlite:
            # One migrator at a time; SQLite's write lock does the same.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7301)")
        command.upgrade(_config(connection), "head")


def check(database: Database) -> None:
    """Raise SchemaError unless the schema is exactly the one that this version needs."""
    with database.read() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    needed = ScriptDirectory.from_config(_config(None)).get_current_head()
    if found is None:
        message = "The database has no Batchway schema yet. Make it with: batchway migrate"
        raise SchemaError(message)
    if found != needed:
        message = (
            f"The database's schema is at {found}, this version needs {needed}. If this is the "
            "newer version run: batchway migrate. If it is the older one, install the newer."
        )
        raise SchemaError(message)


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
