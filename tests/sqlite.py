"""SQLite databases for the tests: copies of one that was migrated once."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from batchway.database_setup import migrate_database
from batchway.settings import load_settings


@dataclass(frozen=True)
class SqliteTemplate:
    """A database that has our tables. No connection to it is open."""

    file: Path

    def copy_to(self, folder: Path) -> str:
        """Copy the database into a folder, and return the SQLAlchemy URL of the copy."""
        return f"sqlite:///{shutil.copy(self.file, folder)}"


def make_sqlite_template(folder: Path) -> SqliteTemplate:
    """Create and migrate a database in a folder."""
    migrate_database(load_settings(data_dir=folder))
    return SqliteTemplate(folder / "batchway.db")
